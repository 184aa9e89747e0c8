//! The outbox: tries what is due, again and again by the schedule.

use std::sync::Arc;
use std::time::Duration;

use congruent_protocol::action::{ActionState, OrderTarget};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument, error, info, info_span, warn};

use super::schedule::delay_after;
use super::{Driver, Order, Outcome};
use crate::clock::Clock;
use crate::ingest::chain_of;
use crate::judge::Signals;
use crate::metrics::{Deliveries, Stopwatch, count};
use crate::serve::stopped;
use crate::store::{ActionRow, DueDelivery, Store, StoreError, Tx};

/// How many deliveries are under way at once.
const AT_ONCE: u32 = 16;
/// The longest sleep between looks at the outbox: clocks may be set, and the
/// store may have failed.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How long deliveries under way are waited for when the collector stops.
const GRACE: Duration = Duration::from_secs(5);

/// Why an order is held whose try failed.
const TURNED: &str =
    "policy does not call for it as it did before the try; the order waits until it is planned anew";

/// Delivers orders.
pub(crate) struct Outbox<D> {
    pub(crate) store: Store,
    pub(crate) driver: Arc<D>,
    pub(crate) schedule: Vec<Duration>,
    pub(crate) clock: Clock,
    /// A number from 0 to 1.
    pub(crate) random: fn() -> f64,
    pub(crate) signals: Signals,
    pub(crate) metrics: Deliveries,
}

impl<D: Driver> Outbox<D> {
    /// Delivers until the collector stops, once all was planned anew.
    pub(crate) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut under_way = JoinSet::new();
        if !self.resume(&mut stop).await {
            return;
        }
        // What was ordered under another configuration may no longer be called for.
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = self.signals.planned.notified() => {}
        }
        loop {
            let sleep = match self.begin_due(&mut under_way).await {
                Ok(sleep) => sleep,
                Err(failure) => {
                    error!("cannot read the outbox now, and will try again: {}", chain_of(&failure));
                    LONGEST_SLEEP
                }
            };
            tokio::select! {
                () = stopped(&mut stop) => break,
                () = self.signals.order.notified() => {}
                Some(_) = under_way.join_next() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
        // What is not over by then is sent again after the next start, under
        // the same id.
        let _ = tokio::time::timeout(GRACE, async { while under_way.join_next().await.is_some() {} }).await;
    }

    /// Has what was under way when whoever did this before ended be due again; gives
    /// whether it was done before the collector stops.
    async fn resume(&self, stop: &mut watch::Receiver<bool>) -> bool {
        loop {
            let now = (self.clock)();
            let resuming = self.store.write("resume deliveries", move |tx| tx.resume_deliveries(now));
            let Err(failure) = resuming.await else { return true };
            error!("cannot resume deliveries now, and will try again: {}", chain_of(&failure));
            if tokio::time::timeout(LONGEST_SLEEP, stopped(stop)).await.is_ok() {
                return false;
            }
        }
    }

    /// Begins what is due; gives how long nothing else will be.
    async fn begin_due(self: &Arc<Self>, under_way: &mut JoinSet<()>) -> Result<Duration, StoreError> {
        let now = (self.clock)();
        let room = AT_ONCE.saturating_sub(u32::try_from(under_way.len()).unwrap_or(u32::MAX));
        // Reads first, so that an idle collector writes nothing.
        let looking = self
            .store
            .read("look for deliveries", move |view| Ok(view.next_delivery_at()?.filter(|_| room > 0)));
        let Some(next) = looking.await? else { return Ok(LONGEST_SLEEP) };
        if next > now {
            let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
            return Ok(wait.min(LONGEST_SLEEP));
        }
        let due = self.store.write("begin deliveries", move |tx| tx.begin_deliveries(now, room)).await?;
        for delivery in due {
            let outbox = Arc::clone(self);
            let DueDelivery { action_id: id, webhook, attempt, .. } = &delivery;
            let span = info_span!("action", id, webhook, attempt);
            under_way.spawn(async move { outbox.deliver(delivery).await }.instrument(span));
        }
        Ok(Duration::ZERO)
    }

    async fn deliver(&self, delivery: DueDelivery) {
        let order = Order { id: delivery.action_id.clone(), body: delivery.body.clone() };
        let begun = Stopwatch::start();
        let outcome = self.driver.deliver(&delivery.webhook, order, (self.clock)()).await;
        let verdict = Verdict::of(&outcome, delivery.attempt, &self.schedule, (self.random)());
        begun.stop(&self.metrics.took);
        count(&self.metrics.by_outcome, "outcome", verdict.name());
        verdict.log();
        let now = (self.clock)();
        let recording = self.store.write("record a delivery", move |tx| verdict.record(tx, &delivery, now));
        match recording.await {
            Ok(true) => self.signals.budget.notify_one(),
            Ok(false) => {}
            // It stays under way until the next start, and is then sent again.
            Err(failure) => error!("cannot record a delivery: {}", chain_of(&failure)),
        }
    }
}

