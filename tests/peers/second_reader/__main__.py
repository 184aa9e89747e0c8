"""`python -m second_reader`: check a manifest, hold a tree to it, recompute a root."""

import argparse
import json
import sys
from pathlib import Path as File

from . import hold, manifest, merge, stack
from .envelope import load_json, load_key
from .refusal import Refusal


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="second_reader", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check one manifest")
    holds = commands.add_parser("hold", help="hold a directory to a stack")
    recomputes = commands.add_parser("recompute", help="the observed root from findings")
    for command in (check, holds, recomputes):
        command.add_argument("manifest", type=File)
        command.add_argument("--trust", type=File, action="append", default=[])
    for command in (holds, recomputes):
        command.add_argument("--add-on", type=File, action="append", default=[])
        command.add_argument("--ledger", type=File)
    holds.add_argument("root", type=File)
    holds.add_argument("--content-key", type=File)
    recomputes.add_argument("verification", type=File)
    return parser.parse_args()


def run(asked: argparse.Namespace) -> object:
    """What was asked for."""
    trusted = [load_key(file) for file in asked.trust]
    base = manifest.read(asked.manifest, trusted)
    if asked.command == "check":
        merge.check(base)
        return base.to_json()
    held = stack.build(base, [manifest.read(file, trusted) for file in asked.add_on])
    ledger = hold.read_ledger(asked.ledger.read_bytes(), held) if asked.ledger else {}
    if asked.command == "hold":
        key = asked.content_key.read_bytes() if asked.content_key else None
        return hold.hold(held, ledger, bytes(asked.root), key)
    findings = load_json(asked.verification.read_bytes())["findings"]
    return {"observed_root": hold.recompute(held, ledger, findings)}


def main() -> int:
    """Prints JSON; where an input is refused, the name of the rule on stderr."""
    try:
        json.dump(run(arguments()), sys.stdout, indent=1)
    except Refusal as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
