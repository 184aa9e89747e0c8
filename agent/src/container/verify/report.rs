//! What a container came to, as it is reported: its merged tree like a node's, and its
//! layers and mounts beside it.
//!
//! Pure, but for findings that are read back. Nothing is made better than the verdict:
//! whatever was found or could not be seen in any part makes the container's state, which
//! the collector works out again.

use std::io;

use congruent_protocol::contract::Contract;
use congruent_protocol::digest::{Algorithm, ContentKey};
use congruent_protocol::drift::{Change, Finding};
use congruent_protocol::path::{TreePath, escape};
use congruent_protocol::report::{
    ContainerIdentity, ContainerReport, LAYER_FINDINGS, LayerMethod, LayerPlace, LayerReport, Looked,
    MAX_CONTAINER_LAYERS, MAX_CONTAINERS, Outcome, is_container_id,
};
use congruent_protocol::verification::{Coverage, Gap, State, VERIFICATION_SCHEMA, Verification};

use super::{CheckedLower, Coverage as Seen, GapPath, Known, Method, PartGap, SharedBy, Verdict};
use crate::container::Container;
use crate::findings::Findings;
use crate::reportable::reportable;
use crate::sweep::{empty_coverage, manifest_id};
use crate::weight::gravest;

/// What tells all of what a report cannot.
const TOLD_BY: &str = "congruent containers verify";
/// The longest name that a report carries, in bytes: the collector takes no longer word.
const MAX_NAME_BYTES: usize = 1000;
/// How many gaps are told of a container that is held to nothing.
const SHOWN_GAPS: usize = 5;
/// Which part of a report may go to what stands beside the merged tree: in so much are
/// no more findings than the collector takes.
const BESIDE: u64 = 8;

/// With what a verdict becomes a report.
#[derive(Clone, Copy)]
pub(crate) struct Reporting<'a> {
    pub(crate) shared: &'a SharedBy,
    /// Under which content is told that a contract calls sensitive.
    pub(crate) content_key: &'a ContentKey,
    /// The longest report, in bytes of JSON.
    pub(crate) max_bytes: u64,
}

/// What is reported of a container.
pub(crate) fn report(verdict: Verdict<'_>, reporting: Reporting<'_>) -> (Outcome, ContainerReport) {
    let identity = identity(verdict.container);
    whole(verdict, &identity, reporting).unwrap_or_else(|error| {
        let why = format!("what was found cannot be read back: {error}");
        withheld(why, identity)
    })
}

fn whole(
    verdict: Verdict<'_>,
    identity: &ContainerIdentity,
    reporting: Reporting<'_>,
) -> io::Result<(Outcome, ContainerReport)> {
    let layers = verdict.lower.layers.len();
    if layers > MAX_CONTAINER_LAYERS {
        let why = format!("it has {layers} layers, and overlay takes {MAX_CONTAINER_LAYERS}");
        return Ok(withheld(why, identity.clone()));
    }
    let (beside, missing) = beside(&verdict, identity.clone(), reporting)?;
    let bytes = serde_json::to_vec(&beside).expect("a report always serialises").len() as u64;
    if bytes > reporting.max_bytes / BESIDE {
        let why = format!(
            "what was found in its layers takes {bytes} bytes, too many for a report; `{TOLD_BY}` tells it all"
        );
        return Ok(withheld(why, identity.clone()));
    }
    let room = reporting.max_bytes - bytes;
    Ok((outcome(verdict, &beside, missing, room)?, beside))
}

/// A report that says which container it is, and why no more.
fn withheld(why: String, identity: ContainerIdentity) -> (Outcome, ContainerReport) {
    (Outcome::Withheld(why), ContainerReport::naming(identity))
}

