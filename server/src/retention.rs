//! Retention: records are removed once they are as old as the configuration says; without
//! it, never. The leader does it, every hour, and takes at most half of the writer's time.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::Retention;
use crate::ingest::chain_of;
use crate::metrics::ByWord;
use crate::serve::stopped;
use crate::store::{SHELVES, Shelf, Store, StoreError};

/// How often it is looked for what is old enough.
const EVERY: Duration = Duration::from_hours(1);
/// Collectors that wrote nothing for so long are gone. One that is merely idle writes when it
/// is asked whether it is ready.
const GONE_AFTER: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Removes what is old enough.
pub(crate) struct Remover {
    pub(crate) store: Store,
    pub(crate) periods: Retention,
    pub(crate) clock: Clock,
    /// How many records were removed, by kind.
    pub(crate) removed: ByWord,
}

impl Remover {
    /// Removes again and again, until the term is over.
    pub(crate) async fn run(self, mut over: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = stopped(&mut over) => return,
                removed = self.remove() => if let Err(error) = removed {
                    warn!("old records are not removed: {}", chain_of(&error));
                },
            }
            if timeout(EVERY, stopped(&mut over)).await.is_ok() {
                return;
            }
        }
    }

    /// Removes all that is old enough now.
    pub(crate) async fn remove(&self) -> Result<(), StoreError> {
        let now = (self.clock)();
        self.store.write("forget collectors", move |tx| tx.forget_writers(before(now, GONE_AFTER))).await?;
        for shelf in SHELVES {
            let Some(period) = self.periods.of(shelf.kind) else { continue };
            let removed = self.clear(shelf, before(now, period)).await?;
            if removed > 0 {
                info!(kind = shelf.kind.name(), removed, "removed records older than {period:#}");
            }
        }
        let removed = self.store.remove_unnamed(now).await?;
        if removed > 0 {
            info!(removed, "removed blobs of reports that are gone, or were never taken");
        }
        Ok(())
    }

    async fn clear(&self, shelf: &'static Shelf, before: Timestamp) -> Result<u64, StoreError> {
        let (mut after, mut removed) = (i64::MIN, 0);
        loop {
            let begun = Instant::now();
            let clearing = self.store.write("remove old records", move |tx| tx.clear(shelf, after, before));
            let cleared = clearing.await?;
            removed += cleared.removed;
            self.removed.get_or_create(&[("kind", shelf.kind.name())]).inc_by(cleared.removed);
            let Some(next) = cleared.next else { return Ok(removed) };
            after = next;
            tokio::time::sleep(begun.elapsed()).await;
        }
    }
}

/// The time that lies so long before another, or the earliest that there is.
fn before(now: Timestamp, period: SignedDuration) -> Timestamp {
    now.checked_sub(period).unwrap_or(Timestamp::MIN)
}
