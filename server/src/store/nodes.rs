//! Where each node stands, and every change of that.

use congruent_protocol::decision::Verdict;
use congruent_protocol::verification::State;
use jiff::Timestamp;

use super::columns::{Micros, Word};
use super::sql::{Row, SqlResult, params};
use super::{StoreError, Tx, View};

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeRow {
    pub(crate) node: String,
    /// The group that it is enrolled in; none where its enrolment was revoked.
    pub(crate) group: Option<String>,
    /// Counts up with every report and every change of state.
    pub(crate) generation: u64,
    pub(crate) state: State,
    pub(crate) note: Option<String>,
    pub(crate) since: Timestamp,
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

/// A change of a node's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateRow {
    pub(crate) node: String,
    pub(crate) at: Timestamp,
    pub(crate) state: State,
    pub(crate) note: Option<String>,
    pub(crate) report_id: Option<i64>,
}

impl NodeRow {
    pub(super) fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            node: row.get("node")?,
            group: row.get("group_name")?,
            generation: row.get("generation")?,
            state: row.get::<_, Word<_>>("state")?.0,
            note: row.get("note")?,
            since: row.get::<_, Micros>("since")?.0,
            last_seen: row.get::<_, Option<Micros>>("last_seen")?.map(|time| time.0),
            reported_at: row.get::<_, Option<Micros>>("reported_at")?.map(|time| time.0),
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
            node: row.get("node")?,
            at: row.get::<_, Micros>("at")?.0,
            state: row.get::<_, Word<_>>("state")?.0,
            note: row.get("note")?,
            report_id: row.get("report_id")?,
        })
    }
}

impl View<'_> {
    /// Where `node` stands; none where it never enrolled, or was forgotten.
    pub(crate) fn node(&self, node: &str) -> Result<Option<NodeRow>, StoreError> {
        self.row("read a node", "SELECT * FROM nodes WHERE node = ?1", params![node], NodeRow::from_row)
    }

    /// Where every node stands, by id.
    #[cfg(test)]
    pub(crate) fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.rows("read the nodes", "SELECT * FROM nodes ORDER BY node", params![], NodeRow::from_row)
    }

    /// The nodes that are not silent, and of which nothing was seen since a time, or of
    /// which no report came since another.
    pub(crate) fn nodes_unheard_since(
        &self,
        seen: Timestamp,
        reported: Timestamp,
    ) -> Result<Vec<NodeRow>, StoreError> {
        let sql = "SELECT * FROM nodes WHERE state <> 'silent' \
             AND (last_seen IS NULL OR last_seen < ?1 OR reported_at IS NULL OR reported_at < ?2) ORDER BY node";
        let values = params![Micros(seen), Micros(reported)];
        self.rows("look for silent nodes", sql, values, NodeRow::from_row)
    }

    /// The newest changes of a node's state, the newest first.
    pub(crate) fn node_states(&self, node: &str, limit: usize) -> Result<Vec<StateRow>, StoreError> {
        let sql = "SELECT * FROM node_states WHERE node = ?1 ORDER BY id DESC LIMIT ?2";
        self.rows("read a node's states", sql, params![node, limit], StateRow::from_row)
    }
}

