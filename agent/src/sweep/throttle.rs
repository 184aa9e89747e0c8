//! The throttle: no more bytes read in a second than the sweep was given.
//!
//! All readers draw on one budget. It is not saved up: a second in which little
//! was read does not make the next one louder.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How much is read at once at most: a part of a second's worth, so that a slow
/// sweep reads steadily and stops soon when it is told to.
const PARTS_OF_A_SECOND: u64 = 8;

/// A rate that readers keep together.
#[derive(Debug)]
pub(super) struct Throttle {
    bytes_per_second: NonZeroU64,
    /// When what was let through so far is paid for.
    paid_at: Mutex<Instant>,
}

impl Throttle {
    pub(super) fn new(bytes_per_second: NonZeroU64) -> Self {
        Self { bytes_per_second, paid_at: Mutex::new(Instant::now()) }
    }

    /// How much may be read at once, in bytes; never nothing.
    pub(super) fn piece(&self) -> usize {
        let piece = (self.bytes_per_second.get() / PARTS_OF_A_SECOND).max(1);
        usize::try_from(piece).unwrap_or(usize::MAX)
    }

    /// Waits until `bytes` more that were read are within the rate.
    pub(super) fn wait(&self, bytes: u64) {
        thread::sleep(self.debt_at(Instant::now(), bytes));
    }

    /// How long after `now` these bytes are paid for.
    fn debt_at(&self, now: Instant, bytes: u64) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.get() as f64);
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        *paid_at = (*paid_at).max(now) + cost;
        paid_at.duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_one_rate_that_is_not_saved_up() {
        let throttle = Throttle::new(NonZeroU64::new(1000).unwrap());
        let begun = *throttle.paid_at.lock().unwrap();
        let at = |ms| begun + Duration::from_millis(ms);
        for (now, bytes, waits_ms) in [
            (at(0), 500, 500),
            // Another reader at the same time pays for both.
            (at(0), 500, 1000),
            (at(600), 100, 500),
            // After a silence there is nothing left over.
            (at(9000), 250, 250),
        ] {
            assert_eq!(throttle.debt_at(now, bytes), Duration::from_millis(waits_ms), "{bytes} at {now:?}");
        }
    }

    #[test]
    fn a_piece_is_a_part_of_a_second_and_never_nothing() {
        for (rate, piece) in [(1, 1), (7, 1), (8000, 1000)] {
            assert_eq!(Throttle::new(NonZeroU64::new(rate).unwrap()).piece(), piece);
        }
    }
}
