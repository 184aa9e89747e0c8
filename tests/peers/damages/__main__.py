"""`python -m damages`: tries every damage, and says where anyone decides otherwise."""

import argparse
import json
import subprocess
import sys
from pathlib import Path as File

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from second_reader import envelope, manifest
from second_reader.refusal import Refusal

# Each adds its damages to the table.
from . import layered, listed, outside, stated  # noqa: F401
from .parts import Parts
from .table import DAMAGES, Damage

PACKAGES = {"manager": "dpkg", "list": [{"name": "web", "version": "1", "architecture": "all"}]}


class Workshop:
    """Where one manifest is damaged again and again."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.trusted = [envelope.load_key(asked.public)]
        self.whole = manifest.read(asked.manifest, self.trusted)
        key = load_pem_private_key(asked.secret.read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey)
        self.key = key
        self.file = asked.folder / "damaged.manifest"

    def parts(self) -> Parts:
        """The manifest taken apart, with something in every member."""
        sealed, _ = envelope.split(self.asked.manifest.read_bytes())
        payload, _ = envelope.open_envelope(sealed, self.trusted)
        parts = Parts(json.loads(payload), self.whole.statement.contract, list(self.whole.records), self.key)
        parts.predicate["packages"] = json.loads(json.dumps(PACKAGES))
        parts.predicate.setdefault("origin", {})
        return parts

    def disagrees(self, damage: Damage) -> str | None:
        """What is said of the damaged manifest, where it is not what must be."""
        parts = self.parts()
        damage.apply(parts)
        self.file.write_bytes(parts.put_together())
        rule, ended = self.read(), self.show() if parts.layers else self.verify()
        if rule == damage.rule and (ended.returncode == 2) == (damage.rule is not None):
            return None
        said = f"{ended.returncode} {ended.stderr.decode().strip()}"
        return f"{damage.name}: expected {damage.rule}, second reader {rule}, congruent {said}"

    def read(self) -> str | None:
        """The rule by which the second reader refuses it."""
        try:
            manifest.read(self.file, self.trusted)
        except Refusal as refusal:
            return refusal.rule
        return None

    def verify(self) -> subprocess.CompletedProcess[bytes]:
        """Congruent's outcome; 2 is a refusal."""
        trust = ("--trust", self.asked.public, "--root", self.asked.root)
        command = [self.asked.congruent, "verify", "--manifest", self.file, *trust]
        return subprocess.run(command, capture_output=True, check=False)

    def show(self) -> subprocess.CompletedProcess[bytes]:
        """The outcome of what reads layers too, which `verify` has no use for."""
        command = [self.asked.congruent, "show", "--trust", self.asked.public, self.file]
        return subprocess.run(command, capture_output=True, check=False)


def main() -> int:
    """Tries every damage."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("congruent", "secret", "public", "manifest", "root", "folder"):
        parser.add_argument(name, type=File)
    workshop = Workshop(parser.parse_args())
    wrong = [said for damage in DAMAGES if (said := workshop.disagrees(damage))]
    print("\n".join(wrong), file=sys.stderr)
    print(json.dumps({"damages": len(DAMAGES), "wrong": len(wrong)}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
