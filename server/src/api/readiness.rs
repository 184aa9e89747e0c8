//! Whether requests had better come here: the store takes a write in time, its schema
//! is the one that this program knows, no queue is nearly full, and the collector is not
//! on its way out.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::body::Lane;
use crate::clock::Clock;
use crate::ingest::chain_of;
use crate::store::Store;

/// How long a write may take before the collector is not ready.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long an outcome is given again: who asks more often writes no more often.
const FRESH: Duration = Duration::from_secs(1);
/// From how much of its room on a queue counts as full, in percent.
const FULL_PERCENT: usize = 80;

/// What is looked at.
pub(super) struct Readiness {
    store: Store,
    clock: Clock,
    lanes: [(&'static str, Lane); 2],
    /// True once the collector is to stop.
    draining: watch::Receiver<bool>,
    /// Held while a look is under way, so that there is one at a time.
    last: Mutex<Option<(Instant, Vec<Check>)>>,
}

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) ok: bool,
    /// What was found, in the unit that the name ends with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<u64>,
    /// What it may be at most; of the schema, what it must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<u64>,
    /// Why it does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

impl Check {
    fn holds(name: &'static str, value: u64, limit: u64) -> Self {
        Self { name, ok: true, value: Some(value), limit: Some(limit), message: None }
    }

    fn fails(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, ok: false, value: None, limit: None, message: Some(message.into()) }
    }
}

/// For how long after a write found no room the collector is not ready.
const FULL_FOR: Duration = Duration::from_secs(30);

impl Readiness {
    pub(super) fn new(
        store: Store,
        clock: Clock,
        lanes: [(&'static str, Lane); 2],
        draining: watch::Receiver<bool>,
    ) -> Self {
        Self { store, clock, lanes, draining, last: Mutex::default() }
    }

    /// Every check, in the same order each time.
    pub(super) async fn checks(&self) -> Vec<Check> {
        let mut checks = vec![self.running()];
        let mut last = self.last.lock().await;
        if let Some((at, known)) = &*last
            && at.elapsed() < FRESH
        {
            checks.extend_from_slice(known);
            return checks;
        }
        // Before the probe, which would be one of them.
        let mut looked: Vec<_> = self.lanes.iter().map(|(name, lane)| lane_check(name, lane)).collect();
        looked.push(self.waiting());
        // At once: a store that is away is to be told of in time.
        let (probe, schema) = tokio::join!(self.probe(), self.schema());
        looked.extend([probe, schema]);
        checks.extend_from_slice(&looked);
        *last = Some((Instant::now(), looked));
        checks
    }

    fn running(&self) -> Check {
        match *self.draining.borrow() {
            false => Check { name: "running", ok: true, value: None, limit: None, message: None },
            true => Check::fails("running", "the collector is stopping"),
        }
    }

    fn waiting(&self) -> Check {
        let (waiting, capacity) = self.store.queue();
        let message = "the store cannot keep up: its disk is slow, or there is too much to do";
        bounded("store-writes-waiting", waiting, capacity, message)
    }

    async fn probe(&self) -> Check {
        let (name, now, begun) = ("store-write-milliseconds", (self.clock)(), Instant::now());
        let writing = self.store.write("write a probe", move |tx| tx.probe(now));
        match timeout(PROBE_TIMEOUT, writing).await {
            // There may be room for this one, and for no report.
            Ok(Ok(())) if self.store.was_full_within(FULL_FOR) => {
                Check::fails(name, "the disk was full a moment ago, and may be: make room on it")
            }
            Ok(Ok(())) => Check::holds(name, millis(begun.elapsed()), millis(PROBE_TIMEOUT)),
            Ok(Err(error)) => Check::fails(name, chain_of(&error)),
            Err(_) => Check::fails(name, "the store does not take writes in time"),
        }
    }

    async fn schema(&self) -> Check {
        let name = "store-schema-version";
        let reading = self.store.read("read the schema's version", |view| {
            view.schema_version().map(|(found, known)| (found, known, found == known))
        });
        match timeout(PROBE_TIMEOUT, reading).await {
            Ok(Ok((found, known, true))) => Check::holds(name, found, known),
            Ok(Ok((found, known, false))) => Check {
                value: Some(found),
                limit: Some(known),
                ..Check::fails(name, "another program has changed the database; run the one that did")
            },
            Ok(Err(error)) => Check::fails(name, chain_of(&error)),
            Err(_) => Check::fails(name, "the store does not answer in time"),
        }
    }
}

fn lane_check(name: &'static str, lane: &Lane) -> Check {
    bounded(name, lane.used_bytes(), lane.capacity_bytes(), "more bodies come in than can be taken")
}

/// Whether `used` of `capacity` is not nearly all of it.
fn bounded(name: &'static str, used: usize, capacity: usize, message: &str) -> Check {
    let limit = capacity / 100 * FULL_PERCENT + capacity % 100 * FULL_PERCENT / 100;
    let check = Check::holds(name, used as u64, limit as u64);
    match used <= limit {
        true => check,
        false => Check { ok: false, message: Some(message.to_owned()), ..check },
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_full_beyond_four_fifths() {
        for (used, capacity, ok) in [(0, 256, true), (204, 256, true), (205, 256, false), (1, 0, false)] {
            assert_eq!(bounded("queue", used, capacity, "full").ok, ok, "{used} of {capacity}");
        }
    }
}
