//! Where each subject stands, and every change of that.

use congruent_protocol::decision::Verdict;
use congruent_protocol::report::ContainerIdentity;
use congruent_protocol::verification::State;
use jiff::Timestamp;

use super::columns::{Json, Micros, Word};
use super::sql::{Row, SqlResult, params};
use super::{StoreError, Tx, View};
use crate::subject::SubjectId;

/// Where a subject stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubjectRow {
    pub(crate) id: SubjectId,
    /// Which container it is, as its node says; none of nodes.
    pub(crate) identity: Option<ContainerIdentity>,
    /// The group that its node is enrolled in; none where its enrolment was revoked.
    pub(crate) group: Option<String>,
    /// Counts up with every report and every change of state.
    pub(crate) generation: u64,
    pub(crate) state: State,
    pub(crate) note: Option<String>,
    pub(crate) since: Timestamp,
    /// When it was heard of last. Of a container its node's signs of life tell, too.
    pub(crate) last_seen: Option<Timestamp>,
    /// When its newest report came.
    pub(crate) reported_at: Option<Timestamp>,
    /// Its newest report.
    pub(crate) report_id: Option<i64>,
    /// The last full sweep that found it congruent.
    pub(crate) verified_report_id: Option<i64>,
    pub(crate) decision_id: Option<i64>,
    /// What the decision depends on; another value asks for another decision.
    pub(crate) decision_key: Option<String>,
    pub(crate) policy_error: Option<String>,
}

/// A change of a subject's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateRow {
    pub(crate) subject: SubjectId,
    pub(crate) at: Timestamp,
    pub(crate) state: State,
    pub(crate) note: Option<String>,
    pub(crate) report_id: Option<i64>,
    /// Whether a container was over with this: then it has no state any more, and the last
    /// one that it had is that of the change before.
    pub(crate) is_over: bool,
    /// Of what is over: which container it was, as its node said last.
    pub(crate) identity: Option<ContainerIdentity>,
}

impl SubjectId {
    /// As the columns `node` and `container` have it.
    pub(super) fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        let container: String = row.get("container")?;
        Ok(Self { node: row.get("node")?, container: (!container.is_empty()).then_some(container) })
    }

    /// The value of the column `container`.
    pub(super) fn container_column(&self) -> &str {
        self.container.as_deref().unwrap_or_default()
    }
}

/// When a subject's node was heard of last: what runs on a node is heard of with it.
const NODE_SEEN: &str =
    "(SELECT last_seen FROM subjects AS nodes WHERE nodes.node = subjects.node AND nodes.container = '')";

/// The columns of a subject.
pub(super) fn columns() -> String {
    format!("subjects.*, {NODE_SEEN} AS node_seen")
}

impl SubjectRow {
    /// Of a row that has [`columns`].
    pub(super) fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        let seen = |column| Ok(row.get::<_, Option<Micros>>(column)?.map(|time| time.0));
        Ok(Self {
            id: SubjectId::from_row(row)?,
            identity: row.get::<_, Option<Json<_>>>("identity")?.map(|json| json.0),
            group: row.get("group_name")?,
            generation: row.get("generation")?,
            state: row.get::<_, Word<_>>("state")?.0,
            note: row.get("note")?,
            since: row.get::<_, Micros>("since")?.0,
            last_seen: seen("last_seen")?.max(seen("node_seen")?),
            reported_at: seen("reported_at")?,
            report_id: row.get("report_id")?,
            verified_report_id: row.get("verified_report_id")?,
            decision_id: row.get("decision_id")?,
            decision_key: row.get("decision_key")?,
            policy_error: row.get("policy_error")?,
        })
    }
}

impl StateRow {
    pub(super) fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            subject: SubjectId::from_row(row)?,
            at: row.get::<_, Micros>("at")?.0,
            state: row.get::<_, Word<_>>("state")?.0,
            note: row.get("note")?,
            report_id: row.get("report_id")?,
            is_over: row.get("is_over")?,
            identity: row.get::<_, Option<Json<_>>>("identity")?.map(|json| json.0),
        })
    }

    /// A change to a state, without a report that brought it.
    fn to(subject: &SubjectId, state: State, note: Option<&str>, at: Timestamp) -> Self {
        let (subject, note) = (subject.clone(), note.map(str::to_owned));
        Self { subject, at, state, note, report_id: None, is_over: false, identity: None }
    }
}

