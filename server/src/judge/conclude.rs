//! The conclusion of a judgement: decision and plan, recorded together in one
//! transaction.

use congruent_protocol::action::ActionState;
use congruent_protocol::decision::Verdict;
use jiff::Timestamp;
use tracing::{info, warn};

use super::act::{Actor, Step};
use super::judgement::Judgement;
use crate::config::{Config, Group, Mode};
use crate::plan::{Action, FullSweep, Other, Plan, Situation, is_idle, plan};
use crate::store::{ActionRow, ReportRow, StoreError, SubjectRow, Tx};
use crate::subject::SubjectId;

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
    steps: Vec<Step>,
}

impl Conclusion {
    /// Whether an order waits to be delivered.
    pub(super) fn has_order(&self) -> bool {
        self.steps.iter().any(|step| step.state == ActionState::Proposed)
    }

    /// Whether the group's budget is free again.
    pub(super) fn frees_budget(&self) -> bool {
        self.steps.iter().any(|step| step.was_open && !step.state.is_open())
    }

    /// What the recorded decision calls for, if one was recorded.
    pub(super) fn verdict(&self) -> Option<&'static str> {
        let (_, outcome) = self.decision.as_ref()?;
        Some(outcome.as_ref().map_or("failed", |verdict| verdict.name()))
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
        for Step { action, state, reason, .. } in &self.steps {
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
    let id = &judgement.subject.id;
    let group = context.config.group_of(&id.node);
    // The group was changed meanwhile: the report is read again, and its nodes
    // are judged anew in any case.
    if group.as_ref().is_some_and(|group| !judgement.was_in(group)) {
        return Ok(Conclusion::default());
    }
    if let Some(report) = judgement.judged_report() {
        tx.mark_judged(report, judgement.verdict())?;
    }
    let (Some(subject), Some(group)) = (tx.subject(id)?, group.as_deref()) else {
        return Ok(Conclusion::default());
    };
    // Whatever came in between is judged on its own, and that is planned from.
    let is_same = (subject.generation, subject.report_id)
        == (judgement.subject.generation, judgement.subject.report_id);
    let is_current = is_same && judgement.was_current();
    // Without a report the node has enrolled anew, and the judged one is its predecessor's.
    if !is_current && (!judgement.is_about_report || subject.report_id.is_none()) {
        return Ok(Conclusion::default());
    }
    let action = tx.newest_action(id)?;
    let plan = match is_current {
        true => make_plan(tx, judgement, group, action.as_ref(), context)?,
        false => Plan::Nothing,
    };
    let turns = is_turn(&plan, action.as_ref());
    let recorded = match subject.decision_id {
        Some(last) if !turns && !is_news(tx, judgement, &subject, last)? => None,
        _ => {
            let input = judgement.input_json();
            Some(tx.insert_decision(&judgement.decision(group, &input, context.now), &input)?)
        }
    };
    let Some(decision_id) = recorded.or(subject.decision_id) else { return Ok(Conclusion::default()) };
    if recorded.is_some() || subject.decision_key.as_ref() != Some(&judgement.key) {
        let outcome = judgement.outcome.as_ref().map(|decision| decision.action).map_err(String::as_str);
        tx.set_decision(id, decision_id, &judgement.key, outcome)?;
    }
    let outcome = judgement.outcome.as_ref().map(|decision| decision.action).map_err(Clone::clone);
    let steps = match is_current {
        true => Actor { tx, judgement, decision_id, group, context }.act(plan, action.as_ref())?,
        false => Vec::new(),
    };
    Ok(Conclusion { decision: recorded.map(|decision_id| (decision_id, outcome)), steps })
}

/// Whether the decision is another than the last, or stands on other ground. A
/// clean sweep that is like the one before it is not.
fn is_news(tx: &Tx<'_>, judgement: &Judgement, subject: &SubjectRow, last: i64) -> Result<bool, StoreError> {
    match &subject.decision_key {
        Some(key) if *key == judgement.key => Ok(false),
        // Before keys told what was decided, they had the ground alone.
        Some(key) if *key == judgement.ground => {
            let last = tx.decision(last)?;
            Ok(last.is_none_or(|last| last.decision.outcome != judgement.outcome))
        }
        _ => Ok(true),
    }
}

/// Whether a plan turns the course of things, so that its decision is recorded
/// with the very report that brought it about.
fn is_turn(plan: &Plan, action: Option<&ActionRow>) -> bool {
    match plan {
        Plan::Nothing => false,
        Plan::Hold { .. } => action.is_none_or(|action| action.state != ActionState::Held),
        Plan::Order { .. } | Plan::Withdraw { .. } | Plan::Supersede { .. } => true,
    }
}

fn make_plan(
    tx: &Tx<'_>,
    judgement: &Judgement,
    group: &Group,
    action: Option<&ActionRow>,
    context: &Context<'_>,
) -> Result<Plan, StoreError> {
    let id = &judgement.subject.id;
    if is_idle(judgement.verdict(), action.map(|row| row.state)) {
        return Ok(Plan::Nothing);
    }
    let is_mended = action.is_some_and(|row| judgement.mended == Some(row.decision_id));
    let action = action.map(|row| of_row(tx, row)).transpose()?;
    let (sweeps, failed, open) = match group.mode {
        // Nothing is ordered for that reason alone, and no other is looked at.
        Mode::ReportOnly => (Vec::new(), None, Vec::new()),
        Mode::Replace => {
            let failed = tx.newest_failed_action(id)?.map(|row| of_row(tx, &row)).transpose()?;
            (tx.newest_full_sweeps(id, CONFIRMING_SWEEPS)?, failed, tx.open_actions()?)
        }
    };
    // Nodes are in the group that they are configured in, whatever it was called
    // when their actions began. A node that is not configured any more, because
    // it was replaced under another id, takes no budget: nobody would ever close
    // its action.
    let is_member = |node: &str| context.config.group_of(node).is_some_and(|other| other.name == group.name);
    // A node does not wait for containers, which nodes tell of themselves.
    let takes_budget = |other: &SubjectId| match (&id.container, &other.container) {
        (None, None) | (Some(_), Some(_)) => is_member(&other.node),
        (Some(_), None) => other.node == id.node,
        (None, Some(_)) => false,
    };
    let others = open.into_iter().filter(|other| other.subject != *id && takes_budget(&other.subject));
    Ok(plan(&Situation {
        now: context.now,
        subject: id,
        group: &group.name,
        mode: group.mode,
        state: judgement.state,
        is_mended,
        verdict: judgement.verdict(),
        target: judgement.target(),
        age_on_arrival: judgement.age_on_arrival(),
        since_arrival: judgement.since_arrival(context.now),
        fresh_within: context.config.silent_after,
        full_sweeps: &sweeps.iter().map(full_sweep).collect::<Vec<_>>(),
        action: action.as_ref(),
        failed: failed.as_ref(),
        others: &others.map(|other| Other { id: other.id, subject: other.subject }).collect::<Vec<_>>(),
    }))
}

fn full_sweep(row: &ReportRow) -> FullSweep {
    FullSweep {
        chain: row.report.chain,
        sequence: row.report.sequence,
        swept: row.report.swept,
        state: row.report.state,
        manifest_root: row.report.manifest.as_ref().map(|manifest| manifest.root),
        findings: (row.report.findings_digest, row.report.beside),
        called_for_action: row.verdict >= Some(Verdict::Quarantine),
    }
}

fn of_row(tx: &Tx<'_>, row: &ActionRow) -> Result<Action, StoreError> {
    let ActionRow { verdict, state, in_flight, updated_at, .. } = *row;
    let (target, is_tried) = (tx.target_of(row)?, !tx.deliveries(&row.id)?.is_empty());
    Ok(Action { id: row.id.clone(), verdict, target, state, is_tried, in_flight, updated_at })
}