impl Tx<'_> {
    /// Puts a node in that was not known, as `unknown`.
    pub(crate) fn insert_node(
        &self,
        node: &str,
        group: &str,
        at: Timestamp,
        note: &str,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO nodes (node, group_name, generation, state, note, since) \
             VALUES (?1, ?2, 0, ?3, ?4, ?5)";
        let values = params![node, group, Word(State::Unknown), note, Micros(at)];
        self.execute("put in a node", sql, values)?;
        self.insert_state(node, State::Unknown, Some(note), at, None)
    }

    /// Has a node that enrolled anew begin as one that was never known: what was said of
    /// the machine that had its name before is not said of it.
    pub(crate) fn begin_node_anew(
        &self,
        node: &str,
        group: &str,
        at: Timestamp,
        note: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE nodes SET group_name = ?2, generation = generation + 1, state = ?3, note = ?4, \
             since = ?5, last_seen = NULL, reported_at = NULL, report_id = NULL, verified_report_id = NULL, \
             decision_id = NULL, decision_key = NULL, policy_error = NULL, verdict = NULL WHERE node = ?1";
        let values = params![node, group, Word(State::Unknown), note, Micros(at)];
        self.execute("begin a node anew", sql, values)?;
        self.insert_state(node, State::Unknown, Some(note), at, None)
    }

    /// Notes which group a node is enrolled in; none takes it out of the list.
    pub(crate) fn set_node_group(&self, node: &str, group: Option<&str>) -> Result<(), StoreError> {
        let sql = "UPDATE nodes SET group_name = ?2 WHERE node = ?1";
        self.execute("note a node's group", sql, params![node, group]).map(drop)
    }

    /// Forgets where a node stands; gives whether it was known. What it reported and how
    /// its state changed stays.
    pub(crate) fn delete_node(&self, node: &str) -> Result<bool, StoreError> {
        Ok(self.execute("forget a node", "DELETE FROM nodes WHERE node = ?1", params![node])? > 0)
    }

    /// Gives a node its newest report, and the state that goes with it. `verifies`: it is a
    /// full sweep that found the node congruent.
    pub(crate) fn advance_node(
        &self,
        node: &NodeRow,
        report_id: i64,
        (state, note): (State, Option<&str>),
        verifies: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let action = "note a node's newest report";
        let id = &node.node;
        let verified = if verifies { Some(report_id) } else { node.verified_report_id };
        if node.state == state {
            // The indexes have the state, and are left alone where it stays.
            let sql = "UPDATE nodes SET generation = generation + 1, note = ?2, last_seen = ?3, reported_at = ?3, \
                 report_id = ?4, verified_report_id = ?5 WHERE node = ?1";
            return self.execute(action, sql, params![id, note, Micros(at), report_id, verified]).map(drop);
        }
        let sql = "UPDATE nodes SET generation = generation + 1, note = ?2, last_seen = ?3, reported_at = ?3, \
             report_id = ?4, verified_report_id = ?5, state = ?6, since = ?3 WHERE node = ?1";
        self.execute(action, sql, params![id, note, Micros(at), report_id, verified, Word(state)])?;
        self.insert_state(id, state, note, at, Some(report_id))
    }

    /// Notes when these nodes were heard of, which changes no state.
    pub(crate) fn note_heard(&self, heard: &[(String, Timestamp)]) -> Result<(), StoreError> {
        let sql = "UPDATE nodes SET last_seen = ?2 WHERE node = ?1 AND coalesce(last_seen, 0) < ?2";
        for (node, at) in heard {
            self.execute("note a sign of life", sql, params![node, Micros(*at)])?;
        }
        Ok(())
    }

    /// Gives a node a state, such as `silent`, which no report brings.
    pub(crate) fn change_state(
        &self,
        node: &str,
        state: State,
        note: Option<&str>,
        at: Timestamp,
        report_id: Option<i64>,
    ) -> Result<(), StoreError> {
        let action = "change a node's state";
        if self.node(node)?.is_some_and(|row| row.state == state) {
            // The indexes have the state, and are left alone where it stays.
            let sql = "UPDATE nodes SET generation = generation + 1, note = ?2 WHERE node = ?1";
            return self.execute(action, sql, params![node, note]).map(drop);
        }
        let sql = "UPDATE nodes SET generation = generation + 1, state = ?2, note = ?3, since = ?4 \
             WHERE node = ?1";
        self.execute(action, sql, params![node, Word(state), note, Micros(at)])?;
        self.insert_state(node, state, note, at, report_id)
    }

    /// Notes which decision stands for a node, and what it depends on.
    pub(crate) fn set_decision(
        &self,
        node: &str,
        decision_id: i64,
        key: &str,
        outcome: Result<Verdict, &str>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE nodes SET decision_id = ?2, decision_key = ?3, policy_error = ?4, verdict = ?5 \
             WHERE node = ?1";
        let values = params![node, decision_id, key, outcome.err(), outcome.ok().map(Word)];
        self.execute("note a node's decision", sql, values).map(drop)
    }

    fn insert_state(
        &self,
        node: &str,
        state: State,
        note: Option<&str>,
        at: Timestamp,
        report_id: Option<i64>,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO node_states (node, at, state, note, report_id) VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = params![node, Micros(at), Word(state), note, report_id];
        self.execute("record a change of state", sql, values).map(drop)
    }
}
