"""Makes layers at random: what is legal, however odd, and means the same to all who unpack it."""

import random
import struct
import tarfile
from collections.abc import Iterable

from . import archive
from .archive import Member

NAMES = (b"a", b"b", b"a-b", b"a.", b".wh", b"B", "\u00e4".encode(), b"\xff\n", b"[x]\\", b"n" * 120)
OPAQUE = b".wh..wh..opq"
MODES = (0o644, 0o600, 0o755, 0o4755, 0o2711, 0o1777, 0o0)
# Not setgid, which Linux hands on to what is made within: also to directories that no layer lists.
FOLDER_MODES = (0o755, 0o700, 0o4711, 0o1777, 0o0)
TIMES = (0, 1, 1_000_000_000)
CAPABILITY = struct.pack("<5I", 0x02000001, 1, 0, 0, 0)

Path = tuple[bytes, ...]


class Maker:
    """Makes the layers of one image, lowest first."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        # What lower layers come to, by kind: `d` or something else.
        self.lower: dict[Path, str] = {}

    def odds(self, of: float) -> bool:
        """True so often."""
        return self.chance.random() < of

    def layer(self) -> list[Member]:
        """The next layer's members."""
        making = Making(self)
        for _ in range(self.chance.choice((0, 1, 3, 6, 10, 15))):
            making.add()
        making.list_what_is_made_anew()
        self.lower = making.over(self.lower)
        return making.members


