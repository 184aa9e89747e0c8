"""A layer's section: what its archive lists, and marks of what it takes away."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import envelope, records, tree
from .contract import Contract, Terms
from .digests import Algorithm
from .entry import KIND_NAMES, Entry
from .paths import Path
from .refusal import require
from .tree import Mark

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry or a mark, and where."""

    path: Path
    node: Entry | Mark
    link_group: int = 0
    package: int = 0


Layer = list[Listed]


def read(section: bytes, told: Mapping[str, Any], algorithm: Algorithm) -> Layer:
    """The layer in a section, held to what the statement says of it."""
    layer = decode(envelope.open_section(section, told["entries"], algorithm))
    count = told["entries"]["count"]
    require(len(layer) == count, "entries-count", f"{len(layer)}, not {count}")
    entries = (listed.node for listed in layer if isinstance(listed.node, Entry))
    records.check_content(entries, told["entries"])
    computed = root(layer, algorithm)
    require(computed == algorithm.read(told["root"]), "layer-root", f"it is {algorithm.write(computed)}")
    return layer


def root(layer: Layer, algorithm: Algorithm) -> bytes:
    """The layer's root, for which no contract counts."""
    nodes = {listed.path: listed.node for listed in layer if not is_mark(listed, "i")}
    return tree.root(nodes, Contract(), algorithm)


def is_mark(listed: Listed, kind: str) -> bool:
    """Whether it is this mark."""
    return listed.node == Mark(kind)


def decode(section: bytes) -> Layer:
    """Every record, each held to its place in the order. There may be none."""
    cursor, layer = records.Cursor(section), Layer()
    while cursor.at < len(section):
        layer.append(decode_listed(cursor, layer[-1] if layer else None))
    require(not layer or not is_mark(layer[-1], "i"), "layer-implied", "nothing lies beneath the last record")
    return layer


def decode_listed(cursor: records.Cursor, before: Listed | None) -> Listed:
    """The next record, after the one before it."""
    depth, name, kind = records.decode_head(cursor, {*KIND_NAMES, *"iwo"})
    if before is None:
        is_root = (depth, name) == (0, b"") and kind in "di"
        require(is_root, "entries-root", "the first record is not /")
        path: Path = ()
    else:
        path = records.place(depth, name, before.path, before.node.kind in "di")
        is_beneath = len(path) > len(before.path)
        require(is_beneath or not is_mark(before, "i"), "layer-implied", f"{before.path} implies nothing")
    require(name.startswith(PREFIX) == (kind == "o"), "layer-name", f"{name!r} cannot be of kind {kind}")
    require(kind != "o" or name == OPAQUE, "layer-name", f"{name!r} is no opaque mark")
    if kind in "iwo":
        return Listed(path, Mark(kind))
    record = records.decode_entry(cursor, path, kind)
    require(record.package == 0, "entry-package", f"{path} is of a package")
    require(Terms().scoped(record.entry.xattrs) == record.entry.xattrs, "xattr-scope", f"{path} has more")
    return Listed(path, record.entry, record.link_group, record.package)