/// What the merged tree came to. Entries that damaged layers miss are among those seen:
/// the tree is told as if its layers were intact, and the damage beside it.
fn outcome(verdict: Verdict<'_>, beside: &ContainerReport, missing: u64, room: u64) -> io::Result<Outcome> {
    let Some(known) = verdict.known else { return Ok(Outcome::NoManifest(unheld(&verdict))) };
    let Some(protected) = verdict.upper.protected else {
        return Ok(Outcome::NoManifest(format!("its manifest cannot be read: {}", told(&verdict))));
    };
    let found_in_upper = verdict.upper.findings.as_ref().is_some_and(|findings| !findings.is_empty());
    let baked_root = known.manifest.predicate().root;
    let coverage = coverage(known, &verdict, missing);
    let verification = Verification {
        schema_version: VERIFICATION_SCHEMA,
        manifest: manifest_id(&known.manifest),
        add_ons: Vec::new(),
        baked_root,
        protected,
        state: State::of(found_in_upper || beside.has_findings(), &coverage),
        // What was not seen is taken to be as baked, and is a gap.
        observed_root: verdict.upper.observed_root.unwrap_or(baked_root),
        conditional: coverage.has_gaps(),
        findings: (),
        coverage,
    };
    match verdict.upper.findings {
        Some(findings) => reportable(verification.replace_findings(findings).0, room, TOLD_BY),
        None => Ok(Outcome::Verified(Box::new(verification.replace_findings(Vec::new()).0))),
    }
}

fn coverage(known: &Known, verdict: &Verdict<'_>, missing: u64) -> Coverage {
    let seen = &verdict.coverage;
    let mut unreadable: Vec<Gap> = seen.gaps.iter().map(gap).collect();
    unreadable.sort_by(|one, other| (&one.path, &one.reason).cmp(&(&other.path, &other.reason)));
    unreadable.dedup();
    Coverage {
        mode: seen.mode,
        entries_seen: seen.entries_seen + missing,
        entries_recalled: seen.entries_recalled,
        bytes_hashed: seen.bytes_hashed,
        unreadable,
        first_seen: seen.first_seen.clone(),
        finished_at: seen.finished_at,
        ..empty_coverage(known.manifest.predicate().entries.count, seen.started_at)
    }
}

/// A gap of a part, at the path that it has in the tree, or at its root.
fn gap(PartGap { part, layer, path, reason }: &PartGap) -> Gap {
    let (path, foreign) = match path {
        Some(GapPath::Entry(path)) => (path.clone(), None),
        Some(GapPath::Foreign(path)) => (TreePath::root(), Some(path.as_str())),
        None => (TreePath::root(), None),
    };
    let words = [Some(part.name()), layer.as_deref(), foreign, Some(reason.as_str())];
    Gap { path, reason: words.into_iter().flatten().collect::<Vec<_>>().join(": ") }
}

/// Why a container is held to nothing.
fn unheld(verdict: &Verdict<'_>) -> String {
    let why = "no manifest that is accepted here is of its image".to_owned();
    if verdict.coverage.gaps.is_empty() { why } else { format!("{why}; {}", told(verdict)) }
}

/// The first of a verdict's gaps.
fn told(verdict: &Verdict<'_>) -> String {
    let gaps = verdict.coverage.gaps.iter().take(SHOWN_GAPS).map(|part| {
        let Gap { path, reason } = gap(part);
        if path.is_root() { reason } else { format!("{path}: {reason}") }
    });
    gaps.collect::<Vec<_>>().join("; ")
}

/// What stands beside the merged tree, and how many entries damaged layers miss.
fn beside(
    verdict: &Verdict<'_>,
    identity: ContainerIdentity,
    reporting: Reporting<'_>,
) -> io::Result<(ContainerReport, u64)> {
    let contract = verdict.known.map(|known| &known.manifest.predicate().contract);
    let keyed = |finding| keyed(finding, contract, reporting.content_key);
    let (mut layers, mut missing) = (Vec::new(), 0);
    for checked in &verdict.lower.layers {
        let (layer, its_missing) = layer(checked, reporting.shared, keyed)?;
        layers.push(layer);
        missing += its_missing;
    }
    let Seen { mode, started_at, finished_at, .. } = verdict.coverage;
    let report = ContainerReport {
        identity,
        looked: Some(Looked { mode, started_at, finished_at }),
        layers,
        runtime_layer: verdict.upper.runtime_layer.iter().cloned().map(keyed).collect(),
        mounts: topmost(&verdict.mounts.findings),
    };
    Ok((report, missing))
}