class Making:
    """One layer while it is made."""

    def __init__(self, maker: Maker) -> None:
        self.maker, self.chance, self.odds = maker, maker.chance, maker.odds
        self.members: list[Member] = []
        self.listed: dict[Path, str] = {}
        self.gone: set[Path] = set()
        self.opaque: set[Path] = set()

    def add(self) -> None:
        """One more member, where it means the same to all; else none."""
        path = self.path()
        above = path[:-1]
        if not self.can_hold(above):
            return
        kind = self.chance.choices("fdlpcbshwo", (8, 8, 3, 1, 1, 1, 2, 3, 6, 2))[0]
        if kind in "wo":
            self.mark(path if kind == "w" else above, (*above, b".wh." + path[-1] if kind == "w" else OPAQUE))
        elif self.is_made_anew(path, kind):
            return
        elif kind == "h":
            self.hard_link(path)
        else:
            self.list(path, "d" if kind == "d" else kind)
            self.members.append(self.member(path, kind))

    def mark(self, path: Path, name: Path) -> None:
        """A mark that takes this path away, or makes it opaque.

        Each stands in a directory that stays: in another it makes one by containerd, and none by umoci.
        """
        above = name[:-1]
        if name == (OPAQUE,):
            # Overlay file systems pass over it.
            return
        is_listed = any(one[: len(above)] == above for one in self.listed)
        if above and not is_listed and (above not in self.maker.lower or self.is_gone(above)):
            return
        if name[-1] != OPAQUE and path in implied([*self.listed, *((*one, b"") for one in self.folders())]):
            # Docker would show what was in the directory, and others not.
            return
        (self.opaque if name[-1] == OPAQUE else self.gone).add(path)
        self.members.append(Member(self.written(name)))

    def list_what_is_made_anew(self) -> None:
        """Lists directories that are taken away, and hold something new.

        Where they are not listed, some runtimes keep the old one's attributes, and some remove what is new. What a
        whiteout takes away holds nothing new.
        """
        for path in sorted(implied([*self.listed, *self.gone, *((*one, b"") for one in self.opaque)])):
            if self.is_taken(path):
                continue
            if path not in self.listed and path in self.maker.lower and self.is_gone(path):
                self.listed[path] = "d"
                self.members.insert(0, self.member(path, "d"))

    def path(self) -> Path:
        """Some path; often one that is there, or lies beneath."""
        known = [*self.maker.lower, *self.listed]
        if known and self.odds(0.6):
            path = self.chance.choice(known)
            if path and self.odds(0.5):
                return path
        else:
            path = tuple(self.chance.choices(NAMES, k=self.chance.randrange(3)))
        return (*path[:4], self.chance.choice(NAMES))

    def can_hold(self, above: Path) -> bool:
        """Whether each directory on the way is one for everybody: nothing lies beneath what is none."""
        for depth in range(1, len(above) + 1):
            path = above[:depth]
            if path in self.listed:
                if self.listed[path] != "d":
                    return False
            elif self.maker.lower.get(path, "d") != "d":
                return False
        return True

    def list(self, path: Path, kind: str) -> None:
        """Takes down what is listed; what is no directory takes the place of all beneath."""
        if kind != "d":
            beneath = [one for one in self.listed if one[: len(path)] == path]
            for one in beneath:
                del self.listed[one]
        self.listed[path] = kind

    def hard_link(self, path: Path) -> None:
        """A hard link to something of this layer or below that is still there."""
        here = [one for one, kind in self.listed.items() if kind != "d"]
        below = [
            one
            for one, kind in self.maker.lower.items()
            if kind != "d" and one not in self.listed and not self.is_gone(one)
        ]
        targets = [one for one in here + below if one != path and one[: len(path)] != path]
        if targets:
            target = self.chance.choice(targets)
            self.list(path, (self.maker.lower | self.listed)[target])
            self.members.append(archive.hard_link(self.written(path), self.written(target)))

    def folders(self) -> set[Path]:
        """The directories that are listed."""
        return {path for path, kind in self.listed.items() if kind == "d"}

    def is_taken(self, path: Path) -> bool:
        """Whether a whiteout takes it away, or what holds it."""
        return any(path[:depth] in self.gone for depth in range(1, len(path) + 1))

    def is_made_anew(self, path: Path, kind: str) -> bool:
        """Whether it would be, or be in, a directory of the name of a whiteout, or of something before it."""
        if kind == "d" and (path in self.gone or self.listed.get(path, "d") != "d"):
            return True
        return self.is_taken(path[:-1])

    def is_gone(self, path: Path) -> bool:
        """Whether this layer took it away, or listed something in its place or above it."""
        ways = [path[:depth] for depth in range(len(path) + 1)]
        taken = any(way in self.gone or self.listed.get(way, "d") != "d" for way in ways)
        return taken or any(way in self.opaque for way in ways[:-1])

    def member(self, path: Path, kind: str) -> Member:
        """A member of this kind with any attributes."""
        name = self.written(path)
        some = {
            "mode": self.chance.choice(FOLDER_MODES if kind == "d" else MODES),
            "uid": self.chance.choice((0, 0, 7, 100_000)),
            "gid": self.chance.choice((0, 0, 7)),
            "mtime": self.chance.choice(TIMES),
        }
        if kind in "df" and self.odds(0.3):
            some["xattrs"] = self.xattrs(kind)
        content = bytes(self.chance.choices(b"xy", k=self.chance.randrange(5)))
        if kind == "d":
            return archive.directory(name, **some)
        if kind == "l":
            del some["mode"]
            return archive.symlink(name, self.chance.choice((*NAMES, b"/etc", b"../..", b"a/b")), **some)
        if kind == "s":
            return archive.sparse(name, {0: content, 4096: b"end"}, self.chance.choice((4099, 8192)), **some)
        tag = {"f": tarfile.REGTYPE, "p": tarfile.FIFOTYPE, "c": tarfile.CHRTYPE, "b": tarfile.BLKTYPE}[kind]
        device = (self.chance.randrange(1, 300), self.chance.randrange(2)) if kind in "cb" else (0, 0)
        return Member(name, tag, content if kind == "f" else b"", device=device, **some)

    def xattrs(self, kind: str) -> dict[bytes, bytes]:
        """Attributes that any file or directory can have.

        None has an empty value, which umoci does not set and containerd does.
        """
        found = {b"user.one": self.chance.choice((b"1", b"\xff\n=")), b"user.\xfftwo": b"2", b"trusted.one": b"\0"}
        if kind == "f" and self.odds(0.3):
            found[b"security.capability"] = CAPABILITY
        return dict(self.chance.sample(sorted(found.items()), k=self.chance.randrange(1, len(found) + 1)))

    def written(self, path: Path) -> bytes:
        """A name as some writer would write it."""
        start = self.chance.choice((b"", b"", b"./"))
        return start + self.chance.choice((b"/", b"/", b"/", b"//", b"/./")).join(path)

    def over(self, lower: dict[Path, str]) -> dict[Path, str]:
        """What the layers come to with this one."""

        def is_kept(path: Path) -> bool:
            ways = [path[:depth] for depth in range(len(path) + 1)]
            taken = any(way in self.gone for way in ways) or any(way in self.opaque for way in ways[:-1])
            covered = any(self.listed.get(way, "d") != "d" for way in ways)
            return not taken and not covered

        merged = {path: kind for path, kind in lower.items() if is_kept(path)} | self.listed
        for path in sorted(implied([*merged, *self.gone])):
            merged.setdefault(path, "d")
        return merged


def implied(paths: Iterable[Path]) -> set[Path]:
    """Every directory above these."""
    return {path[:depth] for path in paths for depth in range(1, len(path))}
