//! What was stored a moment ago, in memory. Reports, for the judge: what it finds here it
//! need not read again, decompress and parse. And their sets of findings, since the next
//! report of a node tells the difference to the last. What is not here, the store has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use congruent_protocol::digest::Digest;
use congruent_protocol::drift::Finding;
use congruent_protocol::report::Report;

/// How many of each are kept; then all are let go of.
const REPORTS_KEPT: usize = 512;
const SETS_KEPT: usize = 2048;
/// The longest report of which anything is kept, in bytes of its JSON: nothing else bounds
/// what lies here.
pub(super) const MAX_BYTES: usize = 16 << 10;

/// Reports by the ids of their rows, and sets of findings by their digests.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    reports: Mutex<HashMap<i64, Report>>,
    sets: Mutex<HashMap<Digest, Arc<[Finding]>>>,
}

impl Fresh {
    /// Keeps a report that is durable, of at most [`MAX_BYTES`], with the digest of its set of
    /// findings.
    pub(super) fn put(&self, id: i64, report: Report, set: Digest) {
        let findings = report.findings();
        if !findings.is_empty() {
            let findings = findings.into();
            insert(&self.sets, SETS_KEPT, set, findings);
        }
        insert(&self.reports, REPORTS_KEPT, id, report);
    }

    /// Gives a report away, where it is kept.
    pub(crate) fn take(&self, id: i64) -> Option<Report> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }

    /// A set of findings, where it is kept.
    pub(super) fn set(&self, digest: &Digest) -> Option<Arc<[Finding]>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }
}

fn insert<K: Eq + std::hash::Hash, V>(kept: &Mutex<HashMap<K, V>>, at_most: usize, key: K, value: V) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= at_most {
        kept.clear();
    }
    kept.insert(key, value);
}
