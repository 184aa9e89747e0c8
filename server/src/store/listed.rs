//! A subject in a list, with what else of it is listed.

use congruent_protocol::decision::Decision;
use congruent_protocol::digest::Digest;
use congruent_protocol::verification::ManifestId;
use jiff::Timestamp;

use super::columns::{Json, Micros, Word};
use super::sql::{Row, SqlResult};
use super::subjects::{SubjectRow, columns};

/// A node or a container in a list.
#[derive(Debug, Clone)]
pub(crate) struct ListedSubject {
    pub(crate) subject: SubjectRow,
    /// Of its newest report.
    pub(crate) manifest: Option<ManifestId>,
    pub(crate) observed_root: Option<Digest>,
    pub(crate) findings_total: u64,
    /// When the last full look arrived that found it congruent.
    pub(crate) verified_at: Option<Timestamp>,
    /// The decision that stands; none where there is none, or policy failed.
    pub(crate) decision: Option<Decision>,
}

/// Reads them; conditions and order follow.
pub(super) fn select() -> String {
    format!(
        "SELECT {}, reports.manifest, reports.observed_root, reports.findings_total, \
         verified.received_at AS verified_at, decisions.decision FROM subjects \
         LEFT JOIN reports ON reports.id = subjects.report_id \
         LEFT JOIN reports AS verified ON verified.id = subjects.verified_report_id \
         LEFT JOIN decisions ON decisions.id = subjects.decision_id",
        columns()
    )
}

impl ListedSubject {
    pub(super) fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            subject: SubjectRow::from_row(row)?,
            manifest: row.get::<_, Option<Json<_>>>("manifest")?.map(|json| json.0),
            observed_root: row.get::<_, Option<Word<_>>>("observed_root")?.map(|word| word.0),
            findings_total: row.get::<_, Option<u64>>("findings_total")?.unwrap_or_default(),
            verified_at: row.get::<_, Option<Micros>>("verified_at")?.map(|time| time.0),
            decision: row.get::<_, Option<Json<_>>>("decision")?.map(|json| json.0),
        })
    }
}
