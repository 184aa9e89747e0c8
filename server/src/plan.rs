//! Plan: what becomes of a decision. Pure: values in, values out.
//!
//! Budget before blade. A decision for an action passes the group's mode, the
//! state's ground, its freshness, confirmation by a second full sweep, and the
//! group's budget of one open action; the first gate that is closed holds it,
//! and says so. Nothing here talks to a platform.

use congruent_protocol::action::ActionState;
use congruent_protocol::decision::{Decision, Verdict};
use congruent_protocol::digest::Digest;
use congruent_protocol::verification::State;
use jiff::{SignedDuration, Timestamp};

use crate::clock::after;
use crate::config::Mode;

/// After an action failed, the same node waits this long for another: who could
/// not be told, or refused, is not asked again at every sweep.
const COOL_DOWN: SignedDuration = SignedDuration::from_hours(24);

/// All that a plan depends on.
#[derive(Debug, Clone)]
pub(crate) struct Situation<'a> {
    pub(crate) now: Timestamp,
    pub(crate) group: &'a str,
    pub(crate) mode: Mode,
    pub(crate) state: State,
    pub(crate) decision: &'a Decision,
    /// How old the newest report was when it arrived, by the node's clock.
    pub(crate) age_on_arrival: SignedDuration,
    /// How old it may have been.
    pub(crate) fresh_within: SignedDuration,
    /// The node's newest full sweeps, the newest first; two count.
    pub(crate) full_sweeps: &'a [FullSweep],
    /// The node's newest action.
    pub(crate) action: Option<&'a Action>,
    /// The open actions of the group's other nodes.
    pub(crate) others: &'a [Other],
}

/// A full sweep, as far as confirmation goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FullSweep {
    /// Which of the node's chains of reports it belongs to.
    pub(crate) chain: u64,
    pub(crate) sequence: u64,
    pub(crate) state: State,
    pub(crate) manifest_root: Option<Digest>,
    pub(crate) findings_digest: Digest,
    /// Whether policy called for an action.
    pub(crate) called_for_action: bool,
}

/// An action of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) id: String,
    pub(crate) state: ActionState,
    /// A delivery is under way: the platform may already have the order.
    pub(crate) in_flight: bool,
    pub(crate) updated_at: Timestamp,
}

/// An open action of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    pub(crate) id: String,
    pub(crate) node: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing.
    Nothing,
    /// The action is noted and not ordered.
    Hold { reason: String },
    /// The action is ordered.
    Order { reason: String },
    /// The action is given up: the platform has not heard of it.
    Withdraw { reason: String },
}

/// Works out what is to be done about a node.
pub(crate) fn plan(situation: &Situation<'_>) -> Plan {
    match situation.action {
        // The platform has the order, or may have it: it is not taken back, and
        // not given twice.
        Some(Action { state: ActionState::Dispatched, .. } | Action { in_flight: true, .. }) => Plan::Nothing,
        Some(Action { state: ActionState::Proposed, .. }) => of_proposed(situation),
        Some(Action { state: ActionState::Held, .. }) if !calls_for_action(situation) => withdraw(situation),
        _ if calls_for_action(situation) => of_call(situation),
        _ => Plan::Nothing,
    }
}

/// Of an action that the platform has not heard of.
fn of_proposed(situation: &Situation<'_>) -> Plan {
    if !calls_for_action(situation) {
        return withdraw(situation);
    }
    match report_only(situation) {
        Some(reason) => Plan::Hold { reason },
        None => Plan::Nothing,
    }
}

/// An action is given up on evidence alone: that a node went silent, or could
/// not be seen, does not make it whole.
fn withdraw(situation: &Situation<'_>) -> Plan {
    let reason = match situation.state {
        State::Congruent => "the node is congruent again".to_owned(),
        State::Divergent => {
            format!("policy no longer calls for it: it says {}", situation.decision.action.name())
        }
        State::Incomplete | State::Silent | State::Unknown => return Plan::Nothing,
    };
    Plan::Withdraw { reason }
}

/// Of a call for an action that was not ordered: the first closed gate holds it.
fn of_call(situation: &Situation<'_>) -> Plan {
    let gates = [report_only, ground, freshness, cool_down, confirmation, budget];
    match gates.iter().find_map(|gate| gate(situation)) {
        Some(reason) => Plan::Hold { reason },
        None => Plan::Order { reason: confirmed_by(situation.full_sweeps) },
    }
}

fn calls_for_action(situation: &Situation<'_>) -> bool {
    situation.decision.action >= Verdict::Quarantine
}

fn report_only(situation: &Situation<'_>) -> Option<String> {
    (situation.mode == Mode::ReportOnly).then(|| format!("group {} is report-only", situation.group))
}

/// Only drift that was seen is ground for an action, whatever policy says.
fn ground(situation: &Situation<'_>) -> Option<String> {
    (situation.state != State::Divergent)
        .then(|| format!("the node is {}, and only drift that was seen is acted on", situation.state.name()))
}

/// A report that waited in a spool tells of what was, not of what is.
fn freshness(situation: &Situation<'_>) -> Option<String> {
    (situation.age_on_arrival > situation.fresh_within).then(|| {
        format!(
            "the newest report was {:#} old when it arrived, by the node's clock; waiting for a fresh one",
            SignedDuration::from_secs(situation.age_on_arrival.as_secs())
        )
    })
}

fn cool_down(situation: &Situation<'_>) -> Option<String> {
    let failed = situation.action.filter(|action| action.state == ActionState::Failed)?;
    let until = after(failed.updated_at, COOL_DOWN);
    (situation.now < until)
        .then(|| format!("action {} of this node failed; the next waits until {until}", failed.id))
}

/// Two full sweeps in a row, of the same machine, held to the same manifest, for
/// both of which policy called for an action. The findings need not be the same:
/// drift that grows, or is other drift by the second look, is no less drift, and
/// waiting for it to stand still would let it hide by moving.
fn confirmation(situation: &Situation<'_>) -> Option<String> {
    let confirmed = matches!(situation.full_sweeps, [second, first, ..] if confirms(second, first));
    (!confirmed).then(|| "waiting for a second full sweep".to_owned())
}

fn confirms(second: &FullSweep, first: &FullSweep) -> bool {
    let calls = |sweep: &FullSweep| sweep.state == State::Divergent && sweep.called_for_action;
    calls(second)
        && calls(first)
        && second.chain == first.chain
        && second.manifest_root == first.manifest_root
}

fn confirmed_by(full_sweeps: &[FullSweep]) -> String {
    match full_sweeps {
        [second, first, ..] if second.findings_digest == first.findings_digest => {
            format!("confirmed by the full sweeps {} and {}", first.sequence, second.sequence)
        }
        [second, first, ..] => format!(
            "confirmed by the full sweeps {} and {}, with other findings in the second",
            first.sequence, second.sequence
        ),
        _ => "confirmed".to_owned(),
    }
}

fn budget(situation: &Situation<'_>) -> Option<String> {
    let Other { id, node } = situation.others.first()?;
    Some(format!("action {id} of node {node} is open in group {}", situation.group))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
