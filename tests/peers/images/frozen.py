"""`python -m images.frozen FOLDER`: the image of `protocol/vectors/v2/image.manifest`, as a layout.

Three layers with each kind of entry and each mark. The manifest was baked when a whiteout and a directory of one
name in one layer were taken for an opaque directory; `congruent bake` refuses them since.
"""

import sys
from pathlib import Path as File

from . import layout
from .archive import Member, archive, directory, hard_link, sparse, symlink

CAPABILITY = b"security.capability"
SET = bytes.fromhex("0100000200040000000000000000000000000000")
NOTES = {b"user.note": b"x", b"user.odd\xff": b"\0\n"}
OPAQUE = b".wh..wh..opq"
TIME = 1_767_323_045

BASE = [
    directory(b".", mtime=TIME),
    directory(b"bin", mtime=TIME),
    Member(b"bin/tool", content=b"tool\n", mode=0o755, mtime=TIME, xattrs={CAPABILITY: SET}),
    hard_link(b"bin/same", b"bin/tool"),
    symlink(b"bin/link", b"t\xffol\n", mtime=TIME),
    Member(b"dev/null", b"3", mode=0o666, device=(1, 3), mtime=TIME),
    Member(b"dev/disk", b"4", mode=0o660, gid=6, device=(259, 70_000), mtime=TIME),
    Member(b"run/pipe", b"6", mode=0o600, mtime=TIME),
    directory(b"etc", mtime=TIME),
    Member(b"etc/motd", content=b"hello\n", mtime=TIME),
    Member(b"etc/app", content=b"a file, later a directory\n", mtime=TIME),
    directory(b"etc/conf.d", 0o750, gid=100, mtime=TIME),
    Member(b"etc/conf.d/one", content=b"1\n", mtime=TIME),
    directory(b"srv/data", 0o2775, uid=1000, gid=1000, mtime=TIME),
    Member(b"srv/data/old", content=b"old\n", mtime=TIME),
    Member(b"srv/list", content=b"a directory, later a list\n", mtime=TIME),
    sparse(b"var/sparse", {0: b"head", 4096: b"tail"}, 8192, mtime=TIME),
]
MIDDLE = [
    directory(b"etc", 0o711, mtime=TIME + 1),
    Member(b"etc/.wh.motd"),
    directory(b"etc/app", mtime=TIME + 1),
    Member(b"etc/app/one", content=b"1\n", xattrs=NOTES, mtime=TIME + 1),
    # Made anew, so that what was in it is gone.
    Member(b"etc/.wh.conf.d"),
    directory(b"etc/conf.d", 0o700, mtime=TIME + 1),
    Member(b"srv/data/" + OPAQUE),
    Member(b"srv/data/new", content=b"new\n", mode=0o640, uid=1000, mtime=TIME + 1),
    hard_link(b"srv/tool", b"bin/tool"),
    Member(b"opt/x\ny\xff/odd", content=b"", mode=0o4755, uid=100_000, mtime=TIME + 1),
]
UPPER = [
    Member(b"etc/app/two", content=b"2\n", mtime=TIME + 2),
    Member(b"etc/app/two", content=b"the later counts\n", mtime=TIME + 2),
    Member(b"bin/.wh.same"),
    Member(b"srv/.wh.never-was"),
    symlink(b"srv/list", b"data", mtime=TIME + 2),
]


def main() -> None:
    """Writes the layout."""
    layout.write(File(sys.argv[1]), [archive(members) for members in (BASE, MIDDLE, [], UPPER)])


if __name__ == "__main__":
    main()
