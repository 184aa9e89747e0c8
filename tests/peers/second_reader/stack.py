"""The stack: a base, and add-ons that hold what the base leaves to them."""

from collections.abc import Sequence
from dataclasses import dataclass

from .contract import Contract
from .digests import Algorithm
from .entry import Entry
from .manifest import Manifest
from .paths import Path, is_beneath
from .refusal import require
from .tree import baked_root

MOST_ADD_ONS = 100


@dataclass(frozen=True)
class Stack:
    """What a tree is held to."""

    contract: Contract
    algorithm: Algorithm
    entries: dict[Path, Entry]
    reserved: tuple[Path, ...]
    root: bytes

    def is_reserved(self, path: Path) -> bool:
        """Whether a path lies outside the tree."""
        return any(is_beneath(path, place) for place in self.reserved)


def build(base: Manifest, add_ons: Sequence[Manifest]) -> Stack:
    """The stack of these manifests."""
    said, members = base.statement, [base, *add_ons]
    require(not said.is_add_on, "stack-base", "the base is an add-on")
    require(all(one.statement.is_add_on for one in add_ons), "stack-add-on", "an add-on is a base")
    require(len(add_ons) <= MOST_ADD_ONS, "stack-size", f"{len(add_ons)} add-ons")
    names = {one.statement.predicate["name"] for one in members}
    require(len(names) == len(members), "stack-names", "two manifests have one name")
    alike = all(one.statement.algorithm is said.algorithm for one in members)
    require(alike, "stack-algorithm", "the manifests use two algorithms")
    entries = {record.path: record.entry for record in base.records}
    for add_on in add_ons:
        for path, entry in own_entries(add_on, said.contract).items():
            require(same_directory(entries.get(path, entry), entry), "stack-claim", f"{path} is held twice")
            entries.setdefault(path, entry)
    reserved = tuple(place for one in members for place in one.statement.reserved)
    root = baked_root(entries.items(), said.contract, said.algorithm)
    stack = Stack(said.contract, said.algorithm, entries, reserved, root)
    inside = [path for path in entries if stack.is_reserved(path)]
    require(not inside, "entry-reserved", f"{inside} lie in reserved places")
    return stack


def own_entries(add_on: Manifest, contract: Contract) -> dict[Path, Entry]:
    """What an add-on holds; refuses where it holds what is not its own."""
    own: dict[Path, Entry] = {}
    on_the_way: set[Path] = {()}
    for record in add_on.records:
        path, entry, terms = record.path, record.entry, contract.terms(record.path)
        if terms.class_ != "add-on":
            continue
        require(not terms.forbidden(entry), "add-on-forbidden", f"{path} is forbidden by its terms")
        require(terms.scoped(entry.xattrs) == entry.xattrs, "xattr-scope", f"{path}: out of scope")
        own[path] = entry
        on_the_way.update(path[:depth] for depth in range(len(path)))
    for record in add_on.records:
        way = record.path in on_the_way and record.entry.kind == "d"
        require(record.path in own or way, "add-on-outside", f"{record.path} is not the add-on's")
    return own


def same_directory(one: Entry, other: Entry) -> bool:
    """Whether it is one entry, or both are directories that are alike."""
    if one is other:
        return True
    what = [(entry.kind, entry.mode, entry.uid, entry.gid, entry.xattrs) for entry in (one, other)]
    return what[0] == what[1] and one.kind == "d"
