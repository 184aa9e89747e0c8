//! `[retention]`: how long records are kept, by kind.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::Deserialize;

use super::ConfigError;
use crate::store::RecordKind;

/// The shortest time. Days are of 24 hours; months and years have no length of their own.
const SHORTEST: SignedDuration = SignedDuration::from_hours(24);

/// How long records are kept, by kind; those of other kinds for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Retention(BTreeMap<RecordKind, SignedDuration>);

/// The table as written.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct RetentionTable(BTreeMap<RecordKind, String>);

impl Retention {
    /// How long records of a kind are kept, where not for ever.
    pub(crate) fn of(&self, kind: RecordKind) -> Option<SignedDuration> {
        self.0.get(&kind).copied()
    }

    /// So long for one kind.
    #[cfg(test)]
    pub(crate) fn only(kind: RecordKind, period: SignedDuration) -> Self {
        Self([(kind, period)].into())
    }

    /// So long for every kind.
    #[cfg(test)]
    pub(crate) fn all(period: SignedDuration) -> Self {
        Self(crate::store::SHELVES.iter().map(|shelf| (shelf.kind, period)).collect())
    }
}

impl RetentionTable {
    pub(super) fn check(self) -> Result<Retention, ConfigError> {
        let period = |(kind, value): (RecordKind, String)| {
            let span = value.parse::<Span>().ok();
            let length = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
            match length.filter(|length| *length >= SHORTEST) {
                Some(length) => Ok((kind, length)),
                None => Err(ConfigError::Retention { kind: kind.name(), value }),
            }
        };
        self.0.into_iter().map(period).collect::<Result<_, _>>().map(Retention)
    }
}

#[cfg(test)]
mod tests {
    use congruent_protocol::strict_toml;

    use super::*;

    fn read(toml: &str) -> Result<Retention, String> {
        let table: RetentionTable = strict_toml::from_str(toml).map_err(|error| error.to_string())?;
        table.check().map_err(|error| error.to_string())
    }

    #[test]
    fn periods_of_days_and_weeks() {
        let retention = read("reports = '400d'\naudit = '1w'\nrefusals = '36h'").unwrap();
        let hours = |kind| retention.of(kind).map(|period| period.as_hours());
        assert_eq!(hours(RecordKind::Reports), Some(9600));
        assert_eq!(hours(RecordKind::Audit), Some(168));
        assert_eq!(hours(RecordKind::Refusals), Some(36));
        assert_eq!(hours(RecordKind::Decisions), None);
        assert_eq!(read("").unwrap(), Retention::default());
    }

    #[test]
    fn what_is_no_period() {
        for (toml, why) in [
            ("reports = '13mo'", "days"),
            ("reports = '23h'", "at least"),
            ("reports = '-30d'", "at least"),
            ("reports = '0s'", "at least"),
            ("reports = 'forever'", "`reports` of [retention] is \"forever\""),
            ("reports = ''", "leave it out"),
            ("reports = 400", "invalid type"),
            ("report = '400d'", "unknown variant"),
        ] {
            let error = read(toml).unwrap_err();
            assert!(error.contains(why), "{toml}: {error}");
        }
    }
}
