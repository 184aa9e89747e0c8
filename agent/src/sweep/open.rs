//! Opening beneath a directory, following no link at any component.
//!
//! One name is opened relative to a descriptor that we hold, and may be no link: that
//! needs no more. For several, openat2(2) does it in one call, and refuses whatever would
//! lead out; it makes sure of that under a lock of all mounts, which would hold up
//! readers that open each file so. Where the kernel lacks it, or a filter of system
//! calls refuses it, names are opened one by one.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::LazyLock;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use super::stat::{file_type, stat};

/// What stays beneath.
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// The longest path that a system call takes, with its end.
const PATH_MAX: usize = 4096;

/// Whether openat2(2) is there for us.
static HAS_OPENAT2: LazyLock<bool> = LazyLock::new(|| {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, c".", flags, Mode::empty(), BENEATH).is_ok()
});

/// Opens the entry of a directory that has this one name. Only for reading, and
/// without leaving a trace where we may.
pub(super) fn open(
    directory: BorrowedFd<'_>,
    name: impl Arg + Copy,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    without_trace(flags, |flags| rustix::fs::openat(directory, name, flags, Mode::empty()))
}

/// Only the owner may ask for no access time.
fn without_trace(flags: OFlags, open: impl Fn(OFlags) -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    let flags =
        flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        opened => opened,
    }
}

/// Opens a file of a directory for reading.
///
/// A pipe that took its place does not stop us, and a lease that someone holds on
/// it does not keep it from being read.
pub(crate) fn open_file(directory: BorrowedFd<'_>, name: impl Arg + Copy) -> Result<OwnedFd, Errno> {
    match open(directory, name, OFlags::empty()) {
        Err(Errno::AGAIN) => open_leased(directory, name),
        opened => opened,
    }
}

/// Opens a file on which someone holds a lease. That waits until the kernel has
/// broken the lease, so it must not be done by name: what is opened is the file
/// that was looked at.
fn open_leased(directory: BorrowedFd<'_>, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    if file_type(&stat(&found)?) != FileType::RegularFile {
        return Err(Errno::LOOP);
    }
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens the directory at `path`, relative to an open one: names parted by `/`,
/// as many as there are.
pub(crate) fn open_descendant(directory: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut opened: Option<OwnedFd> = None;
    let longest = if *HAS_OPENAT2 { PATH_MAX - 1 } else { 0 };
    for piece in pieces(path, longest) {
        let from = opened.as_ref().map_or(directory, std::os::fd::AsFd::as_fd);
        let descend = |flags| rustix::fs::openat2(from, piece, flags, Mode::empty(), BENEATH);
        opened = Some(if *HAS_OPENAT2 {
            without_trace(OFlags::DIRECTORY, descend)?
        } else {
            open(from, piece, OFlags::DIRECTORY)?
        });
    }
    opened.ok_or(Errno::NOENT)
}

/// The names of a path in pieces of at most `longest` bytes, or of one name where
/// that is longer.
fn pieces(path: &[u8], longest: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = path;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let ends = rest.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
        let mut ends = ends.chain([rest.len()]).peekable();
        let mut end = ends.next()?;
        while let Some(next) = ends.next_if(|&next| next <= longest) {
            end = next;
        }
        let piece = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_are_taken_in_pieces() {
        for (path, longest, expected) in [
            ("", 9, &[][..]),
            ("a", 9, &["a"]),
            ("a/b/c", 9, &["a/b/c"]),
            ("a/b/c", 3, &["a/b", "c"]),
            ("a/b/c", 4, &["a/b", "c"]),
            ("a/b/c", 0, &["a", "b", "c"]),
            ("long/b/c", 3, &["long", "b/c"]),
        ] {
            let found: Vec<_> = pieces(path.as_bytes(), longest).collect();
            assert_eq!(found, expected.iter().map(|piece| piece.as_bytes()).collect::<Vec<_>>(), "{path}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_directory() {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir_all(outside.path().join("root/a/b")).unwrap();
        fs::write(outside.path().join("secret"), "").unwrap();
        fs::write(outside.path().join("root/file"), "").unwrap();
        for (target, link) in [("../secret", "root/up"), ("a", "root/beside"), ("/", "root/a/top")] {
            symlink(target, outside.path().join(link)).unwrap();
        }
        let root = fs::File::open(outside.path().join("root")).unwrap();
        for (name, opens) in [(c"file", true), (c"up", false), (c"beside", false), (c"a", true)] {
            assert_eq!(open_file(root.as_fd(), name).is_ok(), opens, "{name:?}");
        }
        for (path, opens) in [("a/b", true), ("beside/b", false), ("a/top/etc", false), ("file", false)] {
            assert_eq!(open_descendant(root.as_fd(), path.as_bytes()).is_ok(), opens, "{path}");
        }
    }
}
