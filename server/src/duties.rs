//! What a leader does: it judges, looks for silence, dispatches, and removes what is old.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::computing::Computing;
use crate::config::Config;
use crate::dispatch::{Outbox, WebhookDriver};
use crate::ingest::Fresh;
use crate::judge::{Judge, Signals};
use crate::leader::Term;
use crate::liveness::{FLUSH_INTERVAL, Liveness};
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::retention::Remover;
use crate::serve::{new_action_id, random};

/// What it is done with.
pub(crate) struct Duties {
    pub(crate) config: Arc<Config>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) clock: Clock,
    pub(crate) driver: Arc<WebhookDriver>,
    pub(crate) signals: Signals,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) fresh: Arc<Fresh>,
    pub(crate) metrics: Metrics,
    pub(crate) computing: Computing,
}

impl Duties {
    /// Begins all of it, for as long as a term lasts.
    pub(crate) fn begin(&self, term: Term) -> JoinSet<()> {
        let Term { store, over } = term;
        // What was planned in a term before lets no order out in this one.
        let signals = Signals { planned: Arc::default(), ..self.signals.clone() };
        let flushed = SignedDuration::try_from(FLUSH_INTERVAL).unwrap_or_default();
        let lag = if store.is_shared() { flushed } else { SignedDuration::ZERO };
        let judge = Judge {
            config: Arc::clone(&self.config),
            store: store.clone(),
            policy: Arc::clone(&self.policy),
            clock: Arc::clone(&self.clock),
            new_id: new_action_id,
            ready: (self.clock)(),
            signals: signals.clone(),
            liveness: Arc::clone(&self.liveness),
            fresh: Arc::clone(&self.fresh),
            lag,
            metrics: self.metrics.judging.clone(),
            computing: self.computing.clone(),
        };
        let remover = Remover {
            store: store.clone(),
            periods: self.config.retention.clone(),
            clock: Arc::clone(&self.clock),
            removed: self.metrics.removed.clone(),
        };
        let outbox = Arc::new(Outbox {
            store,
            driver: Arc::clone(&self.driver),
            schedule: self.config.retry_schedule.clone(),
            clock: Arc::clone(&self.clock),
            random,
            signals,
            metrics: self.metrics.deliveries.clone(),
        });
        let mut parts = JoinSet::new();
        let judge_over = over.clone();
        parts.spawn(async move { judge.run(judge_over).await });
        parts.spawn(remover.run(over.clone()));
        parts.spawn(outbox.run(over));
        parts
    }
}
