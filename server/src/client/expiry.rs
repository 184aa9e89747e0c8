//! Until when something is to hold: a time, or how long from now.

use anyhow::{Context, ensure};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// The time that `text` says, by way of `flag`; it must be later than `now`.
pub(super) fn read(flag: &str, text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let at = match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => {
            let span: Result<Span, _> = text.parse();
            let later = span.and_then(|span| now.to_zoned(TimeZone::UTC).checked_add(span));
            later.map(|at| at.timestamp()).with_context(|| {
                format!(
                    "{flag} {text:?} is neither a period such as 90d nor a time such as 2027-01-31T00:00:00Z"
                )
            })?
        }
    };
    ensure!(at > now, "{flag} {text:?} is not in the future");
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::time;

    #[test]
    fn periods_and_times() {
        let now = time("2026-03-01T00:00:00Z");
        let check = |text| read("--ttl", text, now).map_err(|error| error.to_string());
        for (text, at) in [
            ("90d", "2026-05-30T00:00:00Z"),
            ("15m", "2026-03-01T00:15:00Z"),
            ("2027-01-31T00:00:00Z", "2027-01-31T00:00:00Z"),
        ] {
            assert_eq!(check(text), Ok(time(at)), "{text}");
        }
        for (text, says) in [
            ("-1d", "not in the future"),
            ("0s", "not in the future"),
            ("2020-01-01T00:00:00Z", "not in"),
            ("soon", "neither a period such as 90d"),
        ] {
            assert!(check(text).unwrap_err().contains(says), "{text}");
        }
    }
}
