"""A layer's archive, member by member."""

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field

BLOCK = 512


@dataclass
class Member:
    """A member as it is written. A name that ends in `/` stands so."""

    name: bytes
    kind: bytes = tarfile.REGTYPE
    content: bytes = b""
    link: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    pax: Mapping[bytes, bytes] = field(default_factory=dict)

    def write(self) -> bytes:
        """The member's blocks, after those of its extended header."""
        records = {b"SCHILY.xattr." + name: value for name, value in self.xattrs.items()} | self.pax
        for key, value in ((b"path", self.name), (b"linkpath", self.link)):
            if len(value) > 100:
                records[key] = value
        extended = b"".join(record(key, value) for key, value in records.items())
        head = header(Member(b"pax", tarfile.XHDTYPE), extended) if extended else b""
        return head + header(self, self.content)


def record(key: bytes, value: bytes) -> bytes:
    """A record of an extended header, which begins with its own length."""
    length = len(key) + len(value) + 3
    while len(b"%d %b=%b\n" % (length, key, value)) != length:
        length += 1
    return b"%d %b=%b\n" % (length, key, value)


def header(member: Member, content: bytes) -> bytes:
    """A header of ustar, and the content that follows it."""

    def octal(value: int, width: int) -> bytes:
        return b"%0*o\0" % (width - 1, value)

    def before_and_after(checksum: bytes) -> bytes:
        return b"".join(
            (
                member.name[:100].ljust(100, b"\0"),
                octal(member.mode, 8) + octal(member.uid, 8) + octal(member.gid, 8),
                octal(len(content), 12) + octal(member.mtime, 12) + checksum,
                member.kind + member.link[:100].ljust(100, b"\0") + b"ustar\x0000".ljust(72, b"\0"),
                octal(member.device[0], 8) + octal(member.device[1], 8),
            )
        ).ljust(BLOCK, b"\0")

    checksum = b"%06o\0 " % sum(before_and_after(b" " * 8))
    return before_and_after(checksum) + content + b"\0" * (-len(content) % BLOCK)


def directory(name: bytes, mode: int = 0o755, **more: object) -> Member:
    """A directory."""
    return Member(name + b"/", tarfile.DIRTYPE, mode=mode, **more)  # type: ignore[arg-type]


def symlink(name: bytes, link: bytes, **more: object) -> Member:
    """A symbolic link."""
    return Member(name, tarfile.SYMTYPE, link=link, mode=0o777, **more)  # type: ignore[arg-type]


def hard_link(name: bytes, link: bytes) -> Member:
    """One more name of another member's file."""
    return Member(name, tarfile.LNKTYPE, link=link)


def sparse(name: bytes, pieces: Mapping[int, bytes], size: int, **more: object) -> Member:
    """A sparse file in GNU's format 1.0: what is at which offset, and zeros else."""
    numbers = [len(pieces), *(number for at, piece in pieces.items() for number in (at, len(piece)))]
    mapped = b"".join(b"%d\n" % number for number in numbers)
    content = mapped + b"\0" * (-len(mapped) % BLOCK) + b"".join(pieces.values())
    pax = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": name,
        b"GNU.sparse.realsize": b"%d" % size,
    }
    return Member(b"GNUSparseFile.0/sparse", content=content, pax=pax, **more)  # type: ignore[arg-type]


def archive(members: list[Member]) -> bytes:
    """The whole archive."""
    return b"".join(member.write() for member in members) + bytes(2 * BLOCK)
