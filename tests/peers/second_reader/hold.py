"""Holds what is seen to a stack: findings, first values, the observed root."""

from collections.abc import Mapping
from typing import Any

from . import entry as entries
from . import paths, tree
from .contract import Terms
from .entry import Entry
from .envelope import load_json
from .normalise import Outcome, decide, decide_reserved
from .paths import Path
from .refusal import require
from .stack import Stack
from .walk import View

Ledger = Mapping[Path, Entry]


def read_ledger(data: bytes, stack: Stack) -> dict[Path, Entry]:
    """The first values of a ledger, which must be of this stack."""
    ledger = load_json(data)
    require(ledger["schema_version"] == 1, "ledger-version", f"{ledger['schema_version']}")
    root = stack.algorithm.read(ledger["root"])
    require(root == stack.root, "ledger-root", "the ledger is of another stack")
    values: dict[Path, Entry] = {}
    for told in ledger["first_values"]:
        path = paths.parse(paths.from_members("path", told))
        require(not values or path > next(reversed(values)), "ledger-order", f"{path} is out of order")
        class_ = stack.contract.terms(path).class_
        require(class_ in ("create-only", "pinned"), "ledger-class", f"{path} is {class_}")
        values[path] = entries.from_json(told, stack.algorithm)
    return values


def hold(stack: Stack, ledger: Ledger, top: bytes, content_key: bytes | None) -> dict[str, Any]:
    """What is found at `top`, and the root that is observed there."""

    def held(path: Path) -> tuple[Terms, Entry | None]:
        if stack.is_reserved(path):
            return Terms(), None
        return stack.contract.terms(path), stack.entries.get(path)

    observed = dict(View(top, stack.algorithm, held, content_key).entries())
    findings, contributions, first_values = [], dict[Path, tree.Contribution](), []
    for path in sorted(observed.keys() | stack.entries.keys() | ledger.keys()):
        there = observed.get(path)
        if stack.is_reserved(path):
            outcome = Outcome(finding=decide_reserved(there) if there else None)
        else:
            terms = stack.contract.terms(path)
            outcome = decide(terms, stack.entries.get(path), ledger.get(path), there)
        if outcome.contributes is not None:
            contributions[path] = outcome.contributes
        if outcome.finding is not None:
            findings.append(outcome.finding.to_json(path, stack.algorithm))
        if outcome.first_value is not None:
            told = entries.to_json(outcome.first_value, stack.algorithm)
            first_values.append(paths.to_members("path", paths.write(path)) | told)
    root = tree.root(contributions, stack.contract, stack.algorithm)
    return {
        "baked_root": stack.algorithm.write(stack.root),
        "observed_root": stack.algorithm.write(root),
        "findings": findings,
        "first_values": first_values,
    }


def recompute(stack: Stack, ledger: Ledger, findings: list[Mapping[str, Any]]) -> str:
    """The collector's way: the observed root from findings, each of which must follow."""
    contributions: dict[Path, tree.Contribution] = dict(stack.entries)
    for told in findings:
        path = paths.parse(paths.from_members("path", told))
        if told["class"] == "reserved":
            continue
        if told["change"] == "mounted-over":
            contributions[path] = tree.UnnamedMount()
            continue
        observed = told["observed"]
        there = None if observed is None else entries.from_json(observed, stack.algorithm)
        terms = stack.contract.terms(path)
        outcome = decide(terms, stack.entries.get(path), ledger.get(path), there)
        follows = outcome.finding.to_json(path, stack.algorithm) if outcome.finding else {}
        for member in ("change", "fields", "class", "forbidden", "held_to"):
            same = follows.get(member) == told.get(member)
            require(same, "finding", f"{path}: {member} {told.get(member)} does not follow")
        contributions.pop(path, None)
        if outcome.contributes is not None:
            contributions[path] = outcome.contributes
    return stack.algorithm.write(tree.root(contributions, stack.contract, stack.algorithm))
