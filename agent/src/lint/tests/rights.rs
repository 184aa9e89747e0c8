//! Modes, capabilities, owners and devices.

use congruent_protocol::entry::{self, Entry, Node};

use super::super::Lint::{Device, Setuid, WorldWritable, WritablePath};
use super::super::testing::{character, check, directory, file, file_of, symlink};

#[test]
fn modes_and_capabilities() {
    for (path, entry, expected) in [
        ("/opt/a", file_of(0o4755, 0, 0), &[(Setuid, "setuid, owner 0")][..]),
        ("/opt/a", file_of(0o6755, 7, 8), &[(Setuid, "setuid, owner 7; setgid, group 8")]),
        ("/opt/a", file_of(0o666, 0, 0), &[(WorldWritable, "file, mode 0666")]),
        ("/opt/a", directory(0o777, 0, 0), &[(WorldWritable, "directory, mode 0777")]),
        (
            "/opt/a",
            Entry { node: Node::Fifo, mode: 0o666, ..file(b"") },
            &[(WorldWritable, "pipe, mode 0666")],
        ),
        ("/opt/a", file_of(0o0755, 0, 0), &[]),
        ("/opt/a", file_of(0o664, 0, 5), &[]),
        ("/opt/a", directory(0o1777, 0, 0), &[]),
        // New files in it get its group: no right of a program.
        ("/opt/a", directory(0o6755, 0, 5), &[]),
        ("/opt/a", symlink(), &[]),
        ("/opt/a", Entry { node: Node::Socket, mode: 0o777, ..file(b"") }, &[]),
    ] {
        check(path, &entry, b"", expected);
    }
    let xattrs = vec![(b"security.capability".to_vec(), b"\x01".to_vec())];
    check("/opt/a", &Entry { xattrs, ..file(b"x") }, b"x", &[(Setuid, "file capabilities")]);
    let xattrs = vec![(b"user.a".to_vec(), b"\x01".to_vec())];
    check("/opt/a", &Entry { xattrs, ..file(b"x") }, b"x", &[]);
}

#[test]
fn places_in_path() {
    for (path, entry, detail) in [
        ("/usr/bin/web", file_of(0o775, 0, 50), "program, group 50 may write to it"),
        ("/usr/local/sbin/web", file_of(0o755, 1000, 0), "program, owner 1000 may write to it"),
        ("/usr/local/bin", directory(0o2775, 0, 50), "directory, group 50 may write to it"),
        ("/usr/bin", directory(0o755, 1000, 0), "directory, owner 1000 may write to it"),
        ("/usr", directory(0o775, 0, 0), "directory, group 0 may write to it"),
        ("/", directory(0o755, 1000, 0), "directory, owner 1000 may write to it"),
        ("/bin", directory(0o1777, 0, 0), "directory, anyone may write to it"),
    ] {
        check(path, &entry, b"", &[(WritablePath, detail)]);
    }
    let anyone = [(WorldWritable, "file, mode 0777"), (WritablePath, "program, anyone may write to it")];
    check("/bin/web", &file_of(0o777, 0, 0), b"", &anyone);
    for (path, entry) in [
        ("/usr/bin/web", file_of(0o755, 0, 50)),
        ("/usr/bin/web", symlink()),
        ("/usr/bin", directory(0o755, 0, 0)),
        ("/usr", directory(0o1775, 0, 0)),
        ("/usr/lib/web", file_of(0o775, 1000, 50)),
        ("/usr/bin/lib/web", file_of(0o775, 1000, 50)),
        ("/home/a/bin/web", file_of(0o755, 1000, 1000)),
    ] {
        check(path, &entry, b"", &[]);
    }
}

#[test]
fn devices() {
    let block = Entry {
        node: Node::BlockDevice(entry::Device { major: 1, minor: 3 }),
        mode: 0o660,
        ..Entry::empty()
    };
    check("/dev/mem", &character(1, 1), b"", &[(Device, "character device 1:1, mode 0600")]);
    check("/dev/null", &block, b"", &[(Device, "block device 1:3, mode 0660")]);
    check("/dev/null", &character(1, 1), b"", &[(Device, "character device 1:1, mode 0600")]);
    check("/srv/null", &character(1, 3), b"", &[(Device, "character device 1:3, mode 0600")]);
    check("/dev/null", &character(1, 3), b"", &[]);
    check("/dev/random", &character(1, 8), b"", &[]);
}
