//! What the service manager is told, where there is one: systemd, by its notify socket.
//!
//! The watchdog is fed by writes that came to an end. A writer that hangs, in a disk or
//! in a lock, is thus found out and the collector started anew; a request that hangs is
//! not, and neither is a disk that is full: nothing would be better afterwards.

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::clock::Clock;
use crate::ingest::chain_of;
use crate::store::{Store, StoreError};

/// How many times the watchdog is fed within the time that it waits.
const FEEDS: u32 = 4;

/// Requests are accepted.
pub(crate) fn ready(url: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(&format!("accepting requests on {url}"))]);
}

/// The collector stops, and lets what is under way come to its end.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("stopping: requests under way come to their end")]);
}

/// Feeds the watchdog, where there is one, for as long as writes come to an end.
pub(crate) async fn feed_watchdog(store: Store, clock: Clock, url: String) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = interval(patience / FEEDS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refused = false;
    loop {
        ticks.tick().await;
        let now = clock();
        match store.write("write a probe", move |tx| tx.probe(now)).await {
            Err(StoreError::Stopped { .. }) => return,
            Err(error) => {
                // It may quote a path, which is a line of its own nowhere.
                let why = chain_of(&error).replace('\n', " ");
                notify(&[NotifyState::Status(&format!("the store takes no writes: {why}"))]);
                refused = true;
            }
            Ok(()) if refused => {
                notify(&[NotifyState::Status(&format!("accepting requests on {url}"))]);
                refused = false;
            }
            Ok(()) => {}
        }
        notify(&[NotifyState::Watchdog]);
    }
}

/// Nobody is told where nobody listens.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(failure) = sd_notify::notify(state) {
        debug!("cannot tell the service manager: {failure}");
    }
}
