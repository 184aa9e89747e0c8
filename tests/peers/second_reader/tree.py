"""The tree root: what paths contribute, and the digest over all of it."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .contract import Contract
from .digests import Algorithm
from .entry import Entry
from .paths import Path

DIRECTORY_DOMAIN = b"congruent directory v1\0"
TREE_DOMAIN = b"congruent tree v1\0"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What contributes where the ledger is contradicted: what is there instead."""

    observed: Entry | None


@dataclass(frozen=True, slots=True)
class UnnamedMount:
    """What contributes where something is mounted that the contract does not name."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a layer says of a path beside entries: by kind, `i` implied, `w` a whiteout, `o` opaque."""

    kind: str


Contribution = Entry | Contradiction | UnnamedMount | Mark
Contributions = Mapping[Path, Contribution]


def root(contributions: Contributions, contract: Contract, algorithm: Algorithm) -> bytes:
    """The tree root over all that contributes."""
    every = set(contributions)
    for path in contributions:
        while path and (path := path[:-1]) not in every:
            every.add(path)
    every.add(())
    children: dict[Path, list[bytes]] = {}
    # Backwards in tree order, what lies beneath a path comes before it.
    for path in sorted(every, reverse=True):
        beneath = children.pop(path, None)
        subtree = algorithm.digest(DIRECTORY_DOMAIN + b"".join(reversed(beneath or [])))
        name = path[-1] if path else b""
        own = contributions.get(path)
        with_mtime = contract.terms(path).mtime
        written = b"" if own is None else write(own, name, subtree, with_mtime)
        if beneath is not None and not is_directory(own):
            written += b"i" + sized(name) + subtree
        if not path:
            return algorithm.digest(TREE_DOMAIN + written)
        children.setdefault(path[:-1], []).append(written)
    raise AssertionError("the root is always there")


def baked_root(entries: Iterable[tuple[Path, Entry]], contract: Contract, algorithm: Algorithm) -> bytes:
    """The root over what is baked alone."""
    return root(dict(entries), contract, algorithm)


def is_directory(own: Contribution | None) -> bool:
    """Whether it contributes as a directory, with all that is beneath."""
    entry = own.observed if isinstance(own, Contradiction) else own
    return isinstance(entry, Entry) and entry.kind == "d"


def write(own: Contribution, name: bytes, subtree: bytes, with_mtime: bool) -> bytes:
    """The bytes that a path contributes."""
    if isinstance(own, UnnamedMount):
        return b"m" + sized(name)
    if isinstance(own, Mark):
        return own.kind.encode() + sized(name)
    if isinstance(own, Contradiction):
        there = own.observed
        tail = b"\0" if there is None else b"\1" + write_entry(there, name, subtree, False)
        return b"x" + sized(name) + tail
    return write_entry(own, name, subtree, with_mtime)


def write_entry(entry: Entry, name: bytes, subtree: bytes, with_mtime: bool) -> bytes:
    """The bytes that an entry contributes."""
    attributes = list(entry.xattrs)
    if with_mtime and entry.kind != "d":
        attributes.append((b"mtime", struct.pack("<qI", *entry.mtime)))
    head = entry.kind.encode() + sized(name)
    head += struct.pack("<IIII", entry.mode, entry.uid, entry.gid, len(attributes))
    head += b"".join(sized(key) + sized(value) for key, value in attributes)
    if entry.kind == "f":
        return head + sized(entry.content or b"")
    if entry.kind == "l":
        return head + sized(entry.link or b"")
    if entry.device is not None:
        return head + struct.pack("<II", *entry.device)
    return head + subtree if entry.kind == "d" else head


def sized(data: bytes) -> bytes:
    """A length of 32 bits and the bytes."""
    return struct.pack("<I", len(data)) + data
