//! The conclusion of a judgement: decision and plan, recorded together in one
//! transaction.

use congruent_protocol::action::ActionState;
use congruent_protocol::decision::{Decision, Verdict};
use jiff::Timestamp;
use tracing::{info, warn};

use super::judgement::Judgement;
use crate::config::{Config, Group};
use crate::plan::{Action, FullSweep, Other, Plan, Situation, plan};
use crate::store::{ActionRow, NewAction, NodeRow, ReportRow, StoreError, Tx};

/// How many full sweeps confirmation looks at.
const CONFIRMING_SWEEPS: usize = 2;

/// What a conclusion needs besides the judgement.
pub(super) struct Context<'a> {
    pub(super) config: &'a Config,
    pub(super) now: Timestamp,
    pub(super) new_id: fn() -> String,
}

/// What was recorded.
#[derive(Debug, Default)]
pub(super) struct Conclusion {
    decision: Option<(i64, Result<Verdict, String>)>,
    step: Option<Step>,
}

/// An action's next place in life.
#[derive(Debug)]
struct Step {
    action: String,
    state: ActionState,
    reason: String,
    was_open: bool,
}

impl Conclusion {
    /// Whether an order waits to be delivered.
    pub(super) fn has_order(&self) -> bool {
        self.step.as_ref().is_some_and(|step| step.state == ActionState::Proposed)
    }

    /// Whether the group's budget is free again.
    pub(super) fn frees_budget(&self) -> bool {
        self.step.as_ref().is_some_and(|step| step.was_open && !step.state.is_open())
    }

    /// Says what was recorded.
    pub(super) fn log(&self) {
        match &self.decision {
            Some((decision, Ok(verdict))) => {
                info!(decision, verdict = verdict.name(), "decision recorded");
            }
            Some((decision, Err(error))) => warn!(decision, "policy failed: {error}"),
            None => {}
        }
        if let Some(Step { action, state, reason, .. }) = &self.step {
            info!(action, state = state.name(), "action: {reason}");
        }
    }
}

/// Records a judgement, and the plan that follows from it.
pub(super) fn conclude(
    tx: &Tx<'_>,
    judgement: &Judgement,
    context: &Context<'_>,
) -> Result<Conclusion, StoreError> {
    let id = &judgement.node.node;
    if let Some(report) = judgement.judged_report() {
        tx.mark_judged(report, judgement.verdict())?;
    }
    let (Some(node), Some(group)) = (tx.node(id)?, context.config.group_of(id)) else {
        return Ok(Conclusion::default());
    };
    // Whatever came in between is judged on its own, and that is planned from.
    let is_current = node.generation == judgement.node.generation && judgement.was_current();
    if !is_current && !judgement.is_about_report {
        return Ok(Conclusion::default());
    }
    let action = tx.newest_action(id)?;
    let planned = match &judgement.outcome {
        Ok(decision) if is_current => {
            Some((make_plan(tx, judgement, decision, group, action.as_ref(), context)?, decision))
        }
        _ => None,
    };
    let turns = planned.as_ref().is_some_and(|(plan, _)| is_turn(plan, action.as_ref()));
    let recorded = match node.decision_id {
        Some(last) if !turns && !is_news(tx, judgement, &node, last)? => None,
        _ => Some(tx.insert_decision(&judgement.decision(group, context.now), &judgement.input)?),
    };
    let Some(decision_id) = recorded.or(node.decision_id) else { return Ok(Conclusion::default()) };
    let error = judgement.outcome.as_ref().err().map(String::as_str);
    tx.set_decision(id, decision_id, &judgement.key, error)?;
    let outcome = judgement.outcome.as_ref().map(|decision| decision.action).map_err(Clone::clone);
    let step = match planned {
        Some((plan, decision)) => {
            let actor = Actor { tx, judgement, decision, decision_id, group, context };
            actor.act(plan, action.as_ref())?
        }
        None => None,
    };
    Ok(Conclusion { decision: recorded.map(|decision_id| (decision_id, outcome)), step })
}

/// Whether the decision is another than the last, or stands on other ground. A
/// clean sweep that is like the one before it is not.
fn is_news(tx: &Tx<'_>, judgement: &Judgement, node: &NodeRow, last: i64) -> Result<bool, StoreError> {
    if node.decision_key.as_ref() != Some(&judgement.key) {
        return Ok(true);
    }
    let last = tx.decision(last)?;
    Ok(last.is_none_or(|last| last.decision.outcome != judgement.outcome))
}

/// Whether a plan turns the course of things, so that its decision is recorded
/// with the very report that brought it about.
fn is_turn(plan: &Plan, action: Option<&ActionRow>) -> bool {
    match plan {
        Plan::Nothing => false,
        Plan::Hold { .. } => action.is_none_or(|action| action.state != ActionState::Held),
        Plan::Order { .. } | Plan::Withdraw { .. } => true,
    }
}

