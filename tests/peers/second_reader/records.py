"""The entries section: one record for each entry, in tree order."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .entry import KIND_NAMES, Entry
from .paths import LONGEST_NAME, Path, is_name
from .refusal import Refusal, require

MOST_COMPONENTS = 65_535
LONGEST_VALUE = 65_536
MOST_XATTRS = 4_096
U32 = 2**32 - 1
U64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Record:
    """An entry, and what stands beside it in its record."""

    path: Path
    entry: Entry
    link_group: int
    package: int


class Cursor:
    """Takes values off the front of the section."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        """The next bytes."""
        taken = self.data[self.at : self.at + length]
        require(len(taken) == length, "section-short", f"the section ends within a record at {self.at}")
        self.at += length
        return taken

    def varint(self, most: int) -> int:
        """An unsigned LEB128 in its shortest form, of at most this value."""
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            require(value <= most, "varint-range", f"a number is above {most} at {self.at}")
            if byte < 0x80:
                require(byte != 0 or shift == 0, "varint-form", f"not the shortest form at {self.at}")
                return value
            shift += 7
            require(shift < 70, "varint-form", f"a number does not end at {self.at}")

    def zigzag(self) -> int:
        """A signed number of 64 bits, zigzag encoded."""
        value = self.varint(U64)
        return value >> 1 ^ -(value & 1)

    def bytes(self, longest: int) -> bytes:
        """A length and that many bytes."""
        return self.take(self.varint(longest))


def decode(section: bytes) -> list[Record]:
    """Every record, each held to its place in the order."""
    cursor, records = Cursor(section), list[Record]()
    while cursor.at < len(section):
        before = records[-1] if records else None
        records.append(decode_record(cursor, before))
    require(bool(records), "entries-root", "there is no record of /")
    return records


def decode_record(cursor: Cursor, before: Record | None) -> Record:
    """The next record, after the one before it."""
    depth, name, kind = decode_head(cursor, KIND_NAMES)
    if before is None:
        require((depth, name, kind) == (0, b"", "d"), "entries-root", "the first record is not /")
        return decode_entry(cursor, (), kind)
    path = place(depth, name, before.path, before.entry.kind == "d")
    return decode_entry(cursor, path, kind)


def decode_head(cursor: Cursor, kinds: Container[str]) -> tuple[int, bytes, str]:
    """Depth, name and kind: how each record begins."""
    depth, name = cursor.varint(MOST_COMPONENTS), cursor.bytes(LONGEST_NAME)
    kind = cursor.take(1).decode("latin-1")
    require(kind in kinds, "entry-kind", f"there is no kind {kind!r}")
    return depth, name, kind


def decode_entry(cursor: Cursor, path: Path, kind: str) -> Record:
    """What follows the head of an entry."""
    mode, uid, gid = cursor.varint(0o7777), cursor.varint(U32), cursor.varint(U32)
    mtime = cursor.zigzag(), cursor.varint(999_999_999)
    size = content = link = device = None
    if kind == "f":
        size, content = cursor.varint(U64), cursor.take(32)
    elif kind == "l":
        link = cursor.bytes(LONGEST_VALUE)
    elif kind in "cb":
        device = cursor.varint(U32), cursor.varint(U32)
    link_group = 0 if kind == "d" else cursor.varint(U32)
    xattrs = tuple(decode_xattr(cursor) for _ in range(cursor.varint(MOST_XATTRS)))
    names = [name for name, _ in xattrs]
    require(names == sorted(set(names)), "xattr-order", f"xattrs of {path} do not rise")
    entry = Entry(kind, mode, uid, gid, mtime, size, content, link, device, xattrs)
    return Record(path, entry, link_group, cursor.varint(U64))


def check_content(entries: Iterable[Entry], told: Mapping[str, Any]) -> None:
    """Holds the sizes of files to what the statement says."""
    content = sum(entry.size or 0 for entry in entries)
    require(content == told["content_bytes"], "content-bytes", f"{content}, not {told['content_bytes']}")


def decode_xattr(cursor: Cursor) -> tuple[bytes, bytes]:
    """An attribute's name and value."""
    name, value = cursor.bytes(LONGEST_NAME), cursor.bytes(LONGEST_VALUE)
    require(b"." in name[1:] and name[:1] != b".", "xattr-name", f"{name!r} names no attribute")
    return name, value


def place(depth: int, name: bytes, before: Path, holds: bool) -> Path:
    """The path of a record, from the one before it, which may hold others."""
    require(is_name(name), "entry-name", f"{name!r} is not a name")
    if not 1 <= depth <= len(before) + holds:
        raise Refusal("entries-order", f"{name!r} lies in no directory before it")
    path = (*before[: depth - 1], name)
    if depth <= len(before):
        require(before[depth - 1] < name, "entries-order", f"{name!r} does not stand in order")
    return path
