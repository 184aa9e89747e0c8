//! `GET /v1/nodes` and `GET /v1/nodes/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use congruent_protocol::decision::{Decision, Severity, Verdict};
use congruent_protocol::drift::Finding;
use congruent_protocol::report::{Facts, Outcome};
use congruent_protocol::verification::{Coverage, ManifestId, Protected, State as NodeState};
use jiff::Timestamp;
use serde::Serialize;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::list::{ListQuery, cut};
use crate::config::{Accepted, Config, Group, Mode, Node};
use crate::record::{ActionRecord, ChainNote, DecisionRecord, RefusalRecord, ReportRecord, Transition};
use crate::store::{ActionFilter, NodeRow, ReportRow, StoreError, View};

/// How many of each kind of record a node is shown with; the lists have more.
const RECENT: usize = 20;
/// How many findings a node is shown with. The auditor's report has them all.
const FINDINGS_SHOWN: usize = 1000;

#[derive(Serialize)]
pub(super) struct Nodes {
    schema_version: u32,
    nodes: Vec<NodeSummary>,
    truncated: bool,
}

/// A node at a glance.
#[derive(Serialize)]
struct NodeSummary {
    id: String,
    group: String,
    environment: String,
    mode: Mode,
    state: NodeState,
    note: Option<String>,
    since: Option<Timestamp>,
    last_seen: Option<Timestamp>,
    /// When the last full sweep arrived that found it congruent.
    verified_at: Option<Timestamp>,
    manifest: Option<ManifestId>,
    /// How much of the tree the manifest's contract protects; none where the
    /// manifest is not accepted.
    protected: Option<Protected>,
    findings_total: u64,
    verdict: Option<Verdict>,
    severity: Option<Severity>,
    policy_error: Option<String>,
}

/// A node and all that is known of it.
#[derive(Serialize)]
pub(super) struct OneNode {
    schema_version: u32,
    #[serde(flatten)]
    summary: NodeSummary,
    report: Option<ReportRecord>,
    facts: Option<Facts>,
    coverage: Option<Coverage>,
    /// The first of them; `findings_total` says how many there are.
    findings: Vec<Finding>,
    findings_truncated: bool,
    /// None where it was revoked.
    enrolment: Option<EnrolmentRecord>,
    /// What policy says of it now.
    decision: Option<Decision>,
    decision_record: Option<DecisionRecord>,
    /// The newest of each, the newest first.
    actions: Vec<ActionRecord>,
    refusals: Vec<RefusalRecord>,
    chain: Vec<ChainNote>,
    states: Vec<Transition>,
}

/// What makes a node one that has enrolled.
#[derive(Serialize)]
struct EnrolmentRecord {
    id: String,
    /// Its key's fingerprint.
    key: String,
    since: Timestamp,
}

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Nodes>, Problem> {
    let (query, limit) = ListQuery::check(query)?;
    let config = Arc::clone(&api.config);
    let reading = api.store.read("read the nodes", move |view| {
        let wanted = |id: &str, group: &str| {
            query.node.as_deref().is_none_or(|node| node == id)
                && query.group.as_deref().is_none_or(|wanted| wanted == group)
        };
        let mut ids = config.nodes.all();
        ids.retain(|node| wanted(&node.id, &node.group));
        let truncated = cut(&mut ids, limit);
        let nodes = ids.into_iter().map(|node| summary(view, &config, &node.id)).collect::<Result<_, _>>()?;
        Ok(Nodes { schema_version: API_SCHEMA, nodes, truncated })
    });
    Ok(Json(reading.await?))
}

pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<OneNode>, Problem> {
    if !api.config.nodes.contains(&id) {
        return Err(Problem::not_found("node"));
    }
    let config = Arc::clone(&api.config);
    Ok(Json(api.store.read("read a node", move |view| detail(view, &config, &id)).await?))
}

fn summary(view: &View<'_>, config: &Config, id: &str) -> Result<NodeSummary, StoreError> {
    let node = view.node(id)?;
    let report = newest_report(view, node.as_ref())?;
    summarise(view, config, id, node.as_ref(), report.as_ref())
}

