//! What the kernel says of an inode, by a descriptor or by its name in a directory.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use super::directory::Directory;

/// What is asked of statx(2) everywhere.
const STAT_MASK: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID);

/// What kind of thing a stat is of.
pub(super) fn file_type(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

pub(super) fn stat(fd: &OwnedFd) -> Result<Statx, Errno> {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, STAT_MASK)
}

pub(super) fn stat_at(directory: &Directory, name: impl Arg) -> Result<Statx, Errno> {
    rustix::fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, STAT_MASK)
}
