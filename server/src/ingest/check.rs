//! What a report is held to. Pure but for reading the accepted manifest.
//!
//! Nothing that a node says is believed that can be worked out from what the
//! collector holds: state, condition, classes, mounts and root are derived
//! again, and a report that disagrees is refused.

use congruent_protocol::contract::{Class, MountContent};
use congruent_protocol::digest::Digest;
use congruent_protocol::drift::{Change, Finding};
use congruent_protocol::entry::Kind;
use congruent_protocol::ledger::Ledger;
use congruent_protocol::normalise::is_reserved;
use congruent_protocol::path::{TreePath, escape};
use congruent_protocol::report::{ContainerReport, Outcome, REPORT_SCHEMA, Report, SetChange};
use congruent_protocol::verification::{
    Coverage, ManifestId, MountTreatment, State, VERIFICATION_SCHEMA, Verification,
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Refused, containers};
use crate::config::{Accepted, Group};

/// The longest name, version or id in a report, in bytes. They end in columns,
/// logs and messages; only findings and gaps may be many.
pub(super) const MAX_WORD_BYTES: usize = 1000;
/// The longest path in a report, in bytes: far beyond any that a sweep gives.
pub(super) const MAX_PATH_BYTES: usize = 1 << 17;
/// The highest number that the store can hold.
const MAX_SEQUENCE: u64 = i64::MAX as u64;

/// Reads a report. What has another shape is asked for its version first.
pub(super) fn parse(body: &[u8]) -> Result<Report<SetChange>, Refused> {
    #[derive(Deserialize)]
    struct Head {
        schema_version: u64,
    }
    let read: Result<Report<SetChange>, _> = serde_json::from_slice(body);
    let report = match read {
        Ok(report) => report,
        Err(error) => {
            let head: Head = serde_json::from_slice(body).map_err(Refused::Malformed)?;
            check_version(head.schema_version, REPORT_SCHEMA)?;
            return Err(Refused::Malformed(error));
        }
    };
    check_version(report.schema_version.into(), REPORT_SCHEMA)?;
    check_words(&report)?;
    if let Outcome::Verified(verification) = &report.outcome {
        check_version(verification.schema_version.into(), VERIFICATION_SCHEMA)?;
    }
    match report.sequence {
        1..=MAX_SEQUENCE => Ok(report),
        number => Err(Refused::Number(number)),
    }
}

fn check_words(report: &Report<SetChange>) -> Result<(), Refused> {
    let mut words = vec![
        ("node", &report.node),
        ("boot", &report.boot),
        ("chain", &report.chain),
        ("agent_version", &report.agent_version),
    ];
    if let Outcome::Verified(verification) = &report.outcome {
        let ManifestId { name, version, .. } = &verification.manifest;
        words.extend([("manifest's name", name), ("manifest's version", version)]);
    }
    match words.into_iter().find(|(_, word)| word.len() > MAX_WORD_BYTES) {
        Some((what, _)) => Err(Refused::TooLong { what, limit: MAX_WORD_BYTES }),
        None => Ok(()),
    }
}

/// Holds every path to a length that nothing else in the collector minds.
pub(super) fn check_paths(report: &Report) -> Result<(), Refused> {
    let Outcome::Verified(verification) = &report.outcome else { return Ok(()) };
    let paths = verification.findings.iter().map(|finding| &finding.path);
    let gaps = verification.coverage.unreadable.iter().chain(&verification.coverage.unstable);
    if paths.chain(gaps.map(|gap| &gap.path)).any(|path| path.as_bytes().len() > MAX_PATH_BYTES) {
        return Err(Refused::TooLong { what: "longest path", limit: MAX_PATH_BYTES });
    }
    Ok(())
}

fn check_version(found: u64, known: u32) -> Result<(), Refused> {
    if found == u64::from(known) { Ok(()) } else { Err(Refused::Version { found, known }) }
}

/// Text from outside at a length that a log line bears.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_WORD_BYTES) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The state that a report gives its node, and why, where the report alone does
/// not say. The manifest is the one that the report is about, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) state: State,
    pub(crate) note: Option<String>,
    pub(crate) manifest: Option<ManifestId>,
}

