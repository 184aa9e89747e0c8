//! Lists of containers, in the order of their nodes and ids, a page at a time.

use congruent_protocol::decision::{Decision, Verdict};
use congruent_protocol::digest::Digest;
use congruent_protocol::verification::{ManifestId, State};
use jiff::Timestamp;

use super::columns::{Json, Micros, Word};
use super::sql::{Row, SqlResult, params};
use super::subjects::SubjectRow;
use super::{StoreError, View};
use crate::subject::SubjectId;

/// Which containers are meant: those to which all of it applies.
#[derive(Debug, Clone, Default)]
pub(crate) struct ContainerFilter {
    pub(crate) node: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) state: Option<State>,
    /// What the decision that stands asks for.
    pub(crate) verdict: Option<Verdict>,
}

/// A container in a list, with what else of it is listed.
#[derive(Debug, Clone)]
pub(crate) struct ListedContainer {
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

const SELECT: &str = "SELECT subjects.*, reports.manifest, reports.observed_root, reports.findings_total, \
     verified.received_at AS verified_at, decisions.decision FROM subjects \
     LEFT JOIN reports ON reports.id = subjects.report_id \
     LEFT JOIN reports AS verified ON verified.id = subjects.verified_report_id \
     LEFT JOIN decisions ON decisions.id = subjects.decision_id";

impl ListedContainer {
    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
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

impl View<'_> {
    /// The first `limit` containers that are meant and follow `after`, by node and id.
    pub(crate) fn list_containers(
        &self,
        filter: &ContainerFilter,
        after: Option<&SubjectId>,
        limit: usize,
    ) -> Result<Vec<ListedContainer>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE subjects.container <> '' \
             AND (CAST(?1 AS TEXT) IS NULL OR subjects.node = ?1) \
             AND (CAST(?2 AS TEXT) IS NULL OR subjects.group_name = ?2) \
             AND (CAST(?3 AS TEXT) IS NULL OR subjects.state = ?3) \
             AND (CAST(?4 AS TEXT) IS NULL OR subjects.verdict = ?4) \
             AND (subjects.node, subjects.container) > (CAST(?5 AS TEXT), CAST(?6 AS TEXT)) \
             ORDER BY subjects.node, subjects.container LIMIT ?7"
        );
        let (node, container) = after.map_or(("", ""), |after| (&after.node, after.container_column()));
        let (state, verdict) = (filter.state.map(Word), filter.verdict.map(Word));
        let values = params![filter.node, filter.group, state, verdict, node, container, limit];
        self.rows("list the containers", &sql, values, ListedContainer::from_row)
    }

    /// A container as it would be listed; none where none of this id is known.
    pub(crate) fn listed_container(
        &self,
        subject: &SubjectId,
    ) -> Result<Option<ListedContainer>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE subjects.node = ?1 AND subjects.container = ?2 AND subjects.container <> ''"
        );
        let values = params![subject.node, subject.container_column()];
        self.row("read a container", &sql, values, ListedContainer::from_row)
    }

    /// How many containers of a node there are in each state.
    pub(crate) fn count_containers(&self, node: &str) -> Result<Vec<(State, u64)>, StoreError> {
        let sql = "SELECT state, count(*) FROM subjects WHERE node = ?1 AND container <> '' GROUP BY state";
        self.rows("count a node's containers", sql, params![node], |row| {
            Ok((row.get::<_, Word<_>>(0)?.0, row.get(1)?))
        })
    }
}
