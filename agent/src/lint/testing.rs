//! What lint's tests are written with: entries, and one `check` for all tables.

use congruent_protocol::entry::{Device, Entry, Node};
use congruent_protocol::path::TreePath;

use super::{Lint, of};

/// A file of root's with mode 0644, whatever its content.
pub(super) fn file(content: &[u8]) -> Entry {
    Entry { node: Node::File { size: content.len() as u64, content: None }, mode: 0o644, ..Entry::empty() }
}

pub(super) fn file_of(mode: u16, uid: u32, gid: u32) -> Entry {
    Entry { mode, uid, gid, ..file(b"x") }
}

pub(super) fn directory(mode: u16, uid: u32, gid: u32) -> Entry {
    Entry { node: Node::Directory, mode, uid, gid, ..Entry::empty() }
}

pub(super) fn character(major: u32, minor: u32) -> Entry {
    Entry { node: Node::CharDevice(Device { major, minor }), mode: 0o600, ..Entry::empty() }
}

pub(super) fn symlink() -> Entry {
    Entry { node: Node::Symlink { target: b"to".to_vec() }, mode: 0o777, ..Entry::empty() }
}

/// Holds what all lints say of an entry to exactly these.
pub(super) fn check(path: &str, entry: &Entry, content: &[u8], expected: &[(Lint, &str)]) {
    let hits = of(&TreePath::new(path).unwrap(), entry, content);
    let said: Vec<_> = hits.iter().map(|hit| (hit.lint, &*hit.detail)).collect();
    assert_eq!(said, expected, "{path} {:?} {:?}", entry.node, String::from_utf8_lossy(content));
}

/// As [`check`], of a regular file with this content.
pub(super) fn check_content(path: &str, content: &[u8], expected: &[(Lint, &str)]) {
    check(path, &file(content), content, expected);
}
