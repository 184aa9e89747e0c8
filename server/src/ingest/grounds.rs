//! What a report builds on: sets of findings, and the ledger that its node was held to.

use congruent_protocol::drift::{Attributes, Finding};
use congruent_protocol::ledger::{FirstValue, Ledger};
use congruent_protocol::report::{Outcome, Report, SetChange, findings_digest};

use super::fresh::Fresh;

/// What the store knows that a report builds on.
pub(super) struct Grounds {
    /// The set of findings that it names, where it is known whole.
    pub(super) set: Option<Vec<Finding>>,
    /// The set that it tells the difference to.
    pub(super) base: Option<Vec<Finding>>,
    /// The ledger that its node was held to.
    pub(super) ledger: Ledger,
}

impl Grounds {
    /// What a report builds on that tells of no look.
    pub(super) fn none() -> Self {
        Self { set: None, base: None, ledger: Ledger::empty(findings_digest(&[])) }
    }

    /// What a report builds on, where nothing need be asked of the store: its node is held to
    /// no first values, and is as it was baked, or as it was a moment ago but for the
    /// difference that it tells.
    pub(super) fn in_memory(report: &Report<SetChange>, fresh: &Fresh) -> Option<Self> {
        let Outcome::Verified(verification) = &report.outcome else { return Some(Self::none()) };
        if report.first_values > 0 || !verification.coverage.first_seen.is_empty() {
            return None;
        }
        let SetChange { count, digest, base, .. } = &verification.findings;
        let ledger = Ledger::empty(verification.baked_root);
        if *count == 0 && *digest == findings_digest(&[]) {
            return Some(Self { set: Some(Vec::new()), base: None, ledger });
        }
        if let Some(set) = fresh.set(digest) {
            return Some(Self { set: Some(set.to_vec()), base: None, ledger });
        }
        let base = base.as_ref().and_then(|base| fresh.set(base))?;
        Some(Self { set: None, base: Some(base.to_vec()), ledger })
    }
}

/// Whether a node tells a first value that is recorded, and is another: then it was not
/// held to the ledger that it has by now.
pub(super) fn contradicts(ledger: &Ledger, first_seen: &[FirstValue]) -> bool {
    first_seen.iter().any(|first| {
        let recorded = ledger.first_values().get(&first.path);
        recorded.is_some_and(|recorded| Attributes::from(recorded) != first.attributes)
    })
}