/// What follows from a try.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Dispatched { reason: String },
    Over { reason: String },
    Again { why: String, after: Duration },
}

impl Verdict {
    fn of(outcome: &Outcome, attempt: u32, schedule: &[Duration], random: f64) -> Self {
        match outcome {
            Outcome::Accepted { answer } => Self::Dispatched { reason: answer.clone() },
            Outcome::Gone { why } => Self::Over { reason: why.clone() },
            Outcome::Failed { why, retry_after } => {
                match delay_after(attempt, schedule, *retry_after, random) {
                    Some(after) => Self::Again { why: why.clone(), after },
                    None => Self::Over { reason: format!("{why}; that was try {attempt}, the last") },
                }
            }
        }
    }

    /// The word for metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Dispatched { .. } => "accepted",
            Self::Over { .. } => "given-up",
            Self::Again { .. } => "retried",
        }
    }

    fn log(&self) {
        match self {
            Self::Dispatched { reason } => info!("order delivered: {reason}"),
            Self::Over { reason } => error!("order given up: {reason}"),
            Self::Again { why, after } => {
                warn!(next_in_seconds = after.as_secs(), "order not delivered: {why}");
            }
        }
    }

    /// Gives whether the order takes its group's budget no more.
    fn record(&self, tx: &Tx<'_>, delivery: &DueDelivery, now: Timestamp) -> Result<bool, StoreError> {
        let id = &delivery.action_id;
        let (outcome, next) = match self {
            Self::Dispatched { reason } | Self::Over { reason } => (reason, now),
            Self::Again { why, after } => (why, now.checked_add(*after).unwrap_or(Timestamp::MAX)),
        };
        tx.end_delivery(delivery, now, outcome, next)?;
        // A container may be gone before its platform says so: what is given up stays so.
        let Some(action) = tx.action(id)?.filter(|action| action.state == ActionState::Proposed) else {
            return Ok(false);
        };
        let (state, reason) = match self {
            Self::Dispatched { reason } => (ActionState::Dispatched, reason.as_str()),
            Self::Over { reason } => (ActionState::Failed, reason.as_str()),
            // While it was under way, nobody could take it back.
            Self::Again { .. } if !is_called_for(tx, &action)? => (ActionState::Held, TURNED),
            Self::Again { .. } => return Ok(false),
        };
        tx.move_action(id, state, reason, now)?;
        Ok(!state.is_open())
    }
}

/// Whether the decision that stands calls for what an order says.
fn is_called_for(tx: &Tx<'_>, action: &ActionRow) -> Result<bool, StoreError> {
    let Some(decision) = tx.subject(&action.subject)?.and_then(|row| row.decision_id) else {
        return Ok(true);
    };
    let decision = tx.decision(decision)?.and_then(|row| row.decision.outcome.ok());
    let is_container = action.subject.container.is_some();
    let call = decision.map(|decision| (decision.action, OrderTarget::of(decision.target, is_container)));
    Ok(call == Some((action.verdict, tx.target_of(action)?)))
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
