//! How long to wait before trying again, as agents do: twice as long each time, up to
//! a cap, and then some more by chance.

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
    /// The next pause, where the other side may ask to be left alone for so long.
    pub(crate) fn after(&mut self, asked: Option<Duration>) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(CAP);
        let asked = asked.unwrap_or_default();
        (pause + pause.mul_f64(0.5 * random())).max(asked + asked.mul_f64(0.5 * random()))
    }
}

/// A number from 0 to 1.
pub(crate) fn random() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}