impl View<'_> {
    /// Where a subject stands; none where it never enrolled or was reported, or was forgotten.
    pub(crate) fn subject(&self, subject: &SubjectId) -> Result<Option<SubjectRow>, StoreError> {
        let sql = format!("SELECT {} FROM subjects WHERE node = ?1 AND container = ?2", columns());
        let values = params![subject.node, subject.container_column()];
        self.row("read a subject", &sql, values, SubjectRow::from_row)
    }

    /// Where a node itself stands.
    pub(crate) fn node(&self, node: &str) -> Result<Option<SubjectRow>, StoreError> {
        self.subject(&SubjectId::node(node))
    }

    /// The node, where it is known, and the containers on it, by id.
    pub(crate) fn subjects_of(&self, node: &str) -> Result<Vec<SubjectRow>, StoreError> {
        let sql = format!("SELECT {} FROM subjects WHERE node = ?1 ORDER BY container", columns());
        self.rows("read a node's subjects", &sql, params![node], SubjectRow::from_row)
    }

    /// Where every node stands, by id.
    #[cfg(test)]
    pub(crate) fn nodes(&self) -> Result<Vec<SubjectRow>, StoreError> {
        let sql = format!("SELECT {} FROM subjects WHERE container = '' ORDER BY node", columns());
        self.rows("read the nodes", &sql, params![], SubjectRow::from_row)
    }

    /// The subjects that are not silent, and of which nothing was seen since a time, or of
    /// which no report came since another.
    pub(crate) fn subjects_unheard_since(
        &self,
        seen: Timestamp,
        reported: Timestamp,
    ) -> Result<Vec<SubjectRow>, StoreError> {
        // A node's own row is looked up only for a container that did not report for as long.
        let sql = format!(
            "SELECT {} FROM subjects WHERE state <> 'silent' \
             AND ((coalesce(last_seen, 0) < ?1 AND coalesce({NODE_SEEN}, 0) < ?1) \
              OR reported_at IS NULL OR reported_at < ?2) ORDER BY node, container",
            columns()
        );
        let values = params![Micros(seen), Micros(reported)];
        self.rows("look for silent subjects", &sql, values, SubjectRow::from_row)
    }

    /// The newest changes of a subject's state, the newest first.
    pub(crate) fn states_of(&self, subject: &SubjectId, limit: usize) -> Result<Vec<StateRow>, StoreError> {
        let sql = "SELECT * FROM subject_states WHERE node = ?1 AND container = ?2 ORDER BY id DESC LIMIT ?3";
        let values = params![subject.node, subject.container_column(), limit];
        self.rows("read a subject's states", sql, values, StateRow::from_row)
    }

    /// The containers that ran on a node and do no more, at most `limit`, the newest first:
    /// of each the change that it was over with.
    pub(crate) fn over_on(&self, node: &str, limit: usize) -> Result<Vec<StateRow>, StoreError> {
        // One may have been over more than once. Its newest change is looked up in an index; of
        // NOT EXISTS, PostgreSQL may make a join that compares each with each.
        let sql = "SELECT * FROM subject_states WHERE node = ?1 AND is_over AND id = \
             (SELECT max(id) FROM subject_states AS newest WHERE newest.node = subject_states.node \
              AND newest.container = subject_states.container) ORDER BY id DESC LIMIT ?2";
        self.rows("read what is over on a node", sql, params![node, limit], StateRow::from_row)
    }

    /// Which container it was that is over, as its node said last; none where it did not say
    /// that, or that it was over is known no more.
    pub(crate) fn identity_of_over(
        &self,
        subject: &SubjectId,
    ) -> Result<Option<ContainerIdentity>, StoreError> {
        let sql = "SELECT identity FROM subject_states WHERE node = ?1 AND container = ?2 \
             AND is_over AND identity IS NOT NULL ORDER BY id DESC LIMIT 1";
        let values = params![subject.node, subject.container_column()];
        self.row("read which container it was", sql, values, |row| Ok(row.get::<_, Json<_>>(0)?.0))
    }
}

