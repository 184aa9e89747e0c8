"""Looks at a directory as the root of a tree, without any of Congruent's code.

Follows no link and crosses no mount; what cannot be read is an error.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .contract import Terms
from .digests import Algorithm
from .entry import Entry
from .paths import Path

BLOCK_BYTES = 1 << 20
KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
}

Held = Callable[[Path], tuple[Terms, Entry | None]]


@dataclass(frozen=True)
class View:
    """How a directory is looked at; `held` gives a path's terms and what is baked there."""

    top: bytes
    algorithm: Algorithm
    held: Held
    content_key: bytes | None = None

    def entries(self) -> Iterator[tuple[Path, Entry]]:
        """Everything that is there, in no order."""
        waiting: list[Path] = [()]
        while waiting:
            path = waiting.pop()
            entry = self.look(path)
            yield path, entry
            if entry.kind == "d":
                with os.scandir(self.place(path)) as listing:
                    waiting.extend((*path, found.name) for found in listing)

    def place(self, path: Path) -> bytes:
        """Where a path lies for us."""
        return b"/".join((self.top, *path))

    def look(self, path: Path) -> Entry:
        """What is at a path."""
        place = self.place(path)
        seen, (terms, baked) = os.lstat(place), self.held(path)
        kind = KINDS[stat.S_IFMT(seen.st_mode)]
        names = sorted(os.fsencode(name) for name in os.listxattr(place, follow_symlinks=False))
        xattrs = tuple(
            (name, os.getxattr(place, name, follow_symlinks=False)) for name in names if terms.in_scope(name)
        )
        return Entry(
            kind=kind,
            mode=stat.S_IMODE(seen.st_mode),
            uid=seen.st_uid,
            gid=seen.st_gid,
            mtime=divmod(seen.st_mtime_ns, 10**9),
            size=seen.st_size if kind == "f" else None,
            content=self.content(place, seen.st_size, terms, baked) if kind == "f" else None,
            link=os.readlink(place) if kind == "l" else None,
            device=(os.major(seen.st_rdev), os.minor(seen.st_rdev)) if kind in "cb" else None,
            xattrs=xattrs,
        )

    def content(self, place: bytes, size: int, terms: Terms, baked: Entry | None) -> bytes:
        """The content digest that is told of a file."""
        length, known = size, None
        if baked is not None and baked.kind == "f":
            known = baked.content
            if terms.class_ == "append-only" and baked.size is not None and size >= baked.size:
                length = baked.size
        content = self.digest(place, length)
        if terms.sensitive and content != known and self.content_key is not None:
            return self.algorithm.keyed(content, self.content_key)
        return content

    def digest(self, place: bytes, length: int) -> bytes:
        """The digest of a file's first bytes."""
        hasher = self.algorithm.hasher()
        with open(place, "rb") as file:
            while length and (block := file.read(min(length, BLOCK_BYTES))):
                hasher.update(block)
                length -= len(block)
        digest: bytes = hasher.digest()
        return digest
