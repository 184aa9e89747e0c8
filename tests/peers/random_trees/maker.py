"""Makes trees, contracts and changes at random."""

import json
import os
import random
import shutil
import socket
import stat
import struct
from collections.abc import Iterator
from typing import Any

from second_reader.contract import CLASSES, FORBIDDABLE, Contract
from second_reader.digests import ALGORITHMS
from second_reader.walk import View

NAMES = (b"a", b"b", b"a-b", b"a.", b"B", "\u00e4".encode(), b"\xff\n", b"[x]")
GLOB_PARTS = (
    "*",
    "**",
    "**",
    "**",
    "a",
    "b",
    "a*",
    "?",
    "[a-c]",
    "{a,b}",
    "{a,b}*",
    "\\[x\\]",
    "*b",
    "\u00e4",
    "??",
    "a{,-b}",
    "{a/b,b}",
)
XATTRS = (b"user.one", b"user.two", b"user.overlay.x", b"trusted.one", b"trusted.overlay.x")
XATTR_PATTERNS = ("user.*", "user.one", "trusted.*", "trusted.one", "security.capability", "system.*")
CAPABILITY = struct.pack("<5I", 0x02000001, 1, 0, 0, 0)
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 6, 2**32 - 1), (2, 4, 7), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 4, 2**32 - 1))
)
MODES = (0o644, 0o600, 0o755, 0o4755, 0o2711, 0o1777, 0o0)


