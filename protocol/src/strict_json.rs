//! JSON that is signed: each value has one form, so that no two readers take it
//! for different ones.

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error};

/// Reads a member that may be missing, but is no `null` where it is there.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads a time in the one form that the format has; jiff reads many more.
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed: Option<Timestamp> = text.parse().ok();
    // RFC 3339 has no years before 0.
    parsed.filter(|time| time.to_string() == text && !text.starts_with('-')).ok_or_else(|| {
        D::Error::custom(format!("{text:?} is not a time such as 2027-01-31T00:00:00Z, in UTC"))
    })
}

/// Reads a time that may be missing.
pub(crate) fn present_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    time(deserializer).map(Some)
}
