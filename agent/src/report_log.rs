//! A look, written to the log: what an agent without a collector leaves behind.

use std::io;

use congruent_protocol::drift::Finding;
use congruent_protocol::path::escape;
use congruent_protocol::report::{ContainerReport, ContainersSeen, Outcome};
use congruent_protocol::verification::{Coverage, State, Verification};
use tracing::{info, warn};

use crate::findings::Findings;
use crate::output::text::line;

/// The most findings that are logged of a report that is not delivered, or of a container.
const MAX_SHOWN: usize = 1000;

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
    gaps(coverage, usize::MAX);
    Ok(())
}

fn gaps(coverage: &Coverage, limit: usize) {
    let gaps = [("unreadable", &coverage.unreadable), ("unstable", &coverage.unstable)];
    let gaps = gaps.into_iter().flat_map(|(what, gaps)| gaps.iter().map(move |gap| (what, gap)));
    for (what, gap) in gaps.take(limit) {
        warn!("{what}: {} {}", gap.path, gap.reason);
    }
}

/// Logs a container that is not congruent; without a collector, what was found of it as well.
pub(crate) fn container(state: State, outcome: &Outcome, container: &ContainerReport, has_collector: bool) {
    let identity = &container.identity;
    let told = |text: Option<&String>| escape(text.map_or("", String::as_str).as_bytes()).into_owned();
    let (name, image) = (told(identity.name.as_ref()), told(identity.image.as_ref()));
    let (findings, coverage) = match outcome {
        Outcome::Verified(verification) => (&verification.findings[..], Some(&verification.coverage)),
        Outcome::NoManifest(_) | Outcome::Withheld(_) => (&[][..], None),
    };
    warn!(
        id = %identity.id,
        %name,
        %image,
        state = state.name(),
        why = reason(outcome),
        findings = findings.len() as u64 + container.findings_beside(),
        gaps = coverage.map_or(0, |coverage| coverage.unreadable.len()),
        "a container is not congruent"
    );
    if !has_collector {
        shown(beside(container).chain(findings), |text| warn!(id = %identity.id, "finding: {text}"));
        coverage.into_iter().for_each(|coverage| gaps(coverage, MAX_SHOWN));
    }
}

/// Why a report carries no verification.
fn reason(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Verified(_) => None,
        Outcome::NoManifest(reason) | Outcome::Withheld(reason) => Some(reason),
    }
}

/// Logs that all containers were looked at, and why there may be more.
pub(crate) fn containers(seen: &ContainersSeen) {
    for gap in &seen.gaps {
        warn!("there may be more containers: {gap}");
    }
    info!(running = seen.running.len(), "containers were looked at");
}

/// Logs what a report found that the collector does not answer to: the node's own log
/// is then all that tells of it.
pub(crate) fn undelivered(sequence: u64, container: Option<&ContainerReport>, findings: &[Finding]) {
    let id = container.map_or("", |container| &container.identity.id);
    let found = container.into_iter().flat_map(beside).chain(findings);
    if id.is_empty() {
        shown(found, |text| warn!(sequence, "finding, not delivered: {text}"));
    } else {
        shown(found, |text| warn!(sequence, id, "finding, not delivered: {text}"));
    }
}

/// What was found of a container beside its merged tree, as far as its report tells.
fn beside(container: &ContainerReport) -> impl Iterator<Item = &Finding> {
    let in_layers = container.layers.iter().flat_map(|layer| &layer.findings);
    in_layers.chain(&container.runtime_layer).chain(&container.mounts)
}

/// Shows the first findings, a line each.
fn shown<'f>(findings: impl Iterator<Item = &'f Finding>, show: impl Fn(String)) {
    let mut left = 0_usize;
    for (at, finding) in findings.enumerate() {
        if at < MAX_SHOWN {
            show(line(finding));
        } else {
            left += 1;
        }
    }
    if left > 0 {
        show(format!("and {left} more; `congruent verify` and `congruent containers verify` tell them all"));
    }
}
