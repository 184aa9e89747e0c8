//! The period of a report. Pure.

use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::ReportError;

/// From `from` until before `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

/// One edge of a period as people write it: a time, or a date in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    Time(Timestamp),
    Date(Date),
}

impl Period {
    /// The period between two edges. Dates are whole days: as the first edge
    /// from the day's beginning, as the second until its end.
    pub(crate) fn between(from: Edge, to: Edge) -> Result<Self, ReportError> {
        let from = match from {
            Edge::Time(time) => time,
            Edge::Date(date) => midnight(date),
        };
        let to = match to {
            Edge::Time(time) => time,
            Edge::Date(date) => date.checked_add(1.day()).map_or(Timestamp::MAX, midnight),
        };
        if from < to { Ok(Self { from, to }) } else { Err(ReportError::Period { from, to }) }
    }
}

fn midnight(date: Date) -> Timestamp {
    // UTC has every midnight; only the last day that there is has none after it.
    TimeZone::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight())).unwrap_or(Timestamp::MAX)
}

impl FromStr for Edge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = text.parse() {
            return Ok(Self::Time(time));
        }
        // A local time would be read as a date, and its hours dropped.
        match text.parse() {
            Ok(date) if text.len() == "2026-01-31".len() => Ok(Self::Date(date)),
            _ => Err("write a date such as 2026-01-31, or a time such as 2026-01-31T12:00:00Z".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, to: &str) -> Result<(String, String), String> {
        let period = Period::between(from.parse()?, to.parse()?).map_err(|error| error.to_string())?;
        Ok((period.from.to_string(), period.to.to_string()))
    }

    #[test]
    fn dates_are_whole_days() {
        let both = |from: &str, to: &str| Ok((from.to_owned(), to.to_owned()));
        let january = both("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        assert_eq!(check("2026-01-01", "2026-01-31"), january);
        assert_eq!(check("2026-01-31", "2026-01-31"), both("2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z"));
        let hours = both("2026-01-01T11:00:00Z", "2026-01-01T12:30:00Z");
        assert_eq!(check("2026-01-01T12:00:00+01:00", "2026-01-01T12:30:00Z"), hours);
        for (from, to, says) in [
            ("2026-01-02", "2026-01-01", "does not begin before then"),
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "does not begin before then"),
            ("yesterday", "2026-01-01", "write a date"),
            ("2026-01-01T12:00:00", "2026-01-02", "write a date"),
            ("2026-02-30", "2026-03-01", "write a date"),
        ] {
            let error = check(from, to).unwrap_err();
            assert!(error.contains(says), "{from} {to}: {error}");
        }
    }
}