fn make_plan(
    tx: &Tx<'_>,
    judgement: &Judgement,
    decision: &Decision,
    group: &Group,
    action: Option<&ActionRow>,
    context: &Context<'_>,
) -> Result<Plan, StoreError> {
    let id = &judgement.node.node;
    let sweeps = tx.newest_full_sweeps(id, CONFIRMING_SWEEPS)?;
    // A node that is not configured any more, because it was replaced under
    // another id, takes no budget: nobody would ever close its action.
    let others = tx.open_actions(&group.name)?.into_iter();
    let others = others.filter(|other| other.node != *id && context.config.nodes.contains_key(&other.node));
    Ok(plan(&Situation {
        now: context.now,
        group: &group.name,
        mode: group.mode,
        state: judgement.state,
        decision,
        age_on_arrival: judgement.age_on_arrival(),
        fresh_within: context.config.silent_after,
        full_sweeps: &sweeps.iter().map(full_sweep).collect::<Vec<_>>(),
        action: action.map(of_row).as_ref(),
        others: &others.map(|other| Other { id: other.id, node: other.node }).collect::<Vec<_>>(),
    }))
}

fn full_sweep(row: &ReportRow) -> FullSweep {
    FullSweep {
        chain: row.report.chain,
        sequence: row.report.sequence,
        state: row.report.state,
        manifest_root: row.report.manifest.as_ref().map(|manifest| manifest.root),
        findings_digest: row.report.findings_digest,
        called_for_action: row.verdict >= Some(Verdict::Quarantine),
    }
}

fn of_row(row: &ActionRow) -> Action {
    Action { id: row.id.clone(), state: row.state, in_flight: row.in_flight, updated_at: row.updated_at }
}

/// Carries a plan into the store.
struct Actor<'a> {
    tx: &'a Tx<'a>,
    judgement: &'a Judgement,
    decision: &'a Decision,
    decision_id: i64,
    group: &'a Group,
    context: &'a Context<'a>,
}

impl Actor<'_> {
    fn act(&self, plan: Plan, newest: Option<&ActionRow>) -> Result<Option<Step>, StoreError> {
        // What is over stays as it is; what comes next is another action.
        let live = newest.filter(|action| matches!(action.state, ActionState::Held | ActionState::Proposed));
        match (plan, live) {
            (Plan::Nothing, _) | (Plan::Withdraw { .. }, None) => Ok(None),
            (Plan::Hold { reason }, Some(held))
                if held.state == ActionState::Held && held.reason == reason =>
            {
                self.tx.renew_action(&held.id, self.decision.action, self.decision_id)?;
                Ok(None)
            }
            (Plan::Hold { reason }, live) => self.step(live, ActionState::Held, reason).map(Some),
            (Plan::Order { reason }, live) => {
                let step = self.step(live, ActionState::Proposed, reason)?;
                self.put_order(&step.action)?;
                Ok(Some(step))
            }
            (Plan::Withdraw { reason }, Some(live)) => {
                let reason = match self.tx.deliveries(&live.id)?.len() {
                    0 => reason,
                    // A platform that did not answer may yet have understood.
                    tries => {
                        format!("{reason}; the platform had confirmed none of {tries} tries to order it")
                    }
                };
                self.step(Some(live), ActionState::Withdrawn, reason).map(Some)
            }
        }
    }

    /// Begins an action, or takes the live one further. An order that waits is
    /// taken back; the new place may put in another.
    fn step(&self, live: Option<&ActionRow>, state: ActionState, reason: String) -> Result<Step, StoreError> {
        let Context { now, new_id, .. } = *self.context;
        let Some(live) = live else {
            let id = new_id();
            let action = NewAction {
                id: &id,
                node: &self.judgement.node.node,
                group: &self.group.name,
                verdict: self.decision.action,
                decision_id: self.decision_id,
            };
            self.tx.insert_action(&action, state, &reason, now)?;
            return Ok(Step { action: id, state, reason, was_open: false });
        };
        if state != ActionState::Withdrawn {
            self.tx.renew_action(&live.id, self.decision.action, self.decision_id)?;
        }
        self.tx.remove_order(&live.id)?;
        self.tx.move_action(&live.id, state, &reason, now)?;
        Ok(Step { action: live.id.clone(), state, reason, was_open: live.state.is_open() })
    }

    /// Fixes the bytes of the order.
    fn put_order(&self, action: &str) -> Result<(), StoreError> {
        let now = self.context.now;
        let order = self.judgement.order(action, self.decision, self.group, now);
        let body = serde_json::to_vec(&order).expect("orders always serialise");
        let webhook = self.group.webhook.as_deref().expect("a group with the mode replace has a webhook");
        let first = self.context.config.retry_schedule.first().copied().unwrap_or_default();
        let due = now.checked_add(first).unwrap_or(now);
        self.tx.insert_order(action, webhook, &body, due)
    }
}
