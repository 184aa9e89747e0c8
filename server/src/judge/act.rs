//! From a plan to actions and orders in the store. A platform that did not
//! confirm an order may have it all the same: what is held or given up says so.

use congruent_protocol::action::ActionState;
use congruent_protocol::decision::Decision;
use jiff::Timestamp;

use super::conclude::Context;
use super::judgement::Judgement;
use crate::config::Group;
use crate::plan::{Plan, is_action, waits};
use crate::store::{ActionRow, NewAction, StoreError, Tx};
use crate::subject::SubjectId;

/// An action's next place in life.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) action: String,
    pub(super) state: ActionState,
    pub(super) reason: String,
    pub(super) was_open: bool,
}

impl Step {
    fn of(live: &ActionRow, state: ActionState, reason: String) -> Self {
        Self { action: live.id.clone(), state, reason, was_open: live.state.is_open() }
    }
}

/// Carries a plan into the store.
pub(super) struct Actor<'a> {
    pub(super) tx: &'a Tx<'a>,
    pub(super) judgement: &'a Judgement,
    pub(super) decision_id: i64,
    pub(super) group: &'a Group,
    pub(super) context: &'a Context<'a>,
}

impl Actor<'_> {
    /// Takes the subject's newest action where the plan says, or begins another.
    pub(super) fn act(&self, plan: Plan, newest: Option<&ActionRow>) -> Result<Vec<Step>, StoreError> {
        // What is over stays as it is; what comes next is another action.
        let live = newest.filter(|action| waits(action.state));
        match (plan, live) {
            (Plan::Nothing, Some(live)) if live.state == ActionState::Proposed => self.redirect(live),
            (Plan::Nothing, _) | (Plan::Withdraw { .. }, None) => Ok(Vec::new()),
            (Plan::Hold { reason }, None) => Ok(vec![self.begin(ActionState::Held, reason)?]),
            (Plan::Hold { reason }, Some(live)) => self.hold(live, admit(self.tx, live, reason)?),
            (Plan::Order { reason }, live) => {
                let step = match live {
                    Some(live) => self.advance(live, ActionState::Proposed, reason)?,
                    None => self.begin(ActionState::Proposed, reason)?,
                };
                self.put_order(&step.action)?;
                Ok(vec![step])
            }
            (Plan::Withdraw { reason }, Some(live)) => Ok(vec![self.withdraw(live, reason)?]),
            (Plan::Supersede { next, .. }, None) => self.act(*next, None),
            (Plan::Supersede { reason, next }, Some(live)) => {
                let mut steps = vec![self.withdraw(live, reason)?];
                steps.extend(self.act(*next, None)?);
                Ok(steps)
            }
        }
    }

    fn withdraw(&self, live: &ActionRow, reason: String) -> Result<Step, StoreError> {
        let reason = withdraw(self.tx, live, reason, self.context.now)?;
        Ok(Step::of(live, ActionState::Withdrawn, reason))
    }

    fn begin(&self, state: ActionState, reason: String) -> Result<Step, StoreError> {
        let Context { now, new_id, .. } = *self.context;
        let id = new_id();
        let action = NewAction {
            id: &id,
            subject: &self.judgement.subject.id,
            group: &self.group.name,
            verdict: self.decision().action,
            decision_id: self.decision_id,
        };
        self.tx.insert_action(&action, state, &reason, now)?;
        Ok(Step { action: id, state, reason, was_open: false })
    }

    fn hold(&self, live: &ActionRow, reason: String) -> Result<Vec<Step>, StoreError> {
        if live.state == ActionState::Held && live.reason == reason {
            return self.renew(live).map(|()| Vec::new());
        }
        Ok(vec![self.advance(live, ActionState::Held, reason)?])
    }

    fn advance(&self, live: &ActionRow, state: ActionState, reason: String) -> Result<Step, StoreError> {
        self.renew(live)?;
        self.tx.move_action(&live.id, state, &reason, self.context.now)?;
        Ok(Step::of(live, state, reason))
    }

    /// Lets an action that is not over carry out the newest decision that calls for one. An
    /// order that no platform can have is taken back; one that may be known keeps its bytes,
    /// and the decision that they carry out. Where policy says something else by now, it is
    /// superseded.
    fn renew(&self, live: &ActionRow) -> Result<(), StoreError> {
        let Some(verdict) = self.judgement.verdict().filter(|verdict| is_action(*verdict)) else {
            return Ok(());
        };
        if !self.tx.deliveries(&live.id)?.is_empty() {
            return Ok(());
        }
        self.tx.remove_order(&live.id)?;
        self.tx.renew_action(&live.id, verdict, self.decision_id)
    }

    /// Lets an order that waits follow its group to another webhook.
    fn redirect(&self, live: &ActionRow) -> Result<Vec<Step>, StoreError> {
        let Some(webhook) = &self.group.webhook else { return Ok(Vec::new()) };
        if !self.tx.redirect_order(&live.id, webhook)? {
            return Ok(Vec::new());
        }
        let reason = format!("the group's webhook is {webhook} now, and takes the order");
        self.tx.move_action(&live.id, ActionState::Proposed, &reason, self.context.now)?;
        Ok(vec![Step::of(live, ActionState::Proposed, reason)])
    }

    /// Fixes the bytes of the order.
    fn put_order(&self, action: &str) -> Result<(), StoreError> {
        let now = self.context.now;
        let order = self.judgement.order(action, self.decision(), self.group, now);
        let body = serde_json::to_vec(&order).expect("orders always serialise");
        let webhook = self.group.webhook.as_deref().expect("a group with the mode replace has a webhook");
        let first = self.context.config.retry_schedule.first().copied().unwrap_or_default();
        let due = now.checked_add(first).unwrap_or(now);
        self.tx.insert_order(action, webhook, &body, due)
    }

    fn decision(&self) -> &Decision {
        self.judgement.outcome.as_ref().expect("a policy that fails begins and orders nothing")
    }
}

/// Gives an action up that the platform has not confirmed; gives the whole reason.
pub(super) fn withdraw(
    tx: &Tx<'_>,
    live: &ActionRow,
    reason: String,
    now: Timestamp,
) -> Result<String, StoreError> {
    let reason = admit(tx, live, reason)?;
    tx.remove_order(&live.id)?;
    tx.move_action(&live.id, ActionState::Withdrawn, &reason, now)?;
    Ok(reason)
}

/// Holds the order of a subject, unless it is being delivered.
pub(super) fn hold_order(
    tx: &Tx<'_>,
    subject: &SubjectId,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let waits = |action: &ActionRow| action.state == ActionState::Proposed && !action.in_flight;
    let Some(live) = tx.newest_action(subject)?.filter(waits) else { return Ok(()) };
    let reason = admit(tx, &live, reason.to_owned())?;
    tx.move_action(&live.id, ActionState::Held, &reason, now)
}

/// Adds to a reason that a platform which did not confirm the order may yet
/// have understood it.
fn admit(tx: &Tx<'_>, live: &ActionRow, reason: String) -> Result<String, StoreError> {
    Ok(match tx.deliveries(&live.id)?.len() {
        0 => reason,
        1 => format!("{reason}; the platform may have the order: it had not confirmed the one try"),
        tries => {
            format!("{reason}; the platform may have the order: it had confirmed none of {tries} tries")
        }
    })
}
