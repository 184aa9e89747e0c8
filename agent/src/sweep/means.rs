//! With what means a sweep is made: how many readers, how fast, and which way.

use std::num::NonZeroU64;

use super::throttle::Throttle;

/// More readers than this only wait for the disk, and hold directories open.
pub(crate) const MAX_THREADS: usize = 16;

/// How a sweep goes about it.
#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) threads: usize,
    /// Whether two sweeps may be made at once, with so many readers each: nobody has said
    /// how many there may be.
    pub(crate) may_be_two: bool,
    pub(super) throttle: Option<Throttle>,
    pub(crate) direct: bool,
}

impl Means {
    /// As many readers as are given, or as this process has processors, also by
    /// its cgroup's quota; no more than so many bytes in a second, where that is
    /// given; past the page cache, where that is wanted.
    pub(crate) fn new(threads: Option<usize>, bytes_per_second: Option<NonZeroU64>, direct: bool) -> Self {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let may_be_two = threads.is_none() && processors() > 1;
        let threads = threads.unwrap_or_else(processors).clamp(1, MAX_THREADS);
        Self { threads, may_be_two, throttle: bytes_per_second.map(Throttle::new), direct }
    }

    /// Whether the sweep is slower than it could be.
    pub(super) fn is_held_back(&self) -> bool {
        self.throttle.is_some()
    }
}

impl Default for Means {
    fn default() -> Self {
        Self::new(None, None, false)
    }
}
