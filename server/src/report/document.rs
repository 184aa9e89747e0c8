//! The report as JSON has it. Pure: evidence in, document out.

use std::collections::{BTreeMap, BTreeSet};

use congruent_protocol::digest::Digest;
use congruent_protocol::drift::Finding;
use congruent_protocol::verification::State;
use jiff::Timestamp;
use serde::Serialize;

use super::Period;
use super::controls::{ControlEvidence, by_control};
use super::coverage::NodeCoverage;
use super::evidence::{Evidence, SubjectEvidence};
use crate::record::{
    ActionRecord, AuditRecord, ContainerState, ContainerTransition, DecisionRecord, RefusalRecord, Transition,
};
use crate::scope::Scope;
use crate::store::{LookTimes, RemovalRow};
use crate::subject::SubjectId;

/// The version of the JSON of reports.
const REPORT_SCHEMA: u32 = 1;

/// The auditor's report.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    schema_version: u32,
    generated_at: Timestamp,
    period: PeriodRecord,
    /// Of the policy in force at the period's end.
    policy_digest: Option<Digest>,
    engine: Option<&'a str>,
    scope: Vec<ScopeSince<'a>>,
    totals: Totals,
    nodes: Vec<NodeRecord<'a>>,
    decisions: &'a [DecisionRecord],
    actions: &'a [ActionRecord],
    refusals: &'a [RefusalRecord],
    audit: &'a [AuditRecord],
    controls: Vec<ControlEvidence>,
    /// Records that came before `until` were removed, as the configuration says how long
    /// they are kept: of the time before it the report is not whole.
    removed: &'a [RemovalRow],
}

/// From `from` until before `to`; what is said is so as of `as_of`, which is
/// earlier than `to` where the period is not over.
#[derive(Debug, Serialize)]
struct PeriodRecord {
    from: Timestamp,
    to: Timestamp,
    as_of: Timestamp,
}

/// What the collector was configured with from a time on.
#[derive(Debug, Serialize)]
struct ScopeSince<'a> {
    since: Timestamp,
    #[serde(flatten)]
    scope: &'a Scope,
}

/// How many of each there are in the report, so that one that was cut shows.
#[derive(Debug, Serialize)]
struct Totals {
    nodes: usize,
    nodes_by_state: BTreeMap<&'static str, usize>,
    nodes_without_sweep: usize,
    containers: usize,
    containers_by_state: BTreeMap<&'static str, usize>,
    sweeps: usize,
    findings: usize,
    decisions: usize,
    actions: usize,
    refusals: usize,
    audit: usize,
}

/// A node in the period.
#[derive(Debug, Serialize)]
struct NodeRecord<'a> {
    id: &'a str,
    group: &'a str,
    environment: &'a str,
    /// At the period's end.
    state: State,
    since: Option<Timestamp>,
    note: Option<&'a str>,
    coverage: NodeCoverage,
    /// Changes of state in the period.
    states: Vec<Transition>,
    findings: Vec<FindingRecord<'a>>,
    /// The containers that were reported on it.
    containers: Vec<ContainerRecord<'a>>,
}

/// A container in the period.
#[derive(Debug, Serialize)]
struct ContainerRecord<'a> {
    id: &'a str,
    /// Which one it is, as its node said last; null where it runs no more and no report of it
    /// tells.
    name: Option<&'a str>,
    runtime: Option<&'a str>,
    image: Option<&'a str>,
    config_digest: Option<Digest>,
    /// At the period's end: `over` where it runs no more.
    state: ContainerState,
    since: Option<Timestamp>,
    note: Option<&'a str>,
    coverage: NodeCoverage,
    /// Changes of state in the period.
    states: Vec<ContainerTransition>,
    /// Those in layers are the gravest of each layer, with the paths that they have there.
    findings: Vec<FindingRecord<'a>>,
}