/// Of several mounts over one place the last, which is the one that shows.
fn topmost(mounts: &[Finding]) -> Vec<Finding> {
    let by_path = mounts.chunk_by(|one, other| one.path == other.path);
    by_path.filter_map(|mounts| mounts.last().cloned()).collect()
}

fn identity(container: &Container) -> ContainerIdentity {
    ContainerIdentity {
        id: container.id.clone(),
        name: container.name.as_deref().map(shortened),
        runtime: container.runtime.name().to_owned(),
        image: container.image.as_deref().map(shortened),
        config_digest: container.config_digest,
    }
}

fn shortened(name: &str) -> String {
    name[..name.floor_char_boundary(MAX_NAME_BYTES)].to_owned()
}

/// A layer, and how many entries it misses.
fn layer(
    checked: &CheckedLower,
    shared: &SharedBy,
    keyed: impl Fn(Finding) -> Finding + Copy,
) -> io::Result<(LayerReport, u64)> {
    let mut told = LayerFindings::default();
    let mut digest = Algorithm::Blake3.hasher();
    digest.update(b"[");
    let findings = checked.findings.as_ref().map(Findings::iter).transpose()?;
    for finding in findings.into_iter().flatten() {
        let finding = keyed(finding?);
        if told.total > 0 {
            digest.update(b",");
        }
        digest.update(&serde_json::to_vec(&finding).expect("a finding always serialises"));
        told.take(&finding);
    }
    digest.update(b"]");
    let directory = checked.directory.as_os_str().as_encoded_bytes();
    let report = LayerReport {
        place: LayerPlace {
            diff_id: checked.diff_id,
            directory: escape(directory).into_owned(),
            shared_by: sharers(checked, shared),
        },
        state: checked.state,
        method: checked.method.map(|method| match method {
            Method::Manifest => LayerMethod::Manifest,
            Method::DiffId => LayerMethod::DiffId,
        }),
        baked_root: checked.roots.map(|(baked, _)| baked),
        observed_root: checked.roots.map(|(_, observed)| observed),
        findings_total: told.total,
        findings_digest: digest.finish(),
        findings: gravest_of(checked, keyed)?,
    };
    Ok((report, told.missing))
}

/// What is told of a layer's findings one by one: the gravest, in tree order.
fn gravest_of(checked: &CheckedLower, keyed: impl Fn(Finding) -> Finding) -> io::Result<Vec<Finding>> {
    let Some(findings) = &checked.findings else { return Ok(Vec::new()) };
    let mut told = gravest(findings.iter()?, LAYER_FINDINGS)?;
    told.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(told.into_iter().map(keyed).collect())
}

/// A layer's findings, counted.
#[derive(Default)]
struct LayerFindings {
    total: u64,
    missing: u64,
}

impl LayerFindings {
    fn take(&mut self, finding: &Finding) {
        self.total += 1;
        self.missing += u64::from(finding.change == Change::Removed);
    }
}

/// The containers on a layer that a report can name.
fn sharers(checked: &CheckedLower, shared: &SharedBy) -> Vec<String> {
    let ids = shared.get(&checked.directory).into_iter().flatten();
    let mut ids: Vec<String> = ids.filter(|id| is_container_id(id)).cloned().collect();
    ids.dedup();
    ids.truncate(MAX_CONTAINERS);
    ids
}

/// A finding that tells nobody what content it found where the contract calls that
/// sensitive.
fn keyed(mut finding: Finding, contract: Option<&Contract>, key: &ContentKey) -> Finding {
    if contract.is_none_or(|contract| !contract.terms_of(&finding.path).sensitive) {
        return finding;
    }
    let known = finding.expected.as_ref().and_then(|expected| expected.content);
    if let Some(content) = finding.observed.as_mut().and_then(|observed| observed.content.as_mut())
        && Some(*content) != known
    {
        *content = content.keyed(key);
    }
    finding
}

#[cfg(test)]
mod tests;
