"""Entries: what is at a path, how two are compared, how one is written in JSON."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from . import paths, times
from .digests import Algorithm
from .refusal import Refusal, require

KIND_NAMES = {
    "f": "file",
    "d": "directory",
    "l": "symlink",
    "p": "fifo",
    "s": "socket",
    "c": "char-device",
    "b": "block-device",
}
KINDS = {name: kind for kind, name in KIND_NAMES.items()}

Xattrs = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at a path. Members that its kind does not have are None."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime: times.Time
    size: int | None = None
    content: bytes | None = None
    link: bytes | None = None
    device: tuple[int, int] | None = None
    xattrs: Xattrs = ()

    def forbidden(self) -> list[str]:
        """What `forbid` can name that this is."""
        is_file = self.kind == "f"
        capable = any(name == b"security.capability" for name, _ in self.xattrs)
        named = {
            "exec": is_file and (self.mode & 0o111 != 0 or capable),
            "setuid": is_file and self.mode & 0o6000 != 0,
            "device": self.kind in "cb",
        }
        return [name for name, holds in named.items() if holds]

    def with_content(self, content: bytes | None) -> "Entry":
        """The same with other content."""
        return replace(self, content=content)


def differing(expected: Entry, observed: Entry, with_mtime: bool) -> list[str] | None:
    """The fields that differ, in order; None where the kind does."""
    if expected.kind != observed.kind:
        return None
    names = ["content", "size", "link", "device", "mode", "uid", "gid"]
    if with_mtime and expected.kind != "d":
        names.append("mtime")
    fields = [name for name in names if getattr(expected, name) != getattr(observed, name)]
    before, after = dict(expected.xattrs), dict(observed.xattrs)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            fields.append("xattr:" + paths.shown(name))
    return fields


def to_json(entry: Entry, algorithm: Algorithm) -> dict[str, Any]:
    """The attributes of an entry."""
    attributes: dict[str, Any] = {
        "kind": KIND_NAMES[entry.kind],
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
    }
    if entry.size is not None:
        attributes["size"] = entry.size
    if entry.content is not None:
        attributes["content"] = algorithm.write(entry.content)
    if entry.link is not None:
        attributes |= paths.to_members("link", entry.link)
    if entry.device is not None:
        attributes["device"] = "{}:{}".format(*entry.device)
    if entry.xattrs:
        attributes["xattrs"] = [
            paths.to_members("name", name) | {"value": base64.b64encode(value).decode()}
            for name, value in entry.xattrs
        ]
    return attributes | times.write(entry.mtime)


def from_json(attributes: Mapping[str, Any], algorithm: Algorithm) -> Entry:
    """The entry that has these attributes."""
    kind = KINDS.get(attributes.get("kind", ""))
    if kind is None:
        raise Refusal("attributes", f"no entry is of kind {attributes.get('kind')!r}")
    unix = attributes.get("modified_at_unix")
    content, device = attributes.get("content"), attributes.get("device")
    xattrs = tuple(
        (paths.from_members("name", xattr), paths.from_base64(xattr["value"]))
        for xattr in attributes.get("xattrs", [])
    )
    require(list(xattrs) == sorted(set(xattrs)), "attributes", "xattrs are not in order")
    return Entry(
        kind=kind,
        mode=int(attributes["mode"], 8),
        uid=attributes["uid"],
        gid=attributes["gid"],
        mtime=times.parse(attributes["modified_at"]) if unix is None else times.parse_unix(unix),
        size=attributes.get("size"),
        content=None if content is None else algorithm.read(content, keyed_too=True),
        link=paths.from_members("link", attributes) if kind == "l" else None,
        device=None if device is None else device_from(device),
        xattrs=xattrs,
    )


def device_from(text: str) -> tuple[int, int]:
    """The numbers of a device that is written MAJOR:MINOR."""
    major, _, minor = text.partition(":")
    require(major.isdecimal() and minor.isdecimal(), "attributes", f"{text!r} is not a device's number")
    return int(major), int(minor)
