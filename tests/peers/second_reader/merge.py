"""What layers come to, one over the other; and whether a manifest's tree is that."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .contract import Terms
from .entry import Entry
from .layers import Layer, Listed, is_mark
from .manifest import Manifest
from .paths import Path, is_beneath, write
from .refusal import Refusal, require

# Which inode a path is of: the layer and its link group. None where it shares none.
Inode = tuple[int, int] | None

UNLISTED = Entry("d", 0o755, 0, 0, (0, 0))


@dataclass(frozen=True, slots=True)
class Merged:
    """An entry of the tree, and its inode."""

    entry: Entry
    inode: Inode = None


Tree = dict[Path, Merged]


def merge(layers: Iterable[Layer]) -> Tree:
    """The tree that layers come to, lowest first."""
    tree: Tree = {}
    for number, layer in enumerate(layers):
        # What is taken away lies below, wherever its mark stands.
        for listed in layer:
            take_away(tree, listed)
        for listed in layer:
            put(tree, listed, number)
    tree.setdefault((), Merged(UNLISTED))
    return tree


def take_away(tree: Tree, listed: Listed) -> None:
    """Takes away what a mark says."""
    if is_mark(listed, "w"):
        remove_beneath(tree, listed.path)
        tree.pop(listed.path, None)
    elif is_mark(listed, "o"):
        directory = listed.path[:-1]
        remove_beneath(tree, directory)
        if directory in tree and tree[directory].entry.kind != "d":
            del tree[directory]


def put(tree: Tree, listed: Listed, number: int) -> None:
    """Puts in place what the layer of this number lists."""
    path, node = listed.path, listed.node
    if isinstance(node, Entry):
        if node.kind != "d" and path in tree and tree[path].entry.kind == "d":
            remove_beneath(tree, path)
        tree[path] = Merged(node, (number, listed.link_group) if listed.link_group else None)
    elif is_mark(listed, "i"):
        below = tree.setdefault(path, Merged(UNLISTED)).entry
        require(below.kind == "d", "layers-merge", f"{path} is implied, and below it is no directory")


def remove_beneath(tree: Tree, top: Path) -> None:
    """Removes what lies beneath, and not `top` itself."""
    if top not in tree:
        return
    for path in [path for path in tree if path != top and is_beneath(path, top)]:
        del tree[path]


def check(manifest: Manifest) -> None:
    """Refuses a manifest of an image whose tree is not what its layers come to."""
    if not manifest.layers:
        return
    contract, reserved = manifest.statement.contract, manifest.statement.reserved
    merged = {
        path: one
        for path, one in merge(manifest.layers).items()
        if not any(is_beneath(path, place) for place in reserved)
    }
    told = {record.path: record for record in manifest.records}
    for path in sorted(told.keys() ^ merged.keys()):
        raise Refusal("layers-merge", f"{write(path)!r} is in the tree or in the layers, and not in both")
    for path, record in told.items():
        # Layers do not tell what only a rule puts in scope.
        shared = replace(record.entry, xattrs=Terms().scoped(record.entry.xattrs))
        entry = merged[path].entry
        entry = replace(entry, xattrs=contract.terms(path).scoped(entry.xattrs))
        require(shared == entry, "layers-merge", f"{write(path)!r} is {shared}, by the layers {entry}")
    inodes = groups((path, record.link_group or None) for path, record in told.items())
    by_layers = groups((path, one.inode) for path, one in merged.items())
    require(inodes == by_layers, "layers-merge", "what shares an inode is not what does so in the layers")


def groups(paths: Iterable[tuple[Path, object]]) -> set[frozenset[Path]]:
    """The sets of paths that share an inode."""
    found: dict[object, set[Path]] = {}
    for path, inode in paths:
        if inode is not None:
            found.setdefault(inode, set()).add(path)
    return {frozenset(group) for group in found.values() if len(group) > 1}