class Maker:
    """Makes and changes trees at random."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        # What was touched is touched again more often, since much follows only then.
        self.touched: list[bytes] = []

    def odds(self, of: float) -> bool:
        """True so often."""
        return self.chance.random() < of

    def tree(self, top: bytes, entries: int) -> None:
        """A new tree of about this many entries."""
        os.mkdir(top, 0o755)
        for _ in range(entries):
            self.add(top)

    def paths(self, top: bytes) -> Iterator[bytes]:
        """Every path beneath `top`, in an order that is the same each time."""
        for folder, folders, files in os.walk(top):
            folders.sort()
            yield from sorted(os.path.join(folder, name) for name in folders + files)

    def add(self, top: bytes) -> None:
        """A new entry in some directory."""
        folders = [top, *(p for p in self.paths(top) if stat.S_ISDIR(os.lstat(p).st_mode))]
        path = os.path.join(self.chance.choice(folders), self.chance.choice(NAMES))
        if not os.path.lexists(path):
            self.make(path, top)
            self.touched.append(path)

    def make(self, path: bytes, top: bytes) -> None:
        """An entry of some kind."""
        kind = self.chance.choices("fdlpscbh", (8, 8, 2, 1, 1, 1, 1, 1))[0]
        files = [p for p in self.paths(top) if stat.S_ISREG(os.lstat(p).st_mode)]
        if kind == "h" and files:
            os.link(self.chance.choice(files), path)
        elif kind == "d":
            os.mkdir(path)
        elif kind == "l":
            os.symlink(self.chance.choice(NAMES), path)
        elif kind == "s":
            with socket.socket(socket.AF_UNIX) as listener:
                # The path to bind is shorter than sockets allow only from nearby.
                here = os.getcwd()
                os.chdir(os.path.dirname(path))
                listener.bind(os.path.basename(path))
                os.chdir(here)
        elif kind in "pcb":
            made = {"p": stat.S_IFIFO, "c": stat.S_IFCHR, "b": stat.S_IFBLK}[kind]
            os.mknod(path, made | 0o600, os.makedev(self.chance.randrange(3), 1))
        else:
            self.write(path, "xb")
        if self.odds(0.5):
            self.attributes(path)

    def write(self, path: bytes, how: str) -> None:
        """Writes or appends a little."""
        with open(path, how) as file:
            file.write(bytes(self.chance.choices(b"xy", k=self.chance.randrange(5))))

    def attributes(self, path: bytes) -> None:
        """Another owner, mode, time and attributes, or some of these."""
        if self.odds(0.3):
            os.lchown(path, self.chance.choice((0, 7, 2**31)), self.chance.choice((0, 7)))
        is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        if self.odds(0.4) and not is_link:
            os.chmod(path, self.chance.choice(MODES))
        if self.odds(0.3):
            os.utime(
                path, ns=(0, self.chance.choice((0, 1, -1, 10**18 + 5, -15 * 10**8))), follow_symlinks=False
            )
        if self.odds(0.3):
            self.xattr(path)

    def xattr(self, path: bytes) -> None:
        """One attribute more, less, or other."""
        kind = stat.S_IFMT(os.lstat(path).st_mode)
        plain = kind in (stat.S_IFREG, stat.S_IFDIR)
        name = self.chance.choice(XATTRS)
        if kind == stat.S_IFREG and self.odds(0.3):
            os.setxattr(path, b"security.capability", CAPABILITY)
        elif kind in (stat.S_IFREG, stat.S_IFDIR) and self.odds(0.2):
            os.setxattr(path, b"system.posix_acl_access", ACL)
        elif name in map(os.fsencode, os.listxattr(path, follow_symlinks=False)):
            os.removexattr(path, name, follow_symlinks=False)
        elif plain or name.startswith(b"trusted."):
            os.setxattr(path, name, self.chance.choice((b"", b"1", b"\0\xff")), follow_symlinks=False)

    def change(self, top: bytes) -> None:
        """Changes something."""
        paths = list(self.paths(top))
        how = self.chance.randrange(7)
        if not paths or how == 0:
            self.add(top)
            return
        if self.odds(0.03):
            self.attributes(top)
        again = [path for path in self.touched[-6:] if os.path.lexists(path)]
        path = self.chance.choice(again if again and self.odds(0.6) else paths)
        self.touched.append(path)
        is_file = stat.S_ISREG(os.lstat(path).st_mode)
        if how == 1 and is_file:
            self.write(path, "ab")
        elif how == 2 and is_file:
            self.write(path, "wb")
        elif how in (3, 4):
            remove(path)
            if how == 4:
                self.make(path, top)
        else:
            self.attributes(path)

    def glob(self) -> str:
        """A glob over paths."""
        parts = self.chance.choices(GLOB_PARTS, k=self.chance.choice((0, 1, 1, 1, 2, 2, 2, 3)))
        return "/" + "/".join(parts)

    def contract(self) -> str:
        """A contract in TOML."""
        return "\n".join(self.rule() for _ in range(self.chance.randrange(1, 7)))

    def rule(self) -> str:
        """A rule in TOML; what is a text in JSON is one here."""
        class_ = self.chance.choice((*CLASSES, "append-only", "create-only", "pinned", "pinned"))
        members: dict[str, Any] = {"path": self.glob(), "class": class_}
        if class_ != "immutable" and self.odds(0.4):
            members["forbid"] = [name for name in FORBIDDABLE if self.odds(0.5)] or ["exec"]
        if self.odds(0.3):
            members["mtime"] = True
        if self.odds(0.3):
            members["xattrs"] = [self.chance.choice(XATTR_PATTERNS)]
        narrowing = [p for p in XATTR_PATTERNS if p != "security.capability"]
        if self.odds(0.3):
            members["ignore-xattrs"] = [self.chance.choice(narrowing)]
        if self.odds(0.3):
            members["sensitive"] = True
        lines = (f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in members.items())
        return "[[rule]]\n" + "\n".join(lines) + "\n"

    def add_on(self, top: bytes, contract: Contract) -> None:
        """A tree that holds what an add-on may hold."""
        self.tree(top, 12)
        view = View(top, ALGORITHMS["blake3"], lambda path: (contract.terms(path), None))
        wanted: set[tuple[bytes, ...]] = {()}
        for path, entry in sorted(view.entries(), reverse=True):
            terms = contract.terms(path)
            own = terms.class_ == "add-on" and not terms.forbidden(entry)
            if own:
                wanted.update(path[:depth] for depth in range(len(path) + 1))
            elif path not in wanted or entry.kind != "d":
                remove(view.place(path))


def remove(path: bytes) -> None:
    """Removes what is there, and all beneath it."""
    if stat.S_ISDIR(os.lstat(path).st_mode):
        shutil.rmtree(path)
    else:
        os.unlink(path)
