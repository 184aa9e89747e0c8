"""The contract: rules by path, the terms that they make, xattrs in scope."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .entry import Entry, Xattrs
from .globs import compile_glob
from .paths import Path, parse, write
from .refusal import require

CLASSES = ("immutable", "append-only", "create-only", "pinned", "rotating", "add-on", "ephemeral")
FORBIDDABLE = ("exec", "setuid", "device")
NAMESPACES = ("user.", "security.", "system.", "trusted.")
OVERLAY = ("user.overlay.", "trusted.overlay.")
IN_SCOPE = (b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default")
MOST_RULES = 10_000


@dataclass(frozen=True)
class Terms:
    """What one path is held to."""

    class_: str = "immutable"
    forbid: tuple[str, ...] = ()
    mtime: bool = False
    xattrs: tuple[str, ...] = ()
    ignore_xattrs: tuple[str, ...] = ()
    sensitive: bool = False

    def forbidden(self, entry: Entry) -> list[str]:
        """What is forbidden here that the entry is."""
        return [name for name in entry.forbidden() if name in self.forbid]

    def in_scope(self, name: bytes) -> bool:
        """Whether an xattr counts here."""
        if name.startswith(tuple(prefix.encode() for prefix in OVERLAY)):
            return False
        if matches(self.ignore_xattrs, name):
            return False
        return name.startswith(b"user.") or name in IN_SCOPE or matches(self.xattrs, name)

    def scoped(self, xattrs: Xattrs) -> Xattrs:
        """Those xattrs that count here."""
        return tuple(pair for pair in xattrs if self.in_scope(pair[0]))


def matches(patterns: Sequence[str], name: bytes) -> bool:
    """Whether a name is one of these, or begins with one that ends in `*`."""
    return any(
        name.startswith(pattern[:-1].encode()) if pattern.endswith("*") else name == pattern.encode()
        for pattern in patterns
    )


@dataclass(frozen=True)
class Contract:
    """The rules in order, and the mounts that are expected."""

    rules: tuple[tuple[re.Pattern[bytes], Terms], ...] = ()
    mounts: tuple[Mapping[str, Any], ...] = ()
    known: dict[Path, Terms] = field(default_factory=dict, compare=False)

    def terms(self, path: Path) -> Terms:
        """The terms of a path: those of the last rule that matches."""
        found = self.known.get(path)
        if found is None:
            written = write(path)
            matching = (terms for glob, terms in reversed(self.rules) if glob.fullmatch(written))
            found = self.known[path] = next(matching, Terms())
        return found


def from_json(members: Mapping[str, Any]) -> Contract:
    """The contract that a statement holds."""
    rules, mounts = members["rules"], members["mounts"]
    require(len(rules) <= MOST_RULES and len(mounts) <= MOST_RULES, "contract-size", "too many rules")
    read = tuple((compile_glob(rule["path"]), terms_from(rule)) for rule in rules)
    places = [parse(mount["path"].encode()) for mount in mounts]
    require(() not in places, "contract-mount", "/ is no mount point")
    require(len(set(places)) == len(places), "contract-mount", "a mount stands twice")
    require(all(mount["content"] in ("verify", "hide") for mount in mounts), "contract-mount", "content")
    return Contract(read, tuple(mounts))


def terms_from(rule: Mapping[str, Any]) -> Terms:
    """The terms that a rule makes."""
    class_, forbid = rule["class"], tuple(rule.get("forbid", ()))
    more, fewer = tuple(rule.get("xattrs", ())), tuple(rule.get("ignore_xattrs", ()))
    require(class_ in CLASSES, "contract-class", f"there is no class {class_!r}")
    in_order = tuple(name for name in FORBIDDABLE if name in forbid)
    require(forbid == in_order, "contract-forbid", f"{forbid} cannot be forbidden")
    require(not (forbid and class_ == "immutable"), "contract-forbid", "immutable forbids all already")
    for pattern in more + fewer:
        require(
            pattern.startswith(NAMESPACES) and not pattern.startswith(OVERLAY),
            "contract-xattrs",
            f"{pattern!r} names no attributes",
        )
    blind = "exec" in forbid and matches(fewer, b"security.capability")
    require(not blind, "contract-xattrs", "exec is forbidden and security.capability out of scope")
    return Terms(class_, forbid, rule.get("mtime", False), more, fewer, rule.get("sensitive", False))
