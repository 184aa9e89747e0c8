//! Time, passed in: only the outermost layer reads the machine's clock.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

/// What tells the time. Tests pass their own.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The machine's clock, to the microsecond: what the store can hold.
pub(crate) fn system() -> Clock {
    Arc::new(|| to_microseconds(Timestamp::now()))
}

/// Cuts a time to whole microseconds, so that what was stored compares equal.
pub(crate) fn to_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// `time` and `duration` later, or the end of time.
pub(crate) fn after(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}