impl Tx<'_> {
    /// Puts a subject in that was not known and has not reported, as `unknown`.
    pub(crate) fn insert_subject(
        &self,
        subject: &SubjectId,
        group: &str,
        at: Timestamp,
        note: &str,
    ) -> Result<(), StoreError> {
        self.begin_subject(subject, group, (State::Unknown, Some(note)), at, None)
    }

    /// Puts a subject in that was not known, with the state that its history begins with,
    /// and the report that brought it.
    pub(crate) fn begin_subject(
        &self,
        subject: &SubjectId,
        group: &str,
        (state, note): (State, Option<&str>),
        at: Timestamp,
        report_id: Option<i64>,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO subjects (node, container, group_name, generation, state, note, since) \
             VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6)";
        let (node, container) = (&subject.node, subject.container_column());
        let values = params![node, container, group, Word(state), note, Micros(at)];
        self.execute("put in a subject", sql, values)?;
        self.insert_state(&StateRow { report_id, ..StateRow::to(subject, state, note, at) })
    }

    /// Has a node that enrolled anew begin as one that was never known: what was said of
    /// the machine that had its name before is not said of it. What ran on that is over.
    pub(crate) fn begin_node_anew(
        &self,
        node: &str,
        group: &str,
        at: Timestamp,
        note: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE subjects SET group_name = ?2, generation = generation + 1, state = ?3, note = ?4, \
             since = ?5, last_seen = NULL, reported_at = NULL, report_id = NULL, verified_report_id = NULL, \
             decision_id = NULL, decision_key = NULL, policy_error = NULL, verdict = NULL WHERE node = ?1";
        let values = params![node, group, Word(State::Unknown), note, Micros(at)];
        self.execute("begin a node anew", sql, values)?;
        self.insert_state(&StateRow::to(&SubjectId::node(node), State::Unknown, Some(note), at))
    }

    /// Notes which group a node is enrolled in, and all on it; none takes it out of the list.
    pub(crate) fn set_node_group(&self, node: &str, group: Option<&str>) -> Result<(), StoreError> {
        let sql = "UPDATE subjects SET group_name = ?2 WHERE node = ?1";
        self.execute("note a node's group", sql, params![node, group]).map(drop)
    }

    /// Forgets where a node and all on it stand; gives whether it was known. What it
    /// reported and how its state changed stays.
    pub(crate) fn delete_node(&self, node: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM subjects WHERE node = ?1";
        Ok(self.execute("forget a node", sql, params![node])? > 0)
    }

    /// Forgets where a container stands that runs no more, and records that, with which one
    /// it was.
    pub(crate) fn end_container(
        &self,
        subject: &SubjectId,
        at: Timestamp,
        note: &str,
    ) -> Result<(), StoreError> {
        let identity = self.subject(subject)?.and_then(|row| row.identity);
        let sql = "DELETE FROM subjects WHERE node = ?1 AND container = ?2 AND container <> ''";
        self.execute("forget a container", sql, params![subject.node, subject.container_column()])?;
        let over = StateRow::to(subject, State::Unknown, Some(note), at);
        self.insert_state(&StateRow { is_over: true, identity, ..over })
    }

    /// Notes which container a subject is, where its node says otherwise than before.
    pub(crate) fn set_identity(
        &self,
        subject: &SubjectRow,
        identity: &ContainerIdentity,
    ) -> Result<(), StoreError> {
        if subject.identity.as_ref() == Some(identity) {
            return Ok(());
        }
        let sql = "UPDATE subjects SET identity = ?3 WHERE node = ?1 AND container = ?2";
        let values = params![subject.id.node, subject.id.container_column(), Json(identity)];
        self.execute("note which container it is", sql, values).map(drop)
    }

    /// Gives a subject its newest report, and the state that goes with it. `verifies`: it is
    /// a full sweep that found the subject congruent.
    pub(crate) fn advance_subject(
        &self,
        subject: &SubjectRow,
        report_id: i64,
        (state, note): (State, Option<&str>),
        verifies: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let action = "note a subject's newest report";
        let (node, container) = (&subject.id.node, subject.id.container_column());
        let verified = if verifies { Some(report_id) } else { subject.verified_report_id };
        if subject.state == state {
            // The indexes have the state, and are left alone where it stays.
            let sql = "UPDATE subjects SET generation = generation + 1, note = ?3, last_seen = ?4, \
                 reported_at = ?4, report_id = ?5, verified_report_id = ?6 WHERE node = ?1 AND container = ?2";
            let values = params![node, container, note, Micros(at), report_id, verified];
            return self.execute(action, sql, values).map(drop);
        }
        let sql = "UPDATE subjects SET generation = generation + 1, note = ?3, last_seen = ?4, \
             reported_at = ?4, report_id = ?5, verified_report_id = ?6, state = ?7, since = ?4 \
             WHERE node = ?1 AND container = ?2";
        let values = params![node, container, note, Micros(at), report_id, verified, Word(state)];
        self.execute(action, sql, values)?;
        self.insert_state(&StateRow {
            report_id: Some(report_id),
            ..StateRow::to(&subject.id, state, note, at)
        })
    }

    /// Notes when these nodes were heard of, which changes no state. The rows of what runs on
    /// them are left alone: see [`SubjectRow::last_seen`].
    pub(crate) fn note_heard(&self, heard: &[(String, Timestamp)]) -> Result<(), StoreError> {
        let sql = "UPDATE subjects SET last_seen = ?2 \
             WHERE node = ?1 AND container = '' AND coalesce(last_seen, 0) < ?2";
        for (node, at) in heard {
            self.execute("note a sign of life", sql, params![node, Micros(*at)])?;
        }
        Ok(())
    }

    /// Gives a subject a state, such as `silent`, which no report brings.
    pub(crate) fn change_state(
        &self,
        subject: &SubjectId,
        state: State,
        note: Option<&str>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let action = "change a subject's state";
        let (node, container) = (&subject.node, subject.container_column());
        if self.subject(subject)?.is_some_and(|row| row.state == state) {
            // The indexes have the state, and are left alone where it stays.
            let sql = "UPDATE subjects SET generation = generation + 1, note = ?3 \
                 WHERE node = ?1 AND container = ?2";
            return self.execute(action, sql, params![node, container, note]).map(drop);
        }
        let sql = "UPDATE subjects SET generation = generation + 1, state = ?3, note = ?4, since = ?5 \
             WHERE node = ?1 AND container = ?2";
        self.execute(action, sql, params![node, container, Word(state), note, Micros(at)])?;
        self.insert_state(&StateRow::to(subject, state, note, at))
    }

    /// Notes which decision stands for a subject, and what it depends on.
    pub(crate) fn set_decision(
        &self,
        subject: &SubjectId,
        decision_id: i64,
        key: &str,
        outcome: Result<Verdict, &str>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE subjects SET decision_id = ?3, decision_key = ?4, policy_error = ?5, verdict = ?6 \
             WHERE node = ?1 AND container = ?2";
        let (node, container) = (&subject.node, subject.container_column());
        let values = params![node, container, decision_id, key, outcome.err(), outcome.ok().map(Word)];
        self.execute("note a subject's decision", sql, values).map(drop)
    }

    fn insert_state(&self, change: &StateRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO subject_states (node, container, at, state, note, report_id, is_over, identity) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let StateRow { subject, at, state, note, report_id, is_over, identity } = change;
        let (node, container, identity) = (&subject.node, subject.container_column(), identity.as_ref());
        let values =
            params![node, container, Micros(*at), Word(*state), note, report_id, is_over, identity.map(Json)];
        self.execute("record a change of state", sql, values).map(drop)
    }
}
