//! How many there are of what operators watch.

use congruent_protocol::action::ActionState;
use congruent_protocol::verification::State;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::columns::{Micros, Word};
use super::sql::params;
use super::{StoreError, View};

/// How many there are, of everything that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Enrolled nodes; every state is there.
    pub(crate) nodes: [(State, u64); 5],
    /// Containers on enrolled nodes; every state is there.
    pub(crate) containers: [(State, u64); 5],
    /// Actions that are not over; every such state is there.
    pub(crate) actions: [(ActionState, u64); 3],
    /// Reports that wait to be judged.
    pub(crate) unjudged: u64,
    /// Orders whose time has come.
    pub(crate) due: u64,
}

const STATES: [State; 5] =
    [State::Congruent, State::Divergent, State::Incomplete, State::Silent, State::Unknown];
const LIVE: [ActionState; 3] = [ActionState::Held, ActionState::Proposed, ActionState::Dispatched];

impl View<'_> {
    /// Counts what there is at `now`.
    pub(crate) fn tally(&self, now: Timestamp) -> Result<Tally, StoreError> {
        let nodes = "SELECT state, count(*) FROM subjects \
             JOIN enrolments ON enrolments.node = subjects.node AND enrolments.revoked_at IS NULL \
             WHERE container = '' GROUP BY state";
        let containers = "SELECT state, count(*) FROM subjects \
             WHERE container <> '' AND group_name IS NOT NULL GROUP BY state";
        // Those that are over only become more, and would have to be looked through.
        let actions = "SELECT state, count(*) FROM actions \
             WHERE state IN ('held', 'proposed', 'dispatched') GROUP BY state";
        let unjudged = "SELECT count(*) FROM reports WHERE NOT judged";
        let due = "SELECT count(*) FROM outbox JOIN actions ON actions.id = action_id \
             WHERE state = 'proposed' AND NOT in_flight AND next_attempt_at <= ?1";
        let due = self.row("count due orders", due, params![Micros(now)], |row| row.get(0))?;
        Ok(Tally {
            nodes: self.by_state("count nodes", nodes, STATES)?,
            containers: self.by_state("count containers", containers, STATES)?,
            actions: self.by_state("count actions", actions, LIVE)?,
            unjudged: self.row("count reports", unjudged, params![], |row| row.get(0))?.unwrap_or(0),
            due: due.unwrap_or(0),
        })
    }

    fn by_state<S: DeserializeOwned + Copy + PartialEq, const N: usize>(
        &self,
        action: &'static str,
        sql: &str,
        states: [S; N],
    ) -> Result<[(S, u64); N], StoreError> {
        let rows =
            self.rows(action, sql, params![], |row| Ok((row.get::<_, Word<S>>(0)?.0, row.get::<_, u64>(1)?)));
        let rows = rows?;
        let count = |state: S| rows.iter().find(|(known, _)| *known == state).map_or(0, |(_, count)| *count);
        Ok(states.map(|state| (state, count(state))))
    }
}
