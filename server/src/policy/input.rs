//! What rules may know of a subject.
//!
//! [`PolicyInput::new`] is the only way to make one: it counts over all
//! findings ([`Summary`]) and then cuts what is long, so that rules take
//! bounded time and no verdict hangs on what was cut. It holds no clock: equal
//! input gives equal bytes. `policies/schemas/input.schema.json` describes it.

use congruent_protocol::digest::Digest;
use congruent_protocol::drift::Finding;
use congruent_protocol::report::{ContainerIdentity, ContainerReport, Facts, LayerMethod, LayerReport};
use congruent_protocol::verification::{Coverage, ManifestId, State, SweepMode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::concern::Concern;
use super::summary::Summary;

/// The version of the JSON of inputs.
pub(crate) const INPUT_SCHEMA: u32 = 1;
/// The most findings that rules get to see. Which ones, if there are more, is
/// no luck: see [`PolicyInput::new`]. Verdicts stand on [`Summary`], which counts all.
pub(crate) const POLICY_FINDINGS: usize = 1000;
/// The most gaps, hidden places, mounts, disks … of each kind that rules get to see.
pub(crate) const POLICY_GAPS: usize = 100;
/// How many findings of every concern go before all others when some are cut.
const EXAMPLES: usize = 10;

/// All that rules may know. Recorded with each decision, to replay it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyInput {
    schema_version: u32,
    subject: Subject,
    state: State,
    note: Option<String>,
    manifest: Option<ManifestId>,
    report: Option<ReportFacts>,
    silent_for_seconds: Option<u64>,
    summary: Summary,
    /// The layers of a container that are damaged where they lie; none of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<JudgedLayer>>,
    findings: Vec<JudgedFinding>,
    findings_total: u64,
    coverage: Option<Coverage>,
    facts: Option<Facts>,
}

/// What the collector knows, uncut.
#[derive(Debug, Clone)]
pub(crate) struct InputParts<'a> {
    /// What is judged.
    pub(crate) subject: Subject,
    /// The state that the collector gives it.
    pub(crate) state: State,
    /// Why the state is what it is, where the report alone does not say.
    pub(crate) note: Option<String>,
    /// What it was held to; none where there was no usable manifest.
    pub(crate) manifest: Option<ManifestId>,
    /// The latest report; none where there never was one.
    pub(crate) report: Option<ReportFacts>,
    /// For `silent`: how long nothing was heard.
    pub(crate) silent_for_seconds: Option<u64>,
    /// All findings of the latest report, in tree order; of a container those of its merged
    /// tree.
    pub(crate) findings: &'a [Finding],
    /// What of a container lies beside its merged tree, where it counts.
    pub(crate) beside: Option<&'a ContainerReport>,
    /// Its coverage; none where there was no sweep.
    pub(crate) coverage: Option<&'a Coverage>,
    /// What the node says of itself. Never authority.
    pub(crate) facts: Option<&'a Facts>,
}

/// What is judged. From the collector's configuration, never from a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subject {
    /// The node.
    pub(crate) node: String,
    /// The container on it that is judged; none where it is the node itself. All but its id
    /// is as its node says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) container: Option<ContainerIdentity>,
    /// Its group.
    pub(crate) group: String,
    /// Its group's environment, such as `prod`.
    pub(crate) environment: String,
}

/// Of the latest report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportFacts {
    /// Its number.
    pub(crate) sequence: u64,
    /// The kernel's boot id.
    pub(crate) boot: String,
    /// When it was written, by the node's clock.
    pub(crate) reported_at: Timestamp,
    /// When it arrived, by the collector's clock.
    pub(crate) received_at: Timestamp,
    /// Whether its root stands on baked values where something was not verified.
    pub(crate) conditional: bool,
    /// How contents were verified; none where there was no sweep.
    pub(crate) sweep: Option<SweepMode>,
}

/// One of a container's layers that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JudgedLayer {
    diff_id: Option<Digest>,
    directory: String,
    state: State,
    method: Option<LayerMethod>,
    findings_total: u64,
    /// How many containers of the node lie on it.
    containers: u64,
}

impl From<&LayerReport> for JudgedLayer {
    fn from(layer: &LayerReport) -> Self {
        Self {
            diff_id: layer.place.diff_id,
            directory: layer.place.directory.clone(),
            state: layer.state,
            method: layer.method,
            findings_total: layer.findings_total,
            containers: layer.place.shared_by.len() as u64,
        }
    }
}

/// A finding and what it bears on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct JudgedFinding {
    #[serde(flatten)]
    finding: Finding,
    /// Which of `layers` it is in; none in the merged tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layer: Option<usize>,
    bears_on: Vec<Concern>,
}

impl PolicyInput {
    /// Counts over everything, then cuts.
    ///
    /// Of more than [`POLICY_FINDINGS`] findings those stay that rules need for
    /// examples: first the first few of every [`Concern`], then the gravest.
    /// They keep their tree order. Lists in coverage and facts keep their first
    /// [`POLICY_GAPS`]; the summary has the number of gaps.
    pub(crate) fn new(parts: InputParts<'_>) -> Self {
        let found = Found::of(parts.findings, parts.beside);
        let bears_on: Vec<_> = found.listed.iter().map(|(finding, _)| Concern::of(finding)).collect();
        Self {
            schema_version: INPUT_SCHEMA,
            subject: parts.subject,
            state: parts.state,
            note: parts.note,
            manifest: parts.manifest,
            report: parts.report,
            silent_for_seconds: parts.silent_for_seconds,
            summary: Summary::of(found.findings(), &bears_on, parts.coverage),
            layers: parts.beside.map(|container| container.damaged().map(JudgedLayer::from).collect()),
            findings: select(&found.listed, bears_on),
            findings_total: found.total,
            coverage: parts.coverage.map(cut_coverage),
            facts: parts.facts.map(cut_facts),
        }
    }

