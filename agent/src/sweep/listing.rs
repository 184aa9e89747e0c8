//! The names in one directory, in order of their bytes.
//!
//! They are kept in one piece of memory: a directory of a million names must not
//! cost a million allocations.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

/// One name, as the directory has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed<'n> {
    pub(super) name: &'n [u8],
    /// Some file systems do not say.
    pub(super) kind: FileType,
    /// Of a mount point, what lies beneath the mount.
    pub(super) inode: u64,
}

/// A directory's names, to be taken one after another.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// One name after the other.
    bytes: Vec<u8>,
    listed: Vec<Place>,
    taken: usize,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    inode: u64,
    begin: u32,
    length: u16,
    kind: FileType,
}

impl Place {
    fn name(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.begin as usize..][..usize::from(self.length)]
    }
}

impl Names {
    /// Lists an open directory; with the error that ended it early, if one did.
    pub(super) fn list(fd: &OwnedFd, buffer: &mut [MaybeUninit<u8>]) -> (Self, Option<Errno>) {
        let mut names = Self::default();
        let mut error = None;
        let mut listing = RawDir::new(fd, buffer);
        while let Some(entry) = listing.next() {
            match entry {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                // A damaged directory: the kernel lets a name begin with NUL, and an old
                // one lets it hold a separator.
                Ok(entry) if entry.file_name().is_empty() || entry.file_name().to_bytes().contains(&b'/') => {
                    error = Some(Errno::IO);
                }
                Ok(entry) => {
                    let added = names.add(entry.file_name(), entry.file_type(), entry.ino());
                    error = error.or(added.err());
                }
                Err(errno) => {
                    error = Some(errno);
                    break;
                }
            }
        }
        names.sort();
        (names, error)
    }

    /// Refuses what would make more than 4 GiB of names.
    fn add(&mut self, name: &CStr, kind: FileType, inode: u64) -> Result<(), Errno> {
        let begin = u32::try_from(self.bytes.len()).map_err(|_| Errno::FBIG)?;
        let length = u16::try_from(name.count_bytes()).map_err(|_| Errno::NAMETOOLONG)?;
        self.bytes.extend_from_slice(name.to_bytes());
        self.listed.push(Place { inode, begin, length, kind });
        Ok(())
    }

    fn sort(&mut self) {
        let Self { bytes, listed, .. } = self;
        listed.sort_unstable_by(|a, b| a.name(bytes).cmp(b.name(bytes)));
        // A listing that changes under us can name an entry twice.
        listed.dedup_by(|a, b| a.name(bytes) == b.name(bytes));
    }

    /// The next name.
    pub(super) fn next(&mut self) -> Option<Listed<'_>> {
        let place = *self.listed.get(self.taken)?;
        self.taken += 1;
        Some(Listed { name: place.name(&self.bytes), kind: place.kind, inode: place.inode })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_order_of_their_bytes_and_once() {
        let mut names = Names::default();
        for (name, inode) in [(c"b", 1), (c"a-", 2), (c"\xff", 3), (c"a", 4), (c"a-", 2), (c"B", 5)] {
            names.add(name, FileType::RegularFile, inode).unwrap();
        }
        names.sort();
        let mut found = Vec::new();
        while let Some(listed) = names.next() {
            found.push((listed.name.to_owned(), listed.inode));
        }
        let expected = [(c"B", 5), (c"a", 4), (c"a-", 2), (c"b", 1), (c"\xff", 3)];
        assert_eq!(found, expected.map(|(name, inode)| (name.to_bytes().to_owned(), inode)));
    }
}
