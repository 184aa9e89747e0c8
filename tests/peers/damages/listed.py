"""Damages to the entries section and single entries."""

from collections.abc import Iterator
from dataclasses import replace

import zstandard
from second_reader.records import Record

from .parts import Parts
from .table import damage, entry, setting


def wide_window(section: bytes) -> bytes:
    """A frame whose window is wider than allowed."""
    parameters = zstandard.ZstdCompressionParameters(window_log=24)
    writer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return writer.compress(section) + writer.flush()


def sections() -> None:
    """The compressed section, and the order of its records."""
    compress = zstandard.compress
    setting("two frames", "section-frame", compress=lambda s: compress(s[:9]) + compress(s[9:]))
    setting("an empty frame after", "section-frame", compress=lambda s: compress(s) + compress(b""))
    setting(
        "a skippable frame after",
        "section-frame",
        compress=lambda s: compress(s) + b"\x50\x2a\x4d\x18\0\0\0\0",
    )
    setting(
        "a skippable frame before",
        "section-frame",
        compress=lambda s: b"\x50\x2a\x4d\x18\0\0\0\0" + compress(s),
    )
    setting("bytes after the frame", "section-frame", compress=lambda s: compress(s) + b"\0")
    setting("half a frame", "section-frame", compress=lambda s: compress(s)[:-3])
    setting("no frame", "section-frame", compress=lambda s: s)
    setting("nothing", "section-frame", compress=lambda s: b"")
    setting("a wide window", "section-frame", compress=wide_window)
    setting("no records", "entries-root", section=lambda s: b"", entries=[])
    setting("half a record", "section-short", section=lambda s: s[:-1])
    setting("a byte after the records", "section-short", section=lambda s: s + b"\0")
    setting("a depth not in its shortest form", "varint-form", section=lambda s: b"\x80\0" + s[1:])
    setting("a number without end", "varint-range", section=lambda s: b"\xff" * 20 + s[1:])
    damage("a record twice", "entries-order", lambda parts: parts.entries.insert(2, parts.entries[1]))
    damage("no /", "entries-root", lambda parts: parts.entries.pop(0))
    damage("/ twice", "entry-name", lambda parts: parts.entries.insert(0, parts.entries[0]))
    damage("children before their directory", "entries-order", swap)
    damage(
        "a directory that is not there", "entries-order", lambda parts: parts.entries.pop(parts.at(b"etc"))
    )


def swap(parts: Parts) -> None:
    """Two siblings the wrong way round."""
    one, other = parts.at(b"etc", b"passwd"), parts.at(b"etc", b"web.conf")
    parts.entries[one], parts.entries[other] = parts.entries[other], parts.entries[one]


def entries() -> None:
    """Single entries."""

    def name(bad: bytes, rule: str) -> None:
        def apply(parts: Parts) -> None:
            last = parts.entries[-1]
            parts.entries.append(replace(last, path=(*last.path[:-1], bad)))

        damage(f"the name {bad[:9]!r}", rule, apply)

    for bad in (b"", b"z/b", b"z\0", b"z" * 4096):
        name(bad, "varint-range" if len(bad) > 4095 else "entry-name")
    name(b".", "entry-name")
    name(b"..", "entry-name")
    conf = (b"etc", b"web.conf")
    entry("another kind", "entry-kind", *conf, kind="x")
    entry("a file with children", "entries-order", b"etc", kind="p")
    entry("/ that is a file", "entries-root", kind="f", size=0, content=bytes(32))
    entry("a mode of a kind", "varint-range", *conf, mode=0o100644)
    entry("an absurd owner", "varint-range", *conf, uid=2**32)
    entry("the last owner", None, *conf, uid=2**32 - 1)
    entry("a second's nanoseconds", "varint-range", *conf, mtime=(0, 10**9))
    entry("the earliest time", None, *conf, mtime=(-(2**63), 999_999_999))
    entry("a time of more than 64 bits", "varint-range", *conf, mtime=(2**63, 0))
    entry("a long target", "varint-range", b"bin", link=b"x" * 65_537)
    entry("the longest target", None, b"bin", link=b"x" * 65_536)
    entry("an empty target", None, b"bin", link=b"")
    entry("a target with NUL", None, b"bin", link=b"a\0b")
    for names, rule in (
        ((b"user.b", b"user.a"), "xattr-order"),
        ((b"user.a", b"user.a"), "xattr-order"),
        ((b"user",), "xattr-name"),
        ((b".user",), "xattr-name"),
        ((b"",), "xattr-name"),
        ((b"user.",), None),
        ((b"user.overlay.x",), "xattr-scope"),
        ((b"security.selinux",), "xattr-scope"),
        ((b"security.capability", b"user.a"), None),
        ((b"user." + b"x" * 4091,), "varint-range"),
        ((b"user.a\0",), None),
        (tuple(b"user.%05d" % i for i in range(4097)), "varint-range"),
    ):
        entry(
            f"the attributes {names[0][:20]!r}, {len(names)}",
            rule,
            *conf,
            xattrs=tuple((n, b"") for n in names),
        )
    entry("a long value", "varint-range", *conf, xattrs=((b"user.a", b"x" * 65_537),))
    damage(
        "no such package", "entry-package", lambda p: p.entries.append(replace(p.entries.pop(), package=2))
    )
    damage("a package", None, lambda p: p.entries.append(replace(p.entries.pop(), package=1)))
    damage("a link group", None, lambda p: linked(p, 2**32 - 1))
    damage("an absurd link group", "varint-range", lambda p: linked(p, 2**32))
    damage("an entry in a reserved place", "entry-reserved", lambda p: p.entries.extend(inside(p)))


def linked(parts: Parts, group: int) -> None:
    """A file of this link group."""
    index = parts.at(b"etc", b"web.conf")
    parts.entries[index] = replace(parts.entries[index], link_group=group)


def inside(parts: Parts) -> Iterator[Record]:
    """The agent's own folder, baked."""
    folder = replace(parts.entries[0], entry=replace(parts.entries[0].entry))
    # The tree ends in /var/log.
    parts.entries.pop()
    for path in ((b"var", b"lib"), (b"var", b"lib", b"congruent")):
        yield replace(folder, path=path)


sections()
entries()
