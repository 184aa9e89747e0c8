//! Actions and their lives.

use std::cmp::Reverse;

use super::sql::{Row, SqlResult, params};
use congruent_protocol::action::{ActionState, OrderTarget};
use congruent_protocol::decision::{Decision, Target, Verdict};
use jiff::Timestamp;

use super::columns::{Json, Micros, Word};
use super::{StoreError, Tx, View};
use crate::subject::SubjectId;

/// An action to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct NewAction<'a> {
    pub(crate) id: &'a str,
    pub(crate) subject: &'a SubjectId,
    pub(crate) group: &'a str,
    pub(crate) verdict: Verdict,
    pub(crate) decision_id: i64,
}

/// A recorded action.
#[derive(Debug, Clone)]
pub(crate) struct ActionRow {
    pub(crate) id: String,
    pub(crate) subject: SubjectId,
    pub(crate) group: String,
    pub(crate) verdict: Verdict,
    pub(crate) state: ActionState,
    pub(crate) reason: String,
    /// The decision that the action carries out. A held action whose order was tried keeps the
    /// one that the order was first made with: [`View::target_of`], whether an order is still
    /// called for, and whether its cause was mended stand on that.
    pub(crate) decision_id: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// A delivery of its order is under way.
    pub(crate) in_flight: bool,
}

/// A step in an action's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepRow {
    pub(crate) at: Timestamp,
    pub(crate) state: ActionState,
    pub(crate) reason: String,
}

/// How many actions of a node's containers that are over are looked through for those on the
/// node.
const LOOKED_THROUGH: usize = 1000;

/// Which actions are meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct ActionFilter<'a> {
    /// Of this node, and of all on it.
    pub(crate) node: Option<&'a str>,
    /// Of this subject alone.
    pub(crate) subject: Option<&'a SubjectId>,
    pub(crate) group: Option<&'a str>,
    /// Only those that lived at some time from the first until before the second.
    pub(crate) between: Option<(Timestamp, Timestamp)>,
}

const SELECT: &str = "SELECT actions.*, coalesce(outbox.in_flight, FALSE) AS in_flight FROM actions \
     LEFT JOIN outbox ON outbox.action_id = actions.id";

impl ActionRow {
    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            id: row.get("id")?,
            subject: SubjectId::from_row(row)?,
            group: row.get("group_name")?,
            verdict: row.get::<_, Word<_>>("verdict")?.0,
            state: row.get::<_, Word<_>>("state")?.0,
            reason: row.get("reason")?,
            decision_id: row.get("decision_id")?,
            created_at: row.get::<_, Micros>("created_at")?.0,
            updated_at: row.get::<_, Micros>("updated_at")?.0,
            in_flight: row.get("in_flight")?,
        })
    }
}

impl StepRow {
    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            at: row.get::<_, Micros>("at")?.0,
            state: row.get::<_, Word<_>>("state")?.0,
            reason: row.get("reason")?,
        })
    }
}

