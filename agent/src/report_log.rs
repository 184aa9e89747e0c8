//! A look, written to the log: what an agent without a collector leaves behind.

use congruent_protocol::report::Outcome;
use tracing::{info, warn};

use crate::output::text::line;

/// Logs the verdict, and without a collector every finding and gap.
pub(crate) fn write(outcome: &Outcome, has_collector: bool) {
    let verification = match outcome {
        Outcome::NoManifest(reason) => {
            warn!(state = "unknown", %reason, "there is no usable manifest to hold this node to");
            return;
        }
        Outcome::Withheld(reason) => {
            warn!(state = "unknown", %reason, "what this look found cannot be reported");
            return;
        }
        Outcome::Verified(verification) => verification,
    };
    let coverage = &verification.coverage;
    info!(
        state = verification.state.name(),
        manifest = %verification.manifest.root,
        observed = %verification.observed_root,
        findings = verification.findings.len(),
        entries = coverage.entries_seen,
        bytes = coverage.bytes_hashed,
        "sweep completed"
    );
    if has_collector {
        return;
    }
    for finding in &verification.findings {
        warn!("finding: {}", line(finding));
    }
    for (what, gaps) in [("unreadable", &coverage.unreadable), ("unstable", &coverage.unstable)] {
        for gap in gaps {
            warn!("{what}: {} {}", gap.path, gap.reason);
        }
    }
}
