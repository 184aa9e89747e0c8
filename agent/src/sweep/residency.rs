//! How much of a file the page cache holds.

#![expect(unsafe_code, reason = "no safe wrapper of cachestat(2) is kept up")]

use std::os::fd::{AsFd, AsRawFd};

/// `__NR_cachestat`, the same on every architecture; since Linux 6.5.
const CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range` of linux/mman.h; a length of 0 reaches to the end.
#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
}

/// `struct cachestat` of linux/mman.h, all in pages.
#[repr(C)]
#[derive(Default)]
struct CacheStat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether the page cache is known to hold nothing of an open file.
pub(super) fn is_uncached(file: &impl AsFd) -> bool {
    let range = Range { offset: 0, length: 0 };
    let mut found = CacheStat::default();
    // SAFETY: both structures are as the kernel has them, and live until the call
    // returns; the kernel writes to the second alone, and no further than it reaches.
    let done = unsafe {
        libc::syscall(
            CACHESTAT,
            file.as_fd().as_raw_fd(),
            std::ptr::from_ref(&range),
            std::ptr::from_mut(&mut found),
            0,
        )
    };
    done == 0 && found.cached == 0
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn what_was_just_written_is_cached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, [7; 100_000]).unwrap();
        assert!(!is_uncached(&File::open(&path).unwrap()));
    }
}