/// Holds a report, whose set of findings has the digest `set`, to what its group accepts.
pub(super) fn stand(
    report: &Report,
    set: &Digest,
    group: &Group,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<Standing, Refused> {
    let verification = match &report.outcome {
        Outcome::Verified(verification) => verification,
        Outcome::Withheld(why) => {
            let note =
                format!("what the agent found cannot be reported: {}", shorten(&escape(why.as_bytes())));
            return Ok(Standing { state: report.state(), note: Some(note), manifest: None });
        }
        Outcome::NoManifest(why) => {
            let note = format!("the agent has no usable manifest: {}", shorten(&escape(why.as_bytes())));
            return Ok(Standing { state: report.state(), note: Some(note), manifest: None });
        }
    };
    let Some(accepted) = group.accepted(&verification.manifest) else {
        // Who signed it was not verified here, so nobody did.
        let manifest = ManifestId { signed_by: Vec::new(), ..verification.manifest.clone() };
        let note = not_accepted(&manifest, group);
        return Ok(Standing { state: State::Unknown, note: Some(note), manifest: Some(manifest) });
    };
    if let Some(misfit) = containers::misfit(report, accepted) {
        return Ok(unknown(misfit, accepted));
    }
    let add_ons: Vec<Digest> = verification.add_ons.iter().map(|add_on| add_on.root).collect();
    let made;
    let stack = if add_ons.is_empty() {
        accepted
    } else {
        match group.accepted_stack(&accepted.id(), &add_ons) {
            Some(stack) => {
                made = stack.map_err(Refused::Stack)?;
                &made
            }
            None => {
                let note = "an add-on of the node is not accepted for its group".to_owned();
                return Ok(unknown(note, accepted));
            }
        }
    };
    if let Some(expired) = stack.expired(now) {
        return Ok(unknown(expired.to_string(), accepted));
    }
    let container = report.container.as_deref();
    hold(verification, container, set, stack, ledger)?;
    let manifest = Some(accepted.id());
    // What may be missing from the list of containers was not verified.
    let missing = report.containers.as_ref().and_then(|seen| seen.gaps.first());
    match missing.filter(|_| verification.state == State::Congruent) {
        Some(why) => {
            let note =
                format!("not all of its containers could be found: {}", shorten(&escape(why.as_bytes())));
            Ok(Standing { state: State::Incomplete, note: Some(note), manifest })
        }
        None => Ok(Standing { state: verification.state, note: None, manifest }),
    }
}

fn unknown(note: String, accepted: &Accepted) -> Standing {
    Standing { state: State::Unknown, note: Some(note), manifest: Some(accepted.id()) }
}

/// Says that a group does not accept a manifest.
pub(crate) fn not_accepted(manifest: &ManifestId, group: &Group) -> String {
    format!("the manifest with the root {} is not accepted for the group {}", manifest.root, group.name)
}

/// Holds a verification to an accepted manifest.
fn hold(
    verification: &Verification,
    container: Option<&ContainerReport>,
    set: &Digest,
    accepted: &Accepted,
    ledger: &Ledger,
) -> Result<(), Refused> {
    let Verification { manifest, state, observed_root, conditional, findings, coverage, .. } = verification;
    let id = accepted.id();
    if (&manifest.name, &manifest.version) != (&id.name, &id.version) {
        return Err(Refused::OtherManifest {
            root: id.root,
            accepted: format!("{} {}", id.name, id.version),
            claimed: format!("{} {}", manifest.name, manifest.version),
        });
    }
    let beside = container.is_some_and(ContainerReport::has_findings);
    let computed = State::of(!findings.is_empty() || beside, coverage);
    if *state != computed {
        return Err(Refused::OtherState { claimed: *state, computed });
    }
    let computed = coverage.has_gaps();
    if *conditional != computed {
        return Err(Refused::OtherCondition { claimed: *conditional, computed });
    }
    if (verification.baked_root, verification.protected) != (accepted.stack_root(), accepted.protected()) {
        let why = "the baked root or the protected share is not that of the accepted stack".to_owned();
        return Err(Refused::Coverage(why));
    }
    check_coverage(coverage, findings, accepted)?;
    if let Some(container) = container {
        containers::hold_layers(container, accepted, coverage)?;
    }
    let computed = accepted
        .recompute(findings, set, ledger)
        .map_err(|error| Refused::from_recompute(error, format!("{} {}", id.name, id.version)))?;
    if *observed_root != computed {
        return Err(Refused::OtherRoot { claimed: *observed_root, computed });
    }
    Ok(())
}

/// Who looked at less than there must have been has not looked.
fn check_counts(coverage: &Coverage, findings: &[Finding], accepted: &Accepted) -> Result<(), Refused> {
    let refuse = |why: String| Err(Refused::Coverage(why));
    let removed = findings.iter().filter(|finding| finding.change == Change::Removed).count() as u64;
    let hidden = coverage.hidden.iter().fold(0_u64, |sum, hidden| sum.saturating_add(hidden.entries));
    let accounted = coverage.entries_seen.saturating_add(removed).saturating_add(hidden);
    // What may be anything may be gone; what could not be listed was not seen.
    if !coverage.has_gaps() && accounted < accepted.protected().entries {
        return refuse(format!(
            "it saw {} entries, {removed} were removed and {hidden} hidden, but {} had to be there",
            coverage.entries_seen,
            accepted.protected().entries
        ));
    }
    if hidden > accepted.entries_count() {
        return refuse(format!(
            "mounts hide {hidden} entries, the manifest has {}",
            accepted.entries_count()
        ));
    }
    if coverage.finished_at < coverage.started_at {
        return refuse("its sweep ended before it began".to_owned());
    }
    match coverage.reserved.iter().find(|place| !is_reserved(accepted.reserved(), &place.path)) {
        Some(place) => refuse(format!("the manifest does not reserve {}", place.path)),
        None => Ok(()),
    }
}

/// What was not looked at must be for a reason that the contract gives, or be a
/// finding or a gap.
fn check_coverage(coverage: &Coverage, findings: &[Finding], accepted: &Accepted) -> Result<(), Refused> {
    let refuse = |why: String| Err(Refused::Coverage(why));
    if coverage.entries_expected != accepted.entries_count() {
        return refuse(format!(
            "it expects {} entries, the manifest has {}",
            coverage.entries_expected,
            accepted.entries_count()
        ));
    }
    check_counts(coverage, findings, accepted)?;
    let named = |path: &TreePath| accepted.contract().mount_at(path).map(|mount| mount.content);
    let is_mounted_over = |path: &TreePath| {
        findings
            .binary_search_by(|finding| finding.path.cmp(path))
            .is_ok_and(|at| findings[at].change == Change::MountedOver)
    };
    for mount in &coverage.mounts {
        let wanted = match mount.content {
            MountTreatment::Verify => MountContent::Verify,
            MountTreatment::Hide => MountContent::Hide,
            MountTreatment::Unnamed if is_mounted_over(&mount.path) => continue,
            MountTreatment::Unnamed => {
                return refuse(format!("the unnamed mount at {} is no finding", mount.path));
            }
        };
        if named(&mount.path) != Some(wanted) {
            return refuse(format!("the contract does not treat the mount at {} like this", mount.path));
        }
    }
    let admits = |path: &TreePath| accepted.contract().class_of(path).admits_first_values();
    if let Some(first) = coverage.first_seen.iter().find(|first| !admits(&first.path)) {
        return refuse(format!("the contract admits no first value at {}", first.path));
    }
    if let Some(first) = coverage.first_seen.iter().find(|first| first.attributes.to_entry().is_err()) {
        return refuse(format!("the first value at {} is none", first.path));
    }
    for hidden in &coverage.hidden {
        if named(&hidden.path) != Some(MountContent::Hide) && !is_mounted_over(&hidden.path) {
            return refuse(format!("no mount that the contract names hides {}", hidden.path));
        }
    }
    // A file that was not read counts as baked in the root, so it must be a gap.
    let unread = findings.iter().find(|finding| {
        // Of reserved places no content is promised, and none is read.
        let observed = finding.observed.as_ref().filter(|_| finding.class != Class::Reserved);
        observed.is_some_and(|observed| observed.kind == Kind::File && observed.content.is_none())
    });
    match unread {
        Some(finding) if !coverage.has_gaps() => {
            refuse(format!("the content of {} was not read, and is no gap", finding.path))
        }
        _ => Ok(()),
    }
}
