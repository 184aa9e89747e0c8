//! Signs of life, in memory. The store gets them in batches: a heartbeat writes
//! nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use crate::ingest::chain_of;
use crate::metrics::{self, Stopwatch};
use crate::serve::stopped;
use crate::store::{Store, StoreError};

/// When each node was heard of.
#[derive(Debug, Default)]
pub(crate) struct Liveness {
    heard: Mutex<HashMap<String, Heard>>,
}

/// How many boots of a node are kept in mind.
const BOOTS: usize = 8;
/// How often the store is told.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_secs(30);
/// Of how many nodes in one transaction.
const NOTED_AT_ONCE: usize = 500;

#[derive(Debug)]
struct Heard {
    at: Timestamp,
    /// The last boots, the newest last.
    boots: VecDeque<String>,
    is_noted: bool,
    /// How many first values are recorded of it, as it runs now.
    first_values: Option<u64>,
}

/// Two machines that use one enrolment, by their boots, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Twins {
    pub(crate) one: String,
    pub(crate) other: String,
}

impl Liveness {
    /// A node gave a sign of life. A machine never goes back to a boot that it left, so
    /// that one that does is two. Reports do not tell: they wait over boots.
    pub(crate) fn hear(&self, node: &str, boot: &str, at: Timestamp) -> Option<Twins> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known(&mut heard, node, at);
        let newest = known.boots.back().cloned();
        if newest.as_deref() == Some(boot) {
            return None;
        }
        let returned = known.boots.iter().any(|left| left == boot);
        known.boots.retain(|left| left != boot);
        known.boots.push_back(boot.to_owned());
        if known.boots.len() > BOOTS {
            known.boots.pop_front();
        }
        let mut pair = [boot.to_owned(), newest.filter(|_| returned)?];
        pair.sort();
        let [one, other] = pair;
        Some(Twins { one, other })
    }

    /// A report of a node was stored; with how many first values are recorded of it,
    /// where it says what it runs.
    pub(crate) fn report(&self, node: &str, at: Timestamp, first_values: Option<u64>) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known(&mut heard, node, at);
        known.first_values = first_values.or(known.first_values);
    }

    /// How many first values are recorded of a node, where a report has told.
    pub(crate) fn first_values(&self, node: &str) -> Option<u64> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).get(node)?.first_values
    }

    /// When a node was heard of last, since the collector runs.
    pub(crate) fn last(&self, node: &str) -> Option<Timestamp> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).get(node).map(|heard| heard.at)
    }

    /// Forgets a node that is gone: whoever has its name next begins anew.
    pub(crate) fn forget(&self, node: &str) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }

    /// What the store has not been told yet.
    pub(crate) fn take_unnoted(&self) -> Vec<(String, Timestamp)> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let unnoted = heard.iter_mut().filter(|(_, heard)| !heard.is_noted);
        unnoted
            .map(|(node, heard)| {
                heard.is_noted = true;
                (node.clone(), heard.at)
            })
            .collect()
    }
}

/// What is known of a node that was heard of just now.
fn known<'a>(heard: &'a mut HashMap<String, Heard>, node: &str, at: Timestamp) -> &'a mut Heard {
    let new = || Heard { at, boots: VecDeque::new(), is_noted: false, first_values: None };
    let known = heard.entry(node.to_owned()).or_insert_with(new);
    (known.at, known.is_noted) = (at.max(known.at), false);
    known
}

/// Tells the store again and again, and once more when the collector stops.
pub(crate) async fn flush(
    liveness: Arc<Liveness>,
    store: Store,
    metrics: metrics::Liveness,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let is_over = timeout(FLUSH_INTERVAL, stopped(&mut stop)).await.is_ok();
        let heard = liveness.take_unnoted();
        if !heard.is_empty() {
            let begun = Stopwatch::start();
            let noted = note(&store, heard).await;
            begun.stop(&metrics.took);
            if noted.is_ok() { &metrics.flushed } else { &metrics.failed }.inc();
            if let Err(error) = noted {
                warn!("signs of life are not noted: {}", chain_of(&error));
            }
        }
        if is_over {
            return;
        }
    }
}

/// Writes some at a time: whoever else writes waits for no more than that.
async fn note(store: &Store, heard: Vec<(String, Timestamp)>) -> Result<(), StoreError> {
    for some in heard.chunks(NOTED_AT_ONCE).map(<[_]>::to_vec) {
        store.write("note signs of life", move |tx| tx.note_heard(&some)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::time;

    #[test]
    fn a_boot_that_comes_back_is_another_machine() {
        let liveness = Liveness::default();
        let hear = |boot: &str| liveness.hear("web-1", boot, time("2026-03-01T00:00:00Z"));
        assert_eq!([hear("a"), hear("a"), hear("b"), hear("c")], [None, None, None, None]);
        let twins = |one: &str, other: &str| Some(Twins { one: one.to_owned(), other: other.to_owned() });
        assert_eq!([hear("b"), hear("c"), hear("c")], [twins("b", "c"), twins("b", "c"), None]);
        assert_eq!(hear("a"), twins("a", "c"), "however many there are");
    }

    #[test]
    fn each_sign_is_noted_once() {
        let liveness = Liveness::default();
        let (early, late) = (time("2026-03-01T00:00:00Z"), time("2026-03-01T00:01:00Z"));
        liveness.hear("web-1", "a", late);
        // A clock that was set back takes nothing back.
        liveness.hear("web-1", "a", early);
        assert_eq!(liveness.take_unnoted(), [("web-1".to_owned(), late)]);
        assert_eq!(liveness.take_unnoted(), []);
        assert_eq!((liveness.last("web-1"), liveness.last("web-2")), (Some(late), None));
        liveness.hear("web-1", "a", late);
        liveness.forget("web-1");
        assert_eq!((liveness.last("web-1"), liveness.take_unnoted()), (None, vec![]));
    }
}
