//! A look, written to the log: what an agent without a collector leaves behind.

use std::io;

use congruent_protocol::drift::Finding;
use congruent_protocol::report::Outcome;
use congruent_protocol::verification::Verification;
use tracing::{info, warn};

use crate::findings::Findings;
use crate::output::text::line;

/// The most findings that are logged of a report that is not delivered.
const MAX_UNDELIVERED: usize = 1000;

/// Logs why a report carries no verification, where it does not.
pub(crate) fn unverified(outcome: &Outcome) {
    match outcome {
        Outcome::NoManifest(reason) => {
            warn!(state = "unknown", %reason, "there is no usable manifest to hold this node to");
        }
        Outcome::Withheld(reason) => {
            warn!(state = "unknown", %reason, "what this look found cannot be reported");
        }
        Outcome::Verified(_) => {}
    }
}

/// Logs the verdict, and without a collector every finding and gap.
pub(crate) fn verified(verification: &Verification<Findings>, has_collector: bool) -> io::Result<()> {
    let coverage = &verification.coverage;
    info!(
        state = verification.state.name(),
        mode = coverage.mode.name(),
        manifest = %verification.manifest.root,
        observed = %verification.observed_root,
        findings = verification.findings.len(),
        entries = coverage.entries_seen,
        recalled = coverage.entries_recalled,
        bytes = coverage.bytes_hashed,
        "sweep completed"
    );
    if has_collector {
        return Ok(());
    }
    for finding in verification.findings.iter()? {
        warn!("finding: {}", line(&finding?));
    }
    for (what, gaps) in [("unreadable", &coverage.unreadable), ("unstable", &coverage.unstable)] {
        for gap in gaps {
            warn!("{what}: {} {}", gap.path, gap.reason);
        }
    }
    Ok(())
}

/// Logs what a report found that the collector does not answer to: the node's own log
/// is then all that tells of it.
pub(crate) fn undelivered(sequence: u64, findings: &[Finding]) {
    for finding in findings.iter().take(MAX_UNDELIVERED) {
        warn!(sequence, "finding, not delivered: {}", line(finding));
    }
    if let Some(more) = findings.len().checked_sub(MAX_UNDELIVERED).filter(|more| *more > 0) {
        warn!(sequence, "and {more} more findings; `congruent verify` tells them all");
    }
}