fn newest_report(view: &View<'_>, node: Option<&NodeRow>) -> Result<Option<ReportRow>, StoreError> {
    Ok(node.and_then(|node| node.report_id).map(|id| view.report(id)).transpose()?.flatten())
}

fn summarise(
    view: &View<'_>,
    config: &Config,
    id: &str,
    node: Option<&NodeRow>,
    report: Option<&ReportRow>,
) -> Result<NodeSummary, StoreError> {
    let group = config.group_of(id);
    let group = group.as_deref();
    let verified = node.and_then(|node| node.verified_report_id);
    let verified = verified.map(|id| view.report(id)).transpose()?.flatten();
    let decision = node.and_then(|node| node.decision_id).map(|id| view.decision(id)).transpose()?.flatten();
    let decided = decision.and_then(|row| row.decision.outcome.ok());
    let manifest = report.and_then(|row| row.report.manifest.clone());
    let accepted = manifest.as_ref().zip(group).and_then(|(id, group)| group.accepted(id));
    let name = |of: fn(&Group) -> &String| group.map(of).cloned().unwrap_or_default();
    Ok(NodeSummary {
        id: id.to_owned(),
        group: name(|group| &group.name),
        environment: name(|group| &group.environment),
        mode: group.map(|group| group.mode).unwrap_or_default(),
        state: node.map_or(NodeState::Unknown, |node| node.state),
        note: node.and_then(|node| node.note.clone()),
        since: node.map(|node| node.since),
        last_seen: node.and_then(|node| node.last_seen),
        verified_at: verified.map(|row| row.report.received_at),
        protected: accepted.map(Accepted::protected),
        manifest,
        findings_total: report.map_or(0, |row| row.report.findings_total),
        verdict: decided.as_ref().map(|decision| decision.action),
        severity: decided.as_ref().map(|decision| decision.severity),
        policy_error: node.and_then(|node| node.policy_error.clone()),
    })
}

impl From<&Node> for EnrolmentRecord {
    fn from(node: &Node) -> Self {
        Self { id: node.enrolment.clone(), key: node.key.clone(), since: node.since }
    }
}

fn detail(view: &View<'_>, config: &Config, id: &str) -> Result<OneNode, StoreError> {
    let node = view.node(id)?;
    let report = newest_report(view, node.as_ref())?;
    let body = report.as_ref().map(|row| view.report_body(row.id)).transpose()?;
    let (facts, outcome) = body.map(|body| (body.facts, body.outcome)).unzip();
    let (coverage, mut findings) = match outcome {
        Some(Outcome::Verified(verification)) => (Some(verification.coverage), verification.findings),
        Some(Outcome::NoManifest(_) | Outcome::Withheld(_)) | None => (None, Vec::new()),
    };
    let findings_truncated = cut(&mut findings, FINDINGS_SHOWN);
    let decision = node.as_ref().and_then(|node| node.decision_id).map(|id| view.decision(id));
    let decision_record = decision.transpose()?.flatten().map(DecisionRecord::from);
    let filter = ActionFilter { node: Some(id), ..ActionFilter::default() };
    let actions = view.actions(&filter, RECENT)?.into_iter().map(|row| ActionRecord::read(view, row));
    Ok(OneNode {
        schema_version: API_SCHEMA,
        summary: summarise(view, config, id, node.as_ref(), report.as_ref())?,
        report: report.map(ReportRecord::from),
        facts,
        coverage,
        findings,
        findings_truncated,
        enrolment: config.nodes.get(id).map(|node| (&*node).into()),
        decision: decision_record.as_ref().and_then(|record| record.decision.clone()),
        decision_record,
        actions: actions.collect::<Result<_, _>>()?,
        refusals: view.refusals(id, RECENT)?.into_iter().map(Into::into).collect(),
        chain: view.chain_notes(id, RECENT)?.into_iter().map(Into::into).collect(),
        states: view.node_states(id, RECENT)?.into_iter().map(Into::into).collect(),
    })
}
