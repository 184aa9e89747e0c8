"""Damages to the layers of an image."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from second_reader.entry import Entry
from second_reader.layers import OPAQUE, Layer, Listed
from second_reader.tree import Mark

from .parts import Parts
from .table import damage, saying

FILE = Entry("f", 0o644, 0, 0, (0, 0), size=1, content=bytes(32))
FOLDER = Entry("d", 0o755, 0, 0, (0, 0))


def at(path: bytes, node: Entry | str, **more: int) -> Listed:
    """A record at a path, which is written with `/`; a mark by its kind."""
    names = tuple(path.split(b"/")[1:]) if path != b"/" else ()
    return Listed(names, Mark(node) if isinstance(node, str) else node, **more)


WHOLE = [
    at(b"/", "i"),
    at(b"/a", FOLDER),
    at(b"/a/" + OPAQUE, "o"),
    at(b"/a/b", FILE),
    at(b"/c", "i"),
    at(b"/c/d", "w"),
    at(b"/e", FILE),
]


def layers(name: str, rule: str | None, *listed: Layer) -> None:
    """A manifest of an image with these layers."""
    damage(f"layers: {name}", rule, lambda parts: setattr(parts, "layers", list(listed)))


def changed(name: str, rule: str | None, **members: Any) -> None:
    """A layer with one more file, that has these members."""
    layers(name, rule, [at(b"/", "i"), at(b"/a", replace(FILE, **members))])


def said(name: str, rule: str | None, change: Callable[[dict[str, Any]], Any]) -> None:
    """A change to what the predicate says of three layers."""

    def apply(parts: Parts) -> None:
        parts.layers = [WHOLE, [], [at(b"/", FOLDER)]]
        parts.said = lambda statement: change(statement["predicate"])

    damage(f"layers: {name}", rule, apply)


def written(name: str, rule: str | None, file: Callable[[bytes], bytes]) -> None:
    """A change to the file of an image."""

    def apply(parts: Parts) -> None:
        parts.layers, parts.file = [WHOLE, []], file

    damage(f"layers: {name}", rule, apply)


def marks() -> None:
    """What a layer lists, and in which order."""
    top, implied = at(b"/", FOLDER), at(b"/", "i")
    layers("whole", None, WHOLE)
    layers("only /", None, [top])
    layers("none listed", None, [])
    layers("whiteouts that nothing follows", None, [implied, at(b"/a", "w"), at(b"/b", "w")])
    layers("an opaque /", None, [implied, at(b"/" + OPAQUE, "o")])
    layers("an opaque implied directory", None, [implied, at(b"/a", "i"), at(b"/a/" + OPAQUE, "o")])
    layers("/ implied alone", "layer-implied", [implied])
    layers("implied, last", "layer-implied", [top, at(b"/a", "i")])
    layers("implied, and a sibling next", "layer-implied", [top, at(b"/a", "i"), at(b"/b", FILE)])
    layers("implied twice", "entries-order", [top, at(b"/a", "i"), at(b"/a", "i"), at(b"/a/b", FILE)])
    layers("beneath a whiteout", "entries-order", [top, at(b"/a", "w"), at(b"/a/b", FILE)])
    mark = at(b"/" + OPAQUE, "o")
    layers("beneath an opaque mark", "entries-order", [top, mark, at(b"/" + OPAQUE + b"/b", FILE)])
    layers("beneath a file", "entries-order", [top, at(b"/a", FILE), at(b"/a/b", FILE)])
    layers("/ taken away", "entries-root", [at(b"/", "w")])
    layers("/ that is an opaque mark", "entries-root", [at(b"/", "o")])
    layers("/ that is a file", "entries-root", [at(b"/", FILE)])
    layers("no /", "entries-root", [at(b"/a", FILE)])
    layers("a whiteout twice", "entries-order", [top, at(b"/a", "w"), at(b"/a", "w")])
    layers("taken away and there", "entries-order", [top, at(b"/a", "w"), at(b"/a", FILE)])
    layers("out of order", "entries-order", [top, at(b"/b", "w"), at(b"/a", FILE)])
    layers("a mark out of order", "entries-order", [top, at(b"/a", FILE), at(b"/" + OPAQUE, "o")])
    layers("names that rise before a mark", None, [top, at(b"/.a", FILE), mark, at(b"/a", "w")])
    for name in (b".wh.", b".wh.a", OPAQUE):
        for kind, node in (("f", FILE), ("d", FOLDER), ("w", "w")):
            layers(f"{name!r} of kind {kind}", "layer-name", [top, at(b"/" + name, node)])
    layers("a directory of marks", "layer-name", [top, at(b"/.wh.a", "i"), at(b"/.wh.a/b", FILE)])
    for name in (b".wh.", b".wh.a", b"a", b".wh..wh..opq2"):
        layers(f"an opaque mark named {name!r}", "layer-name", [top, at(b"/" + name, "o")])
    for name in (b".wh", b"a.wh.b", b".WH.a"):
        layers(f"the name {name!r}", None, [top, at(b"/" + name, FILE), at(b"/z", "w")])
    for kind in "mxW":
        layers(f"the kind {kind}", "entry-kind", [top, at(b"/a", kind)])
    layers("a package", "entry-package", [top, at(b"/a", FILE, package=1)])
    layers("a link group", None, [top, at(b"/a", FILE, link_group=7)])
    changed("xattrs in scope by default", None, xattrs=((b"security.capability", b""), (b"user.a", b"")))
    changed("xattrs out of scope", "xattr-scope", xattrs=((b"trusted.a", b""),))
    changed("xattrs of overlays", "xattr-scope", xattrs=((b"user.overlay.a", b""),))
    changed("a mode of a kind", "varint-range", mode=0o100644)
    changed("the earliest time", None, mtime=(-(2**63), 999_999_999))


def stated() -> None:
    """What is said of layers, and the file's frame."""
    said("nothing", None, lambda p: None)
    said("an empty list", "layers", lambda p: p.update(layers=[]))
    saying("layers: an empty list, and no sections", "layers", lambda p: p.update(layers=[]))
    said("null", "member", lambda p: p.update(layers=None))
    said("fewer than sections", "layers", lambda p: p["layers"].pop())
    said("no image", "layers", lambda p: p["origin"].pop("image"))
    said("no origin", "layers", lambda p: p.pop("origin"))
    said("other diff_ids", "layers", lambda p: p["origin"]["image"]["diff_ids"].reverse())
    said("layers in another order", "layers", lambda p: p["layers"].reverse())
    digest = "sha256:" + "0" * 64
    said("one diff_id more", "layers", lambda p: p["origin"]["image"]["diff_ids"].append(digest))
    said("an unknown member", "member-unknown", lambda p: p["layers"][0].update(more=1))
    said("more of entries", "member-unknown", lambda p: p["layers"][0]["entries"].update(more=1))
    for name in ("diff_id", "root", "entries"):
        said(f"no {name}", "member-missing", lambda p, name=name: p["layers"][0].pop(name))
    said("a diff_id that is none", "digest", lambda p: p["layers"][0].update(diff_id="latest"))
    said("a platform", None, lambda p: p["origin"]["image"].update(platform="linux/arm64/v8"))
    said("a long platform", "member", lambda p: p["origin"]["image"].update(platform="x" * 1001))
    said("a manifest_digest", None, lambda p: p["origin"]["image"].update(manifest_digest=digest))
    said("a word for one", "digest", lambda p: p["origin"]["image"].update(manifest_digest="x"))
    other = "blake3:" + "0" * 64
    said("another root", "layer-root", lambda p: p["layers"][0].update(root=other))
    said("another root of the empty one", "layer-root", lambda p: p["layers"][1].update(root=other))
    said("two roots changed about", "layer-root", lambda p: swap(p["layers"], "root"))
    said("a root by another algorithm", "digest-algorithm", lambda p: p["layers"][0].update(root=digest))
    said(
        "a digest by another algorithm",
        "digest-algorithm",
        lambda p: p["layers"][0]["entries"].update(digest=digest),
    )
    said("another digest", "entries-digest", lambda p: p["layers"][2]["entries"].update(digest=other))
    for name, rule in (
        ("count", "entries-count"),
        ("section_bytes", "section-length"),
        ("content_bytes", "content-bytes"),
    ):
        said(f"{name} +1", rule, lambda p, name=name: one_more(p["layers"][0]["entries"], name))
    written("a byte more", "frame-long", lambda file: file + b"\0")
    written("a section more", "frame-long", lambda file: file + bytes(8))
    written("a byte less", "frame-short", lambda file: file[:-1])
    written("a section less", "frame-short", lambda file: file[: file.rindex(b"\x28\xb5\x2f\xfd") - 8])
    damage("layers: two sections changed about", "section-length", changed_about)
    damage("layers: half a record", "section-short", lambda parts: cut(parts, -1))


def one_more(told: dict[str, int], name: str) -> None:
    """A number is one more."""
    told[name] += 1


def swap(told: list[dict[str, Any]], member: str) -> None:
    """Gives two layers each other's member."""
    told[0][member], told[2][member] = told[2][member], told[0][member]


def changed_about(parts: Parts) -> None:
    """Each of two layers has the other's section."""
    parts.layers = [WHOLE, [at(b"/", FOLDER)]]

    def file(whole: bytes) -> bytes:
        start = b"\x28\xb5\x2f\xfd"
        last = whole.rindex(start) - 8
        before = whole.rindex(start, 0, last) - 8
        return whole[:before] + whole[last:] + whole[before:last]

    parts.file = file


def cut(parts: Parts, length: int) -> None:
    """A layer's records are cut, and all says so."""
    parts.layers = [WHOLE]
    parts.layer_section = lambda _, section: section[:length]


marks()
stated()
