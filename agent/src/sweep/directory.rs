//! Open directories, and how many of them there may be.
//!
//! Each is open while the walk or a reader needs it. The walk waits where there
//! are as many as this process may hold, so that neither depth nor what is in
//! flight ever runs out of descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::fs::Statx;

/// What a process needs besides directories, and what each reader does.
const OTHER_DESCRIPTORS: usize = 24;
const DESCRIPTORS_PER_READER: usize = 4;
/// Open directories: with fewer there is no walking, and more serve nothing.
const FEWEST: usize = 8;
const MOST: usize = 2048;

/// An open directory.
pub(super) struct Directory {
    fd: OwnedFd,
    pub(super) identity: Identity,
    room: Arc<Room>,
}

/// Which directory it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: (u32, u32),
    inode: u64,
    pub(super) mount_id: u64,
}

impl Identity {
    pub(super) fn of(stat: &Statx) -> Self {
        Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            mount_id: stat.stx_mnt_id,
        }
    }
}

impl Directory {
    pub(super) fn room(&self) -> &Arc<Room> {
        &self.room
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        *self.room.count() -= 1;
        self.room.freed.notify_one();
    }
}

/// How many directories are open, of how many that may be.
pub(super) struct Room {
    open: Mutex<usize>,
    freed: Condvar,
    most: usize,
}

impl Room {
    /// Room for as many as this process may hold beside what its readers need.
    pub(super) fn new(threads: usize) -> Arc<Self> {
        let taken = OTHER_DESCRIPTORS + threads * DESCRIPTORS_PER_READER;
        let most = open_file_limit().saturating_sub(taken).clamp(FEWEST, MOST);
        Arc::new(Self { open: Mutex::new(0), freed: Condvar::new(), most })
    }

    /// Takes a directory that was opened into account.
    pub(super) fn take(self: &Arc<Self>, fd: OwnedFd, stat: &Statx) -> Directory {
        *self.count() += 1;
        Directory { fd, identity: Identity::of(stat), room: self.clone() }
    }

    /// How many the walk may keep open for itself: the rest is for the readers.
    pub(super) fn share_of_the_walk(&self) -> usize {
        self.most / 2
    }

    pub(super) fn is_full(&self) -> bool {
        *self.count() >= self.most
    }

    /// Waits until there is room. There will be, when readers have been given
    /// everything that holds a directory open.
    pub(super) fn wait(&self) {
        let mut open = self.count();
        while *open >= self.most {
            open = self.freed.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn count(&self) -> std::sync::MutexGuard<'_, usize> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many files this process may hold open, once it has asked for as many as
/// it may ask for. Where the kernel refuses, what there is has to do.
pub(crate) fn open_file_limit() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}
