//! Decisions, with all that policy was asked.

use super::sql::{Row, SqlResult, params};
use congruent_protocol::decision::Decision;
use congruent_protocol::digest::Digest;
use congruent_protocol::verification::State;
use jiff::Timestamp;

use super::columns::{Json, Micros, Packed, Word};
use super::{StoreError, Tx, View};
use crate::subject::SubjectId;

/// A decision to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct NewDecision {
    pub(crate) subject: SubjectId,
    pub(crate) group: String,
    pub(crate) at: Timestamp,
    pub(crate) report_id: Option<i64>,
    pub(crate) state: State,
    /// What policy said, or how it failed.
    pub(crate) outcome: Result<Decision, String>,
    pub(crate) policy_digest: Digest,
    pub(crate) engine: String,
    pub(crate) input_digest: Digest,
}

/// A recorded decision, without its input.
#[derive(Debug, Clone)]
pub(crate) struct DecisionRow {
    pub(crate) id: i64,
    pub(crate) decision: NewDecision,
    /// The number of the report that it is about.
    pub(crate) sequence: Option<u64>,
}

const SELECT: &str = "SELECT decisions.*, reports.sequence FROM decisions LEFT JOIN reports \
     ON reports.id = decisions.report_id";

impl DecisionRow {
    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        let decided = row.get::<_, Option<Json<Decision>>>("decision")?;
        let outcome = match decided {
            Some(decision) => Ok(decision.0),
            None => Err(row.get("error")?),
        };
        let decision = NewDecision {
            subject: SubjectId::from_row(row)?,
            group: row.get("group_name")?,
            at: row.get::<_, Micros>("at")?.0,
            report_id: row.get("report_id")?,
            state: row.get::<_, Word<_>>("state")?.0,
            outcome,
            policy_digest: row.get::<_, Word<_>>("policy_digest")?.0,
            engine: row.get("engine")?,
            input_digest: row.get::<_, Word<_>>("input_digest")?.0,
        };
        Ok(Self { id: row.get("id")?, decision, sequence: row.get("sequence")? })
    }
}

impl View<'_> {
    /// The decision with this id.
    pub(crate) fn decision(&self, id: i64) -> Result<Option<DecisionRow>, StoreError> {
        let sql = format!("{SELECT} WHERE decisions.id = ?1");
        self.row("read a decision", &sql, params![id], DecisionRow::from_row)
    }

    /// What policy was asked for a decision: JSON, as it was asked.
    pub(crate) fn decision_input(&self, id: i64) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT input FROM decisions WHERE id = ?1";
        let input =
            self.row("read a decision's input", sql, params![id], |row| row.get::<_, Packed<Vec<u8>>>(0))?;
        Ok(input.map(|packed| packed.0))
    }

    /// The newest decisions, of a node or a group where named, the newest first.
    pub(crate) fn decisions(
        &self,
        node: Option<&str>,
        group: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DecisionRow>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE (CAST(?1 AS TEXT) IS NULL OR decisions.node = ?1) AND (CAST(?2 AS TEXT) IS NULL OR group_name = ?2) \
             ORDER BY decisions.id DESC LIMIT ?3"
        );
        self.rows("read the decisions", &sql, params![node, group, limit], DecisionRow::from_row)
    }

    /// The decisions made from `from` until before `until`, in order.
    pub(crate) fn decisions_between(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<DecisionRow>, StoreError> {
        let sql = format!("{SELECT} WHERE at >= ?1 AND at < ?2 ORDER BY decisions.id");
        let values = params![Micros(from), Micros(until)];
        self.rows("read a period's decisions", &sql, values, DecisionRow::from_row)
    }
}

impl Tx<'_> {
    /// Records a decision and its input; gives its id.
    pub(crate) fn insert_decision(&self, decision: &NewDecision, input: &[u8]) -> Result<i64, StoreError> {
        let sql = "INSERT INTO decisions (node, container, group_name, at, report_id, state, decision, \
             error, policy_digest, engine, input_digest, input) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let values = params![
            decision.subject.node,
            decision.subject.container_column(),
            decision.group,
            Micros(decision.at),
            decision.report_id,
            Word(decision.state),
            decision.outcome.as_ref().ok().map(Json),
            decision.outcome.as_ref().err(),
            Word(decision.policy_digest),
            decision.engine,
            Word(decision.input_digest),
            Packed(input),
        ];
        self.insert("record a decision", sql, values)
    }
}