    /// What is judged.
    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The state that is judged.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Counts over all findings and gaps.
    #[cfg(test)]
    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// How many findings there are, also those that rules do not see.
    #[cfg(test)]
    pub(super) fn findings_total(&self) -> u64 {
        self.findings_total
    }

    /// Why the parts contradict each other, where they do. The collector has
    /// then made a mistake, and nothing may follow from it.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        match self.state {
            State::Congruent if self.findings_total > 0 => Some("it is congruent and has findings"),
            State::Congruent if self.summary.gaps.total() > 0 => Some("it is congruent and has gaps"),
            State::Divergent if self.findings_total == 0 => Some("it is divergent and has no findings"),
            _ if self.findings.len() as u64 > self.findings_total => {
                Some("it lists more findings than it counts")
            }
            _ => None,
        }
    }
}

/// A finding, and which of the damaged layers it is in.
type Listed<'a> = (&'a Finding, Option<usize>);

/// All that was found of a subject.
struct Found<'a> {
    /// What the report tells one by one: the merged tree's, then what lies beside it.
    listed: Vec<Listed<'a>>,
    /// How many there are, also those in layers that only count.
    total: u64,
}

impl<'a> Found<'a> {
    fn of(findings: &'a [Finding], beside: Option<&'a ContainerReport>) -> Self {
        let mut listed: Vec<Listed<'_>> = findings.iter().map(|finding| (finding, None)).collect();
        let mut total = findings.len() as u64;
        if let Some(container) = beside {
            listed.extend(container.runtime_layer.iter().map(|finding| (finding, None)));
            listed.extend(container.mounts.iter().map(|finding| (finding, None)));
            listed.sort_by(|(one, _), (other, _)| one.path.cmp(&other.path));
            for (at, layer) in container.damaged().enumerate() {
                listed.extend(layer.findings.iter().map(|finding| (finding, Some(at))));
            }
            total = total.saturating_add(container.findings_beside());
        }
        Self { listed, total }
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.listed.iter().map(|(finding, _)| *finding)
    }
}

/// At most [`POLICY_FINDINGS`] of them, in their order, with what each bears on.
fn select(findings: &[Listed<'_>], bears_on: Vec<Vec<Concern>>) -> Vec<JudgedFinding> {
    let mut seen = [0_usize; Concern::ALL.len() + 1];
    let mut ranked: Vec<_> = bears_on
        .into_iter()
        .enumerate()
        .map(|(at, bears_on)| (rank(&bears_on, &mut seen), at, bears_on))
        .collect();
    if ranked.len() > POLICY_FINDINGS {
        ranked.sort_unstable();
        ranked.truncate(POLICY_FINDINGS);
        ranked.sort_unstable_by_key(|&(_, at, _)| at);
    }
    ranked
        .into_iter()
        .map(|(_, at, bears_on)| {
            let (finding, layer) = findings[at];
            JudgedFinding { finding: finding.clone(), layer, bears_on }
        })
        .collect()
}

/// Where a finding stands when some are cut: examples before the rest, the
/// grave before the others. What bears on nothing is a kind of its own.
fn rank(bears_on: &[Concern], seen: &mut [usize; Concern::ALL.len() + 1]) -> (bool, usize) {
    let kinds = bears_on.iter().map(|&concern| concern as usize);
    let none = bears_on.is_empty().then_some(Concern::ALL.len());
    kinds
        .chain(none)
        .map(|kind| {
            seen[kind] += 1;
            (seen[kind] > EXAMPLES, kind)
        })
        .min()
        .expect("a finding is of a kind, if only of the last")
}

fn cut_coverage(coverage: &Coverage) -> Coverage {
    // Cut before they are copied: a list may be long.
    Coverage {
        mode: coverage.mode,
        entries_expected: coverage.entries_expected,
        entries_seen: coverage.entries_seen,
        entries_recalled: coverage.entries_recalled,
        bytes_hashed: coverage.bytes_hashed,
        direct: coverage.direct,
        unreadable: first(&coverage.unreadable),
        unstable: first(&coverage.unstable),
        hidden: first(&coverage.hidden),
        reserved: first(&coverage.reserved),
        mounts: first(&coverage.mounts),
        // What the contract admits is for the ledger, not for policy.
        first_seen: Vec::new(),
        unchecked: first(&coverage.unchecked),
        started_at: coverage.started_at,
        finished_at: coverage.finished_at,
    }
}

fn cut_facts(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    facts.disks.truncate(POLICY_GAPS);
    facts.networks.truncate(POLICY_GAPS);
    facts.networks.iter_mut().for_each(|network| network.addresses.truncate(POLICY_GAPS));
    facts
}

fn first<T: Clone>(list: &[T]) -> Vec<T> {
    list.iter().take(POLICY_GAPS).cloned().collect()
}
