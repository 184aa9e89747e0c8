//! Plan: what becomes of a decision. Pure: values in, values out.
//!
//! Budget before blade. A decision for an action passes the group's mode, the
//! state's ground, its freshness, confirmation by a second full sweep, and the
//! group's budget of one open action for a node and one for a container; the first
//! gate that is closed holds it, and says so. Nothing here talks to a platform.

use congruent_protocol::action::{ActionState, OrderTarget};
use congruent_protocol::decision::Verdict;
use congruent_protocol::digest::Digest;
use congruent_protocol::verification::State;
use jiff::{SignedDuration, Timestamp};

use crate::clock::after;
use crate::config::Mode;
use crate::subject::SubjectId;

/// After an action failed, the same node waits this long for another: who could
/// not be told, or refused, is not asked again at every sweep.
const COOL_DOWN: SignedDuration = SignedDuration::from_hours(24);

/// All that a plan depends on.
#[derive(Debug, Clone)]
pub(crate) struct Situation<'a> {
    pub(crate) now: Timestamp,
    pub(crate) subject: &'a SubjectId,
    pub(crate) group: &'a str,
    pub(crate) mode: Mode,
    pub(crate) state: State,
    /// Where nothing says what the subject is to be: whether all was seen again that the
    /// action was called for, and nothing of it is left.
    pub(crate) is_mended: bool,
    /// What policy says; none where it failed.
    pub(crate) verdict: Option<Verdict>,
    /// On what that is to be carried out.
    pub(crate) target: OrderTarget,
    /// How old the newest report was when it arrived, by the node's clock.
    pub(crate) age_on_arrival: SignedDuration,
    /// How long ago that was, by the collector's clock.
    pub(crate) since_arrival: SignedDuration,
    /// How old it may have been, and how long ago it may have arrived.
    pub(crate) fresh_within: SignedDuration,
    /// The subject's newest full sweeps, the newest first; two count.
    pub(crate) full_sweeps: &'a [FullSweep],
    /// The subject's newest action.
    pub(crate) action: Option<&'a Action>,
    /// The subject's newest action that failed.
    pub(crate) failed: Option<&'a Action>,
    /// The open actions of the group's other subjects.
    pub(crate) others: &'a [Other],
}

/// A full sweep, as far as confirmation goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FullSweep {
    /// Which of the node's chains of reports it belongs to.
    pub(crate) chain: u64,
    pub(crate) sequence: u64,
    pub(crate) state: State,
    /// When it began and ended, by the node's clock.
    pub(crate) swept: Option<(Timestamp, Timestamp)>,
    pub(crate) manifest_root: Option<Digest>,
    /// The digests of what was found; the second of what a container has beside its tree.
    pub(crate) findings: (Digest, Option<Digest>),
    /// Whether policy called for an action.
    pub(crate) called_for_action: bool,
}

/// An action of the subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) id: String,
    pub(crate) verdict: Verdict,
    pub(crate) target: OrderTarget,
    pub(crate) state: ActionState,
    /// Its order was sent, and no try was confirmed: the platform may have it.
    pub(crate) is_tried: bool,
    /// A delivery is under way: the platform may already have the order.
    pub(crate) in_flight: bool,
    pub(crate) updated_at: Timestamp,
}

/// An open action of another subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    pub(crate) id: String,
    pub(crate) subject: SubjectId,
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
    /// The action is given up: the platform has not confirmed it.
    Withdraw { reason: String },
    /// The same, and another action takes its place, with which this is to be done.
    Supersede { reason: String, next: Box<Plan> },
}

/// Works out what is to be done about a subject.
pub(crate) fn plan(situation: &Situation<'_>) -> Plan {
    match situation.action {
        // The platform has the order, or is being told: it is not taken back,
        // and not given twice.
        Some(Action { state: ActionState::Dispatched, .. } | Action { in_flight: true, .. }) => Plan::Nothing,
        Some(action) if is_superseded(situation, action) => {
            Plan::Supersede { reason: other_call(situation, action), next: Box::new(of_call(situation)) }
        }
        Some(Action { state: ActionState::Proposed, .. }) => of_proposed(situation),
        Some(Action { state: ActionState::Held, .. }) if !calls_for_action(situation) => {
            withdraw(situation).unwrap_or(Plan::Nothing)
        }
        _ if calls_for_action(situation) => of_call(situation),
        _ => Plan::Nothing,
    }
}

/// Whether nothing is to be done, whatever else is so: nothing is called for, and nothing
/// waits.
pub(crate) fn is_idle(verdict: Option<Verdict>, action: Option<ActionState>) -> bool {
    !verdict.is_some_and(is_action) && !action.is_some_and(waits)
}

/// Whether an action in this state waits: it is not over, and the platform has not
/// confirmed it.
pub(crate) fn waits(action: ActionState) -> bool {
    matches!(action, ActionState::Held | ActionState::Proposed)
}

/// Of an order that waits. It goes out only while it is called for: what it was
/// planned under may be another configuration than today's. What merely cannot
/// be seen any more takes nothing back for good.
fn of_proposed(situation: &Situation<'_>) -> Plan {
    let gates: [Gate; 5] = [report_only, ground, same_call, freshness, budget];
    withdraw(situation)
        .or_else(|| first_closed(&gates, situation).map(|reason| Plan::Hold { reason }))
        .unwrap_or(Plan::Nothing)
}

