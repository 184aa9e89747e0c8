//! What the auditor's report reads: what was so in a period.

use super::sql::params;
use congruent_protocol::digest::Digest;
use congruent_protocol::verification::State;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::columns::{Json, Micros, Word};
use super::subjects::StateRow;
use super::trouble::RefusalRow;
use super::{StoreError, Tx, View};
use crate::subject::SubjectId;

/// What a sweep found, by digests: of its set of findings, and of what a container has
/// beside its merged tree.
pub(crate) type Found = (Digest, Option<Digest>);

/// A look at a subject, and when the collector received its report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LookTimes {
    pub(crate) report_id: i64,
    pub(crate) received_at: Timestamp,
    pub(crate) state: State,
    pub(crate) findings_digest: Digest,
    /// Of a container: the digest of what was found beside its merged tree.
    pub(crate) beside: Option<Digest>,
    /// Whether it was held to an accepted manifest, and its result reported: then it is a
    /// sweep. Layers of containers are looked at also where no manifest is their image's, and
    /// may be damaged then too.
    pub(crate) held: bool,
    /// Whether every file was read, and nothing was left unverified.
    pub(crate) complete: bool,
}

/// Whether a report is of a sweep that was held to an accepted manifest. What has another or
/// an expired one is `unknown`; what could not be reported names none.
const HELD: &str = "(manifest IS NOT NULL AND state IN ('congruent', 'divergent', 'incomplete'))";

impl LookTimes {
    /// What was found, by its digests.
    pub(crate) fn found(&self) -> Found {
        (self.findings_digest, self.beside)
    }
}

impl View<'_> {
    /// What the collector was configured with from `from` until before
    /// `until`: what stood at the beginning, and every change.
    pub(crate) fn scopes_between<T: DeserializeOwned>(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(Timestamp, T)>, StoreError> {
        let sql = "SELECT at, scope FROM scopes WHERE at < ?2 AND at >= \
             coalesce((SELECT max(at) FROM scopes WHERE at <= ?1), ?1) ORDER BY id";
        self.rows("read the collector's scopes", sql, params![Micros(from), Micros(until)], |row| {
            Ok((row.get::<_, Micros>(0)?.0, row.get::<_, Json<T>>(1)?.0))
        })
    }

    /// Every change of a subject's state until before `until`, in order.
    pub(crate) fn states_until(&self, until: Timestamp) -> Result<Vec<StateRow>, StoreError> {
        let sql = "SELECT * FROM subject_states WHERE at < ?1 ORDER BY id";
        self.rows("read the subjects' states", sql, params![Micros(until)], StateRow::from_row)
    }

    /// The last sweep of a subject before `from`, and all looks at it from then until before
    /// `until`, in the order of their arrival.
    pub(crate) fn looks_until(
        &self,
        subject: &SubjectId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<LookTimes>, StoreError> {
        let sql = format!(
            "SELECT id, received_at, state, findings_digest, coalesce(sweep = 'full', FALSE) AND NOT conditional, beside, {HELD} \
             FROM reports WHERE node = ?1 AND container = ?4 AND ({HELD} OR sweep IS NOT NULL) \
             AND received_at < ?3 AND received_at >= \
             coalesce((SELECT max(received_at) FROM reports WHERE node = ?1 AND container = ?4 AND received_at < ?2 \
             AND {HELD}), ?2) ORDER BY received_at, id"
        );
        let values = params![subject.node, Micros(from), Micros(until), subject.container_column()];
        self.rows("read the looks at a subject", &sql, values, |row| {
            Ok(LookTimes {
                report_id: row.get(0)?,
                received_at: row.get::<_, Micros>(1)?.0,
                state: row.get::<_, Word<_>>(2)?.0,
                findings_digest: row.get::<_, Word<_>>(3)?.0,
                complete: row.get(4)?,
                held: row.get(6)?,
                beside: row.get::<_, Option<Word<_>>>(5)?.map(|word| word.0),
            })
        })
    }

    /// The refusals from `from` until before `until`, in order.
    pub(crate) fn refusals_between(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<RefusalRow>, StoreError> {
        let sql = "SELECT * FROM refusals WHERE last_at >= ?1 AND first_at < ?2 ORDER BY id";
        let values = params![Micros(from), Micros(until)];
        self.rows("read a period's refusals", sql, values, RefusalRow::from_row)
    }
}

impl Tx<'_> {
    /// Records what the collector is configured with, where that changed.
    pub(crate) fn record_scope<T: Serialize>(&self, at: Timestamp, scope: &T) -> Result<(), StoreError> {
        let action = "record the collector's scope";
        let last: Option<String> =
            self.row(action, "SELECT scope FROM scopes ORDER BY id DESC LIMIT 1", params![], |row| {
                row.get(0)
            })?;
        let scope =
            serde_json::to_string(scope).map_err(|source| StoreError::Stored { what: "a scope", source })?;
        if last.as_ref() == Some(&scope) {
            return Ok(());
        }
        let sql = "INSERT INTO scopes (at, scope) VALUES (?1, ?2)";
        self.execute(action, sql, params![Micros(at), scope]).map(drop)
    }

    /// Writes, to see that writing works.
    pub(crate) fn probe(&self, at: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO probe (id, at) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET at = excluded.at";
        self.execute("write a probe", sql, params![Micros(at)]).map(drop)
    }
}
