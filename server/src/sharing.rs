//! Takes into memory what other collectors on the same store changed: who is enrolled,
//! what groups accept, who the operators are.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::blobs::Blobs;
use crate::config::Config;
use crate::groups;
use crate::ingest::chain_of;
use crate::judge::Signals;
use crate::liveness::Liveness;
use crate::operators::Operators;
use crate::serve::stopped;
use crate::store::{Changes, Sharing, Store};

/// How often others' changes are looked for, where nothing is written meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What is kept in memory of the store.
pub(crate) struct InMemory {
    pub(crate) config: Arc<Config>,
    pub(crate) operators: Arc<Operators>,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) blobs: Blobs,
    pub(crate) signals: Signals,
    /// Where what waits for a bucket runs.
    pub(crate) runtime: Handle,
}

impl Sharing for InMemory {
    fn take_in(&self, changes: Changes) -> Result<(), Box<dyn Error + Send + Sync>> {
        let changed: Vec<_> = changes
            .groups
            .into_iter()
            .filter(|row| {
                let known = self.config.groups.get(&row.name);
                known.is_none_or(|known| known.version.is_some_and(|version| version < row.version))
            })
            .collect();
        for row in &changed {
            let building = groups::build(row, &self.config, &self.blobs);
            let group = self.runtime.block_on(building)?;
            info!(group = row.name, version = row.version, "another collector changed the group");
            self.config.groups.put(Arc::new(group));
            self.config.groups.mark_changed(&row.name);
            self.signals.group.notify_one();
        }
        for gone in self.config.groups.stored().difference(&changes.standing) {
            self.config.groups.remove(gone);
        }
        for row in &changes.enrolments {
            self.liveness.forget(&row.node);
            self.config.nodes.apply(row);
        }
        changes.operators.into_iter().for_each(|row| self.operators.put(row));
        Ok(())
    }
}

/// Looks for others' changes until the collector stops, so that what only reads knows
/// them as well.
pub(crate) async fn watch_others(store: Store, mut stop: watch::Receiver<bool>) {
    while store.is_shared() {
        if timeout(LOOK_INTERVAL, stopped(&mut stop)).await.is_ok() {
            return;
        }
        if let Err(error) = store.take_in_others().await {
            warn!("cannot take in what other collectors changed: {}", chain_of(&error));
        }
    }
    stopped(&mut stop).await;
}