/// An action is given up on evidence alone: that a node went silent, or could
/// not be seen, does not make it whole; nor does a policy that fails. A container without a
/// manifest is never congruent; what was found of it may be seen to be gone.
fn withdraw(situation: &Situation<'_>) -> Option<Plan> {
    let verdict = situation.verdict.filter(|verdict| !is_action(*verdict))?;
    let reason = match situation.state {
        State::Congruent => format!("the {} is congruent again", situation.subject.kind()),
        State::Divergent => format!("policy no longer calls for it: it says {}", verdict.name()),
        State::Unknown if situation.is_mended => {
            let kind = situation.subject.kind();
            format!("nothing that was found of the {kind} is left: policy says {}", verdict.name())
        }
        State::Incomplete | State::Silent | State::Unknown => return None,
    };
    Some(Plan::Withdraw { reason })
}

/// Whether policy calls for something else than an order that the platform may have. Its
/// bytes are fixed under its id, so that what policy calls for now needs another.
fn is_superseded(situation: &Situation<'_>, action: &Action) -> bool {
    let is_seen = situation.state == State::Divergent && calls_for_action(situation);
    waits(action.state) && action.is_tried && is_seen && is_other_call(situation, action)
}

fn is_other_call(situation: &Situation<'_>, ordered: &Action) -> bool {
    situation.verdict != Some(ordered.verdict) || situation.target != ordered.target
}

/// Says what policy calls for, and what the order was to.
fn other_call(situation: &Situation<'_>, ordered: &Action) -> String {
    let words = |verdict: Verdict, target: OrderTarget| match situation.target == ordered.target {
        true => verdict.name().to_owned(),
        false => format!("{} the {}", verdict.name(), target.name()),
    };
    match situation.verdict {
        None => "policy fails, and nothing is ordered without it".to_owned(),
        Some(verdict) => format!(
            "policy says {} now, and the order was to {}",
            words(verdict, situation.target),
            words(ordered.verdict, ordered.target)
        ),
    }
}

/// Of a call for an action that was not ordered: the first closed gate holds it.
fn of_call(situation: &Situation<'_>) -> Plan {
    let gates: [Gate; 6] = [report_only, ground, freshness, cool_down, confirmation, budget];
    match first_closed(&gates, situation) {
        Some(reason) => Plan::Hold { reason },
        None => Plan::Order { reason: confirmed_by(situation.full_sweeps) },
    }
}

/// Says why not, where it is closed.
type Gate = fn(&Situation<'_>) -> Option<String>;

fn first_closed(gates: &[Gate], situation: &Situation<'_>) -> Option<String> {
    gates.iter().find_map(|gate| gate(situation))
}

fn calls_for_action(situation: &Situation<'_>) -> bool {
    situation.verdict.is_some_and(is_action)
}

/// Whether a verdict calls for an action.
pub(crate) fn is_action(verdict: Verdict) -> bool {
    verdict >= Verdict::Quarantine
}

fn report_only(situation: &Situation<'_>) -> Option<String> {
    (situation.mode == Mode::ReportOnly).then(|| format!("group {} is report-only", situation.group))
}

/// Only drift that was seen is ground for an action, whatever policy says.
fn ground(situation: &Situation<'_>) -> Option<String> {
    (situation.state != State::Divergent).then(|| {
        let (kind, state) = (situation.subject.kind(), situation.state.name());
        format!("the {kind} is {state}, and only drift that was seen is acted on")
    })
}

/// The order's bytes are fixed: what policy calls for now, and on what, must be what they
/// say.
fn same_call(situation: &Situation<'_>) -> Option<String> {
    let ordered = situation.action?;
    is_other_call(situation, ordered).then(|| other_call(situation, ordered))
}

/// A report that waited in a spool, or came before the collector was down for
/// long, tells of what was, not of what is.
fn freshness(situation: &Situation<'_>) -> Option<String> {
    let is_old = |age: &SignedDuration| *age > situation.fresh_within;
    let whole_seconds = |age: SignedDuration| SignedDuration::from_secs(age.as_secs());
    if let Some(age) = Some(situation.age_on_arrival).filter(is_old) {
        let age = whole_seconds(age);
        return Some(format!(
            "the newest report was {age:#} old when it arrived, by the node's clock; waiting for a fresh one"
        ));
    }
    let age = Some(situation.since_arrival).filter(is_old).map(whole_seconds)?;
    Some(format!("the newest report arrived {age:#} ago; waiting for a fresh one"))
}

fn cool_down(situation: &Situation<'_>) -> Option<String> {
    let failed = situation.failed?;
    let until = after(failed.updated_at, COOL_DOWN);
    (situation.now < until).then(|| {
        let kind = situation.subject.kind();
        format!("action {} of this {kind} failed; the next waits until {until}", failed.id)
    })
}

/// Two full sweeps in a row, of the same machine, held to the same manifest, for
/// both of which policy called for an action. The findings need not be the same:
/// drift that grows, or is other drift by the second look, is no less drift, and
/// waiting for it to stand still would let it hide by moving. One look that is
/// sent under two numbers is one look.
fn confirmation(situation: &Situation<'_>) -> Option<String> {
    let confirmed = matches!(situation.full_sweeps, [second, first, ..] if confirms(second, first));
    (!confirmed).then(|| "waiting for a second full sweep".to_owned())
}

fn confirms(second: &FullSweep, first: &FullSweep) -> bool {
    let calls = |sweep: &FullSweep| sweep.state == State::Divergent && sweep.called_for_action;
    calls(second)
        && calls(first)
        && second.chain == first.chain
        && follows(second, first)
        && second.manifest_root == first.manifest_root
}

/// Whether the second sweep began after the first had ended.
fn follows(second: &FullSweep, first: &FullSweep) -> bool {
    matches!((second.swept, first.swept), (Some((began, _)), Some((_, ended))) if began > ended)
}

fn confirmed_by(full_sweeps: &[FullSweep]) -> String {
    match full_sweeps {
        [second, first, ..] if second.findings == first.findings => {
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
    let Other { id, subject } = situation.others.first()?;
    Some(format!("action {id} of {subject} is open in group {}", situation.group))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
