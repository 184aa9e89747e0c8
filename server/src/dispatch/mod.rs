//! Dispatch: from an order in the outbox to a platform that has it.
//!
//! At least once, under the same id and with the same bytes at every try, also
//! across restarts. What is under way is noted before it is sent. Nothing is
//! decided here: which orders there are is the plan's business.

mod outbox;
mod schedule;
mod signature;
mod webhook;

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;

pub(crate) use outbox::Outbox;
pub(crate) use schedule::STANDARD_SCHEDULE;
pub(crate) use webhook::WebhookDriver;

/// What turns orders into calls of a platform.
pub(crate) trait Driver: Send + Sync + 'static {
    /// Hands an order over. Drivers know how to reach what the configuration
    /// calls `target`; orders never say.
    fn deliver(&self, target: &str, order: Order, at: Timestamp) -> impl Future<Output = Outcome> + Send;
}

/// An order, ready to be handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// The action; the same at every try.
    pub(crate) id: String,
    /// The same bytes at every try.
    pub(crate) body: Vec<u8>,
}

/// What became of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The platform has the order.
    Accepted { answer: String },
    /// The platform will never take it.
    Gone { why: String },
    /// It may work later; perhaps the platform said when.
    Failed { why: String, retry_after: Option<Duration> },
}