/// A finding: what was baked, what was there, and when it was seen.
#[derive(Debug, Serialize)]
struct FindingRecord<'a> {
    first_seen: Timestamp,
    last_seen: Timestamp,
    /// Whether the last look in the period that would have seen it still had it. A sweep that
    /// saw everything sees what any look found; a look that was held to no manifest sees what
    /// another of its kind found.
    in_last_sweep: bool,
    #[serde(flatten)]
    finding: &'a Finding,
}

impl<'a> Document<'a> {
    /// The report about `evidence`.
    pub(super) fn of(evidence: &'a Evidence, period: Period, now: Timestamp) -> Self {
        let as_of = now.min(period.to).max(period.from);
        let last = evidence.scopes.last().map(|(_, scope)| scope);
        let nodes: Vec<_> = evidence
            .nodes
            .iter()
            .map(|(id, node)| NodeRecord::of(id, node, evidence, period, as_of))
            .collect();
        let swept: BTreeSet<&str> =
            nodes.iter().filter(|node| node.coverage.sweeps > 0).map(|node| node.id).collect();
        Self {
            schema_version: REPORT_SCHEMA,
            generated_at: now,
            period: PeriodRecord { from: period.from, to: period.to, as_of },
            policy_digest: last.map(|scope| scope.policy_digest),
            engine: last.map(|scope| scope.engine.as_str()),
            scope: evidence.scopes.iter().map(|(since, scope)| ScopeSince { since: *since, scope }).collect(),
            totals: Totals::of(&nodes, evidence),
            controls: by_control(evidence, &swept),
            nodes,
            decisions: &evidence.decisions,
            actions: &evidence.actions,
            refusals: &evidence.refusals,
            audit: &evidence.audit,
            removed: &evidence.removed,
        }
    }
}

impl Totals {
    fn of(nodes: &[NodeRecord<'_>], evidence: &Evidence) -> Self {
        let mut nodes_by_state = BTreeMap::new();
        for node in nodes {
            *nodes_by_state.entry(node.state.name()).or_default() += 1;
        }
        let containers: Vec<_> = nodes.iter().flat_map(|node| &node.containers).collect();
        let mut containers_by_state = BTreeMap::new();
        for container in &containers {
            *containers_by_state.entry(container.state.name()).or_default() += 1;
        }
        Self {
            nodes: nodes.len(),
            nodes_by_state,
            nodes_without_sweep: nodes.iter().filter(|node| node.coverage.sweeps == 0).count(),
            containers: containers.len(),
            containers_by_state,
            sweeps: nodes.iter().map(|node| node.coverage.sweeps).sum(),
            findings: nodes.iter().map(|node| node.findings.len()).sum::<usize>()
                + containers.iter().map(|container| container.findings.len()).sum::<usize>(),
            decisions: evidence.decisions.len(),
            actions: evidence.actions.len(),
            refusals: evidence.refusals.len(),
            audit: evidence.audit.len(),
        }
    }
}

impl<'a> NodeRecord<'a> {
    fn of(
        id: &'a str,
        node: &'a SubjectEvidence,
        evidence: &'a Evidence,
        period: Period,
        as_of: Timestamp,
    ) -> Self {
        let (group, environment) = place(id, evidence);
        let in_scope_from = node.states.first().map_or(period.from, |state| state.at);
        let last = node.states.last();
        let within = node.states.iter().filter(|state| state.at >= period.from);
        Self {
            id,
            group,
            environment,
            state: last.map_or(State::Unknown, |state| state.state),
            since: last.map(|state| state.at),
            note: last.and_then(|state| state.note.as_deref()),
            coverage: NodeCoverage::of(&node.looks, period, in_scope_from, as_of),
            states: within.cloned().map(Into::into).collect(),
            findings: findings(node, period),
            containers: evidence
                .containers
                .range(SubjectId::node(id)..)
                .take_while(|(subject, _)| subject.node == id)
                .map(|(subject, container)| ContainerRecord::of(subject, container, period, as_of))
                .collect(),
        }
    }
}

impl<'a> ContainerRecord<'a> {
    fn of(subject: &'a SubjectId, container: &'a SubjectEvidence, period: Period, as_of: Timestamp) -> Self {
        let first = container.states.first().map_or(period.from, |state| state.at);
        let last = container.states.last();
        // What is over is not waited for.
        let ended = last.filter(|last| last.is_over).map(|last| last.at);
        let within = container.states.iter().filter(|state| state.at >= period.from);
        let identity = container.identity.as_ref();
        Self {
            id: subject.container.as_deref().unwrap_or_default(),
            name: identity.and_then(|identity| identity.name.as_deref()),
            runtime: identity.map(|identity| identity.runtime.as_str()),
            image: identity.and_then(|identity| identity.image.as_deref()),
            config_digest: identity.and_then(|identity| identity.config_digest),
            state: last.map_or(ContainerState::Unknown, ContainerState::of),
            since: last.map(|state| state.at),
            note: last.and_then(|state| state.note.as_deref()),
            coverage: NodeCoverage::of(&container.looks, period, first, ended.unwrap_or(as_of).min(as_of)),
            states: within.cloned().map(Into::into).collect(),
            findings: findings(container, period),
        }
    }
}

/// A node's group and environment, as they were last configured.
fn place<'a>(id: &str, evidence: &'a Evidence) -> (&'a str, &'a str) {
    let found = evidence.scopes.iter().rev().find_map(|(_, scope)| {
        let node = scope.nodes.iter().find(|node| node.id == id)?;
        let group = scope.groups.iter().find(|group| group.name == node.group)?;
        Some((group.name.as_str(), group.environment.as_str()))
    });
    found.unwrap_or_default()
}

