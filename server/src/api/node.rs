//! `GET /v1/nodes/{id}`: a node, and all that is known of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use congruent_protocol::decision::Decision;
use congruent_protocol::drift::Finding;
use congruent_protocol::report::{Facts, Outcome, Report};
use congruent_protocol::verification::Coverage;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::list::cut;
use super::nodes::NodeSummary;
use super::refusals::NotFound;
use super::segment::Segment;
use crate::config::Config;
use crate::liveness::Liveness;
use crate::record::{ActionRecord, ChainNote, DecisionRecord, RefusalRecord, ReportRecord, Transition};
use crate::store::{EnrolmentRow, StoreError, View};

/// How many of each kind of record a node is shown with; the lists have more.
const RECENT: usize = 20;
/// How many findings a node is shown with. The auditor's report has them all.
const FINDINGS_SHOWN: usize = 1000;

/// A node and all that is known of it.
#[derive(Serialize, ToSchema)]
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
    /// How many first values are recorded of it, as it reported last; null where it has
    /// not said what it runs.
    first_values: Option<u64>,
    /// How many containers on it are in each state, where any are.
    containers: BTreeMap<&'static str, u64>,
    /// The newest, also where it was revoked.
    enrolment: Option<EnrolmentRecord>,
    /// What policy says of it now.
    decision: Option<Decision>,
    decision_record: Option<DecisionRecord>,
    /// The actions on it, the newest first: its own, and those for which a container on it
    /// gave cause, which name that. All that are not over, and the newest of the others.
    actions: Vec<ActionRecord>,
    /// The newest of each, the newest first.
    refusals: Vec<RefusalRecord>,
    chain: Vec<ChainNote>,
    states: Vec<Transition>,
}

/// What makes a node one that has enrolled.
#[derive(Serialize, ToSchema)]
struct EnrolmentRecord {
    id: String,
    /// Its key's fingerprint.
    key: String,
    since: Timestamp,
    /// The join token's id.
    admitted_by: String,
    /// Null while it stands.
    revoked_at: Option<Timestamp>,
    revoked_by: Option<String>,
    revoked_why: Option<String>,
}

impl From<EnrolmentRow> for EnrolmentRecord {
    fn from(row: EnrolmentRow) -> Self {
        let EnrolmentRow { id, key, enrolled_at, admitted_by, revoked_at, revoked_by, revoked_why, .. } = row;
        Self { id, key, since: enrolled_at, admitted_by, revoked_at, revoked_by, revoked_why }
    }
}

/// A node and all that is known of it
#[utoipa::path(get, path = "/v1/nodes/{id}", operation_id = "show_node", tag = "nodes",
    params(("id" = String, Path, description = "The node.")),
    responses((status = 200, description = "The node.", body = OneNode), NotFound))]
pub(super) async fn one(State(api): State<Arc<Api>>, Segment(id): Segment) -> Result<Json<OneNode>, Problem> {
    let (config, liveness) = (Arc::clone(&api.config), Arc::clone(&api.ingest.arrived.liveness));
    let node = id.clone();
    let reading = api.store.read("read a node", move |view| detail(view, &config, &liveness, &node));
    reading.await?.map(Json).ok_or_else(|| unknown(&id))
}

/// There is no such node.
pub(super) fn unknown(id: &str) -> Problem {
    let message = format!("there is no such node as {id:?}; it never enrolled, or was forgotten");
    Problem::new(StatusCode::NOT_FOUND, "not-found", message)
}

fn detail(
    view: &View<'_>,
    config: &Config,
    liveness: &Liveness,
    id: &str,
) -> Result<Option<OneNode>, StoreError> {
    let Some(listed) = view.listed_node(id)? else { return Ok(None) };
    let report = listed.subject.report_id.map(|id| view.report(id)).transpose()?.flatten();
    let body = report.as_ref().map(|row| view.report_body(row.id)).transpose()?;
    let first_values = body.as_ref().map(|body| first_values(view, body)).transpose()?.flatten();
    let (facts, outcome) = body.map(|body| (body.facts, body.outcome)).unzip();
    let (coverage, mut findings) = match outcome {
        Some(Outcome::Verified(verification)) => (Some(verification.coverage), verification.findings),
        Some(Outcome::NoManifest(_) | Outcome::Withheld(_)) | None => (None, Vec::new()),
    };
    let findings_truncated = cut(&mut findings, FINDINGS_SHOWN);
    let decision = listed.subject.decision_id.map(|id| view.decision(id)).transpose()?.flatten();
    let decision_record = decision.map(DecisionRecord::from);
    let listed_id = listed.subject.id.clone();
    let actions = view.actions_on_node(id, RECENT)?.into_iter().map(|row| ActionRecord::read(view, row));
    Ok(Some(OneNode {
        schema_version: API_SCHEMA,
        summary: NodeSummary::of(view, config, liveness, listed)?,
        report: report.map(ReportRecord::from),
        facts,
        coverage,
        findings,
        findings_truncated,
        first_values,
        containers: view
            .count_containers(id)?
            .into_iter()
            .map(|(state, count)| (state.name(), count))
            .collect(),
        enrolment: view.newest_enrolment_of(id)?.map(EnrolmentRecord::from),
        decision: decision_record.as_ref().and_then(|record| record.decision.clone()),
        decision_record,
        actions: actions.collect::<Result<_, _>>()?,
        refusals: view.refusals(id, RECENT)?.into_iter().map(Into::into).collect(),
        chain: view.chain_notes(id, RECENT)?.into_iter().map(Into::into).collect(),
        states: view.states_of(&listed_id, RECENT)?.into_iter().map(Into::into).collect(),
    }))
}

fn first_values(view: &View<'_>, report: &Report) -> Result<Option<u64>, StoreError> {
    let Outcome::Verified(verification) = &report.outcome else { return Ok(None) };
    view.first_values_count(&report.chain, &verification.baked_root).map(Some)
}
