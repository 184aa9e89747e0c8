//! Stamps: what an inode shows without being read, and when that proves that it
//! has not changed.
//!
//! Whoever changes content or attributes moves an inode's ctime, and cannot set it
//! but by setting the clock. So an equal stamp means an unchanged inode, where its
//! ctime was already past when the inode was read: a change within the same tick
//! of the clock would not show. The modification time is never believed; anyone may
//! set that.
//!
//! What it does not show: stores to a page that was mapped for writing, and written
//! to, before the inode was read, and that the kernel had not yet written back: only the
//! first store after that moves the ctime; and what is written to the disk beneath the
//! file system. Full sweeps find both.

use std::sync::LazyLock;

use rustix::fs::Statx;
use rustix::time::{ClockId, clock_getres, clock_gettime};

/// The coarsest granularity of times on a file system that keeps whole seconds
/// alone: FAT's, 2 s.
const COARSE_SECONDS: i64 = 2;

/// Seconds and nanoseconds since 1970.
type Time = (i64, u32);

/// What identifies an unchanged inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(super) device: (u32, u32),
    pub(super) inode: u64,
    pub(super) ctime: Time,
    pub(super) size: u64,
}

impl Stamp {
    pub(super) fn of(stat: &Statx) -> Self {
        Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            ctime: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
            size: stat.stx_size,
        }
    }

    /// Whether any change since `begun` would show in the ctime: whether that is
    /// older by more than the clock's granularity. One in the future never is.
    pub(super) fn was_settled_at(&self, begun: Moment) -> bool {
        let (mut seconds, nanoseconds) = self.ctime;
        if nanoseconds == 0 {
            seconds = seconds.saturating_add(COARSE_SECONDS);
        }
        let mut later = i64::from(nanoseconds) + begun.granularity_ns;
        seconds = seconds.saturating_add(later / NANOSECONDS);
        later %= NANOSECONDS;
        (seconds, later) < begun.at
    }
}

const NANOSECONDS: i64 = 1_000_000_000;

/// When a look began, by the clock that the kernel stamps inodes with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    at: (i64, i64),
    granularity_ns: i64,
}

impl Moment {
    pub(super) fn now() -> Self {
        /// Asking for it is a system call; for the time it is none.
        static TICK: LazyLock<i64> = LazyLock::new(|| {
            let tick = clock_getres(ClockId::RealtimeCoarse);
            tick.tv_sec.saturating_mul(NANOSECONDS).saturating_add(tick.tv_nsec)
        });
        let now = clock_gettime(ClockId::RealtimeCoarse);
        Self { at: (now.tv_sec, now.tv_nsec), granularity_ns: *TICK }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_past_is_settled() {
        let begun = Moment { at: (100, 10), granularity_ns: 4_000_000 };
        for (ctime, settled) in [
            ((99, 990_000_000), true),
            // Within a tick.
            ((99, 997_000_000), false),
            ((100, 10), false),
            // Whole seconds only.
            ((98, 0), false),
            ((97, 0), true),
            // From the future, as when the clock was set back.
            ((200, 1), false),
            ((i64::MAX, 999_999_999), false),
            ((-5, 1), true),
        ] {
            let stamp = Stamp { device: (0, 0), inode: 1, ctime, size: 0 };
            assert_eq!(stamp.was_settled_at(begun), settled, "{ctime:?}");
        }
    }
}