impl View<'_> {
    /// The newest action of a subject, whatever became of it.
    pub(crate) fn newest_action(&self, subject: &SubjectId) -> Result<Option<ActionRow>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE node = ?1 AND container = ?2 ORDER BY created_at DESC, actions.decision_id DESC LIMIT 1"
        );
        let values = params![subject.node, subject.container_column()];
        self.row("read a subject's newest action", &sql, values, ActionRow::from_row)
    }

    /// The action with this id.
    pub(crate) fn action(&self, id: &str) -> Result<Option<ActionRow>, StoreError> {
        self.row(
            "read an action",
            &format!("{SELECT} WHERE actions.id = ?1"),
            params![id],
            ActionRow::from_row,
        )
    }

    /// What an action is to be carried out on: as the decision says that it carries out.
    pub(crate) fn target_of(&self, action: &ActionRow) -> Result<OrderTarget, StoreError> {
        let is_container = action.subject.container.is_some();
        let decision = match is_container {
            true => self.decision(action.decision_id)?.and_then(|row| row.decision.outcome.ok()),
            false => None,
        };
        let target = decision.map(|decision| decision.target).unwrap_or_default();
        Ok(OrderTarget::of(target, is_container))
    }

    /// The newest action of a subject that failed.
    pub(crate) fn newest_failed_action(&self, subject: &SubjectId) -> Result<Option<ActionRow>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE node = ?1 AND container = ?2 AND state = 'failed' ORDER BY updated_at DESC LIMIT 1"
        );
        let values = params![subject.node, subject.container_column()];
        self.row("read a subject's newest failed action", &sql, values, ActionRow::from_row)
    }

    /// The actions that take a budget. Each has an order, and many more may be
    /// held than were ever ordered.
    pub(crate) fn open_actions(&self) -> Result<Vec<ActionRow>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE actions.id IN (SELECT action_id FROM outbox) \
             AND state IN ('proposed', 'dispatched') ORDER BY created_at"
        );
        self.rows("read the open actions", &sql, params![], ActionRow::from_row)
    }

    /// The actions that the platform has not confirmed, and that are not over.
    pub(crate) fn pending_actions(&self) -> Result<Vec<ActionRow>, StoreError> {
        let sql = format!("{SELECT} WHERE state IN ('held', 'proposed') ORDER BY created_at");
        self.rows("read the pending actions", &sql, params![], ActionRow::from_row)
    }

    /// The actions of a node, and of what runs on it, that its platform has and that are
    /// not over.
    pub(crate) fn dispatched_actions(&self, node: &str) -> Result<Vec<ActionRow>, StoreError> {
        let sql = format!("{SELECT} WHERE node = ?1 AND state = 'dispatched' ORDER BY created_at");
        self.rows("read a node's dispatched actions", &sql, params![node], ActionRow::from_row)
    }

    /// The subjects that have a held action.
    pub(crate) fn held_subjects(&self) -> Result<Vec<SubjectId>, StoreError> {
        let sql = "SELECT node, container FROM actions WHERE state = 'held' ORDER BY created_at";
        self.rows("read the held actions", sql, params![], SubjectId::from_row)
    }

    /// The newest actions that `filter` means, the newest first.
    pub(crate) fn actions(
        &self,
        filter: &ActionFilter<'_>,
        limit: usize,
    ) -> Result<Vec<ActionRow>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE (CAST(?1 AS TEXT) IS NULL OR node = ?1) AND (CAST(?2 AS TEXT) IS NULL OR group_name = ?2) \
             AND (CAST(?3 AS BIGINT) IS NULL OR updated_at >= ?3 OR state IN ('held', 'proposed', 'dispatched')) \
             AND (CAST(?4 AS BIGINT) IS NULL OR created_at < ?4) \
             AND (CAST(?5 AS TEXT) IS NULL OR container = ?5) ORDER BY created_at DESC, actions.decision_id DESC LIMIT ?6"
        );
        let (from, until) = filter.between.map(|(from, until)| (Micros(from), Micros(until))).unzip();
        let node = filter.subject.map_or(filter.node, |subject| Some(subject.node.as_str()));
        let container = filter.subject.map(SubjectId::container_column);
        let values = params![node, filter.group, from, until, container, limit];
        self.rows("read the actions", &sql, values, ActionRow::from_row)
    }

    /// The actions on a node as a whole, the newest first: its own, and those for which a
    /// container on it gave cause. All that are not over, and of the others the newest that
    /// make it `limit`, of as many as are looked through.
    pub(crate) fn actions_on_node(&self, node: &str, limit: usize) -> Result<Vec<ActionRow>, StoreError> {
        let live = "actions.state IN ('held', 'proposed', 'dispatched')";
        let mut actions = self.on_node(node, live, usize::MAX)?;
        let over = |of, looked_through| self.on_node(node, &format!("NOT ({live}) AND {of}"), looked_through);
        let mut history = over("actions.container = ''", limit)?;
        history.extend(over("actions.container <> ''", LOOKED_THROUGH)?);
        history.sort_by_key(newest_first);
        history.truncate(limit.saturating_sub(actions.len()));
        actions.extend(history);
        actions.sort_by_key(newest_first);
        Ok(actions)
    }

    /// Those on a node as a whole, of its and its containers' `limit` newest that are like this.
    fn on_node(&self, node: &str, condition: &str, limit: usize) -> Result<Vec<ActionRow>, StoreError> {
        let sql = format!(
            "SELECT actions.*, coalesce(outbox.in_flight, FALSE) AS in_flight, decisions.decision \
             FROM actions LEFT JOIN outbox ON outbox.action_id = actions.id \
             JOIN decisions ON decisions.id = actions.decision_id WHERE actions.node = ?1 AND {condition} \
             ORDER BY actions.created_at DESC, actions.decision_id DESC LIMIT ?2"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = self.rows("read the actions on a node", &sql, params![node, limit], |row| {
            let decision = row.get::<_, Option<Json<Decision>>>("decision")?;
            Ok((ActionRow::from_row(row)?, decision.map(|json| json.0.target)))
        })?;
        let is_meant =
            |row: &ActionRow, target| row.subject.container.is_none() || target == Some(Target::Node);
        Ok(read.into_iter().filter_map(|(row, target)| is_meant(&row, target).then_some(row)).collect())
    }

    /// An action's life, from its beginning.
    pub(crate) fn action_history(&self, id: &str) -> Result<Vec<StepRow>, StoreError> {
        let sql = "SELECT at, state, reason FROM action_history WHERE action_id = ?1 ORDER BY id";
        self.rows("read an action's history", sql, params![id], StepRow::from_row)
    }
}

fn newest_first(row: &ActionRow) -> Reverse<(Timestamp, i64)> {
    Reverse((row.created_at, row.decision_id))
}

impl Tx<'_> {
    /// Records a new action, held or proposed.
    pub(crate) fn insert_action(
        &self,
        action: &NewAction<'_>,
        state: ActionState,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO actions (id, node, container, group_name, verdict, state, reason, decision_id, \
             created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)";
        let NewAction { id, subject, group, verdict, decision_id } = action;
        let (node, container) = (&subject.node, subject.container_column());
        let values =
            params![id, node, container, group, Word(verdict), Word(state), reason, decision_id, Micros(at)];
        self.execute("record an action", sql, values)?;
        self.insert_step(id, state, reason, at)
    }

    /// Lets an action carry out a newer decision than the one that began it.
    pub(crate) fn renew_action(
        &self,
        id: &str,
        verdict: Verdict,
        decision_id: i64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE actions SET verdict = ?2, decision_id = ?3 WHERE id = ?1";
        self.execute("renew an action", sql, params![id, Word(verdict), decision_id]).map(drop)
    }

    /// Takes an action to its next place in life, for a reason.
    pub(crate) fn move_action(
        &self,
        id: &str,
        state: ActionState,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE actions SET state = ?2, reason = ?3, updated_at = ?4 WHERE id = ?1";
        self.execute("move an action", sql, params![id, Word(state), reason, Micros(at)])?;
        self.insert_step(id, state, reason, at)
    }

    fn insert_step(
        &self,
        id: &str,
        state: ActionState,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO action_history (action_id, at, state, reason) VALUES (?1, ?2, ?3, ?4)";
        self.execute("record a step of an action", sql, params![id, Micros(at), Word(state), reason])
            .map(drop)
    }
}

#[cfg(test)]
#[path = "action_tests.rs"]
mod tests;
