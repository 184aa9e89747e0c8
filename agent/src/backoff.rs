//! How long to wait before trying again.

use std::time::Duration;

/// After the first failure; doubles up to the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// Waits that grow, and differ from node to node also where they are longest: a
/// fleet whose collector comes back must not come all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// It went well.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The wait after a failure. `asked` is what the other side asks for, `random`
    /// is from 0 to 1.
    pub(crate) fn wait(&mut self, asked: Option<Duration>, random: f64) -> Duration {
        let wait = asked.unwrap_or_default().max(self.next);
        self.next = (self.next * 2).min(LONGEST);
        // Beyond the cap, so that the cap does not bring them together.
        wait + wait.mul_f64(random / 2.0)
    }
}

/// A number from 0 to 1.
pub(crate) fn random() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        // Without randomness nodes meet; the collector tells them to come later.
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_and_spread_beyond_it() {
        let mut backoff = Backoff::new();
        let waits: Vec<u64> = (0..10).map(|_| backoff.wait(None, 0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(backoff.wait(None, 1.0), Duration::from_secs(450));
        assert_eq!(backoff.wait(Some(Duration::from_mins(10)), 0.0), Duration::from_mins(10));
        backoff.reset();
        assert_eq!(backoff.wait(Some(Duration::from_secs(7)), 0.0), Duration::from_secs(7));
    }
}
