//! How long to wait before trying again: twice as long each time, up to a cap, and
//! then some more by chance, so that a fleet does not come back as one.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_mins(5);

/// The pauses between tries.
#[derive(Debug)]
pub(crate) struct Retry(Duration);

impl Default for Retry {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Retry {
    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(CAP);
        // After the cap: within it, all would wait the same in the end.
        pause + pause.mul_f64(0.5 * random())
    }

    /// The longest pause, for what cannot be mended from here.
    pub(crate) fn longest(&mut self) -> Duration {
        self.0 = CAP;
        self.next()
    }
}

/// A number from 0 to 1, for jitter.
pub(crate) fn random() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        // Without randomness nodes meet, which the collector can bear.
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_spread_beyond_it() {
        let mut retry = Retry::default();
        for base in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let (pause, base) = (retry.next(), Duration::from_secs(base));
            assert!((base..=base.mul_f64(1.5)).contains(&pause), "{pause:?} for {base:?}");
        }
        let mut retry = Retry::default();
        assert!(retry.longest() >= CAP && retry.next() >= CAP);
    }
}