/// A finding, and which looks saw it.
struct Seen<'a> {
    finding: &'a Finding,
    /// The first and the last of them, by their places among the looks.
    first: usize,
    last: usize,
    /// Whether one was not held to a manifest: what that sees, others of its kind see as well.
    by_other: bool,
}

/// The distinct findings of the looks at a subject in the period, in tree order.
fn findings<'a>(subject: &'a SubjectEvidence, period: Period) -> Vec<FindingRecord<'a>> {
    let looks: Vec<_> = subject.looks.iter().filter(|look| look.received_at >= period.from).collect();
    let mut distinct: BTreeMap<String, Seen<'a>> = BTreeMap::new();
    for (at, look) in looks.iter().enumerate().filter(|(_, look)| look.state == State::Divergent) {
        for finding in subject.findings.get(&look.found()).into_iter().flatten() {
            let key = serde_json::to_string(finding).expect("findings always serialise");
            let seen = distinct.entry(key).or_insert(Seen { finding, first: at, last: at, by_other: false });
            seen.last = at;
            seen.by_other |= !look.held;
        }
    }
    let last_of = |is_meant: &dyn Fn(&LookTimes) -> bool| looks.iter().rposition(|look| is_meant(look));
    let last_held = last_of(&|look| look.held);
    let last_complete = last_of(&|look| look.held && look.complete);
    // What it found is not told where its manifest is not accepted, and then it is no proof.
    let last_other = last_of(&|look| !look.held && (look.state == State::Divergent || look.beside.is_none()));
    let is_in_last = |seen: &Seen<'_>| {
        // Each of these would have seen it.
        let by_held = if looks[seen.last].held { last_held } else { last_complete };
        let by_other = last_other.filter(|_| seen.by_other);
        by_held.max(by_other).is_none_or(|last| last <= seen.last)
    };
    let record = |seen: Seen<'a>| FindingRecord {
        first_seen: looks[seen.first].received_at,
        last_seen: looks[seen.last].received_at,
        in_last_sweep: is_in_last(&seen),
        finding: seen.finding,
    };
    let mut records: Vec<_> = distinct.into_values().map(record).collect();
    records.sort_by(|a, b| (&a.finding.path, a.first_seen).cmp(&(&b.finding.path, b.first_seen)));
    records
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
