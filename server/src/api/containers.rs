//! `GET /v1/containers`: containers at a glance; `GET /v1/nodes/{id}/containers`: those of
//! one node; `GET /v1/nodes/{id}/containers/{container}`: one, and all that is known of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use congruent_protocol::decision::{Decision, Severity, Verdict};
use congruent_protocol::digest::Digest;
use congruent_protocol::drift::Finding;
use congruent_protocol::report::{LayerReport, Outcome, Report};
use congruent_protocol::verification::{Coverage, ManifestId, State as SubjectState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::list::{DEFAULT_LIMIT, check_limit, check_query, cut, refuse};
use super::node::unknown;
use super::refusals::{BadRequest, NotFound};
use super::segment::Segment;
use crate::record::{ActionRecord, DecisionRecord, ReportRecord, Transition};
use crate::store::{ActionFilter, ContainerFilter, ListedSubject, StoreError, View};
use crate::subject::SubjectId;

/// How many of each kind of record a container is shown with; the lists have more.
const RECENT: usize = 20;
/// How many findings a container is shown with.
const FINDINGS_SHOWN: usize = 1000;

/// Which containers are asked for: those to which all of it applies.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ContainersQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = json!(DEFAULT_LIMIT))]
    limit: Option<usize>,
    /// Only what follows this one: `next` of the page before.
    #[param(pattern = "/")]
    after: Option<String>,
    /// Only on nodes of this group.
    group: Option<String>,
    /// Only those in this state.
    #[param(inline)]
    state: Option<SubjectState>,
    /// What the decision that stands asks for.
    #[param(inline)]
    verdict: Option<Verdict>,
}

/// A page of containers, in the order of their nodes and ids.
#[derive(Serialize, ToSchema)]
pub(super) struct Containers {
    schema_version: u32,
    containers: Vec<ContainerSummary>,
    /// What the next page is to be `after`; null on the last.
    next: Option<String>,
    truncated: bool,
}

/// A container at a glance. Name, runtime, image and configuration are as its node says.
#[derive(Serialize, ToSchema)]
struct ContainerSummary {
    node: String,
    id: String,
    name: Option<String>,
    runtime: Option<String>,
    image: Option<String>,
    config_digest: Option<Digest>,
    state: SubjectState,
    note: Option<String>,
    since: Timestamp,
    /// When its newest report came.
    reported_at: Option<Timestamp>,
    /// When the last full look arrived that found it congruent.
    verified_at: Option<Timestamp>,
    manifest: Option<ManifestId>,
    /// Of its merged tree, as observed.
    observed_root: Option<Digest>,
    findings_total: u64,
    verdict: Option<Verdict>,
    severity: Option<Severity>,
    policy_error: Option<String>,
}

/// A container and all that is known of it.
#[derive(Serialize, ToSchema)]
pub(super) struct OneContainer {
    schema_version: u32,
    #[serde(flatten)]
    summary: ContainerSummary,
    report: Option<ReportRecord>,
    coverage: Option<Coverage>,
    /// The image's layers, lowest first.
    layers: Vec<LayerReport>,
    /// What the container changed, in its merged tree: the first of it.
    findings: Vec<Finding>,
    findings_truncated: bool,
    /// What lies in the runtime's own layer, and is not the runtime's.
    runtime_layer: Vec<Finding>,
    /// Mounts that the contract does not expect.
    mounts: Vec<Finding>,
    /// What policy says of it now.
    decision: Option<Decision>,
    decision_record: Option<DecisionRecord>,
    /// The newest of each, the newest first.
    actions: Vec<ActionRecord>,
    states: Vec<Transition>,
}

/// The containers of all nodes
#[utoipa::path(get, path = "/v1/containers", operation_id = "list_containers", tag = "containers",
    params(ContainersQuery),
    responses((status = 200, description = "A page of the containers.", body = Containers), BadRequest))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ContainersQuery>, QueryRejection>,
) -> Result<Json<Containers>, Problem> {
    page(&api, None, check_query(query)?).await.map(Json)
}

/// The containers of a node
#[utoipa::path(get, path = "/v1/nodes/{id}/containers", operation_id = "list_node_containers", tag = "containers",
    params(("id" = String, Path, description = "The node."), ContainersQuery),
    responses((status = 200, description = "A page of the containers.", body = Containers), BadRequest, NotFound))]
pub(super) async fn of_node(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    query: Result<Query<ContainersQuery>, QueryRejection>,
) -> Result<Json<Containers>, Problem> {
    let query = check_query(query)?;
    let node = id.clone();
    let known = api.store.read("read a node", move |view| view.node(&node)).await?;
    if known.is_none() {
        return Err(unknown(&id));
    }
    page(&api, Some(id), query).await.map(Json)
}

async fn page(api: &Api, node: Option<String>, query: ContainersQuery) -> Result<Containers, Problem> {
    let ContainersQuery { limit, after, group, state, verdict } = query;
    let limit = check_limit(limit)?;
    let after = after.map(|after| parse_place(&after)).transpose()?;
    let filter = ContainerFilter { node, group, state, verdict };
    let reading = api
        .store
        .read("read the containers", move |view| view.list_containers(&filter, after.as_ref(), limit + 1));
    let mut listed = reading.await?;
    let truncated = cut(&mut listed, limit);
    let next = listed.last().filter(|_| truncated).map(|last| place(&last.subject.id));
    let containers = listed.into_iter().map(ContainerSummary::from).collect();
    Ok(Containers { schema_version: API_SCHEMA, containers, next, truncated })
}

/// A place in the list. A container's id has no slash.
fn place(subject: &SubjectId) -> String {
    format!("{}/{}", subject.node, subject.container.as_deref().unwrap_or_default())
}

fn parse_place(text: &str) -> Result<SubjectId, Problem> {
    let (node, container) = text.rsplit_once('/').ok_or_else(|| {
        refuse("after is what a page before had as next: a node, / and a container".to_owned())
    })?;
    Ok(SubjectId::container(node, container))
}

/// A container and all that is known of it
#[utoipa::path(get, path = "/v1/nodes/{id}/containers/{container}", operation_id = "show_container", tag = "containers",
    params(("id" = String, Path, description = "The node."),
        ("container" = String, Path, description = "The container's id, whole.")),
    responses((status = 200, description = "The container.", body = OneContainer), NotFound))]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Segment((node, container)): Segment<(String, String)>,
) -> Result<Json<OneContainer>, Problem> {
    let subject = SubjectId::container(&node, &container);
    let reading = api.store.read("read a container", move |view| detail(view, &subject));
    reading.await?.map(Json).ok_or_else(|| {
        let message = format!(
            "there is no such container as {container:?} on {node:?}; it was never reported, or runs no more"
        );
        Problem::new(StatusCode::NOT_FOUND, "not-found", message)
    })
}

fn detail(view: &View<'_>, subject: &SubjectId) -> Result<Option<OneContainer>, StoreError> {
    let Some(listed) = view.listed_container(subject)? else { return Ok(None) };
    let row = listed.subject.report_id.map(|id| view.report(id)).transpose()?.flatten();
    let body = row.as_ref().map(|row| view.report_body(row.id)).transpose()?;
    let (container, outcome) = match body {
        Some(Report { container, outcome, .. }) => (container, Some(outcome)),
        None => (None, None),
    };
    let (coverage, mut findings) = match outcome {
        Some(Outcome::Verified(verification)) => (Some(verification.coverage), verification.findings),
        Some(Outcome::NoManifest(_) | Outcome::Withheld(_)) | None => (None, Vec::new()),
    };
    let findings_truncated = cut(&mut findings, FINDINGS_SHOWN);
    let (layers, runtime_layer, mounts) = container
        .map(|container| (container.layers, container.runtime_layer, container.mounts))
        .unwrap_or_default();
    let decision = listed.subject.decision_id.map(|id| view.decision(id)).transpose()?.flatten();
    let decision_record = decision.map(DecisionRecord::from);
    let filter = ActionFilter { subject: Some(subject), ..ActionFilter::default() };
    let actions = view.actions(&filter, RECENT)?.into_iter().map(|row| ActionRecord::read(view, row));
    Ok(Some(OneContainer {
        schema_version: API_SCHEMA,
        summary: listed.into(),
        report: row.map(ReportRecord::from),
        coverage,
        layers,
        findings,
        findings_truncated,
        runtime_layer,
        mounts,
        decision: decision_record.as_ref().and_then(|record| record.decision.clone()),
        decision_record,
        actions: actions.collect::<Result<_, _>>()?,
        states: view.states_of(subject, RECENT)?.into_iter().map(Into::into).collect(),
    }))
}

impl From<ListedSubject> for ContainerSummary {
    fn from(listed: ListedSubject) -> Self {
        let ListedSubject { subject, manifest, observed_root, findings_total, verified_at, decision } =
            listed;
        let (name, runtime, image, config_digest) = subject
            .identity
            .map(|identity| (identity.name, Some(identity.runtime), identity.image, identity.config_digest))
            .unwrap_or_default();
        Self {
            node: subject.id.node,
            id: subject.id.container.unwrap_or_default(),
            name,
            runtime,
            image,
            config_digest,
            state: subject.state,
            note: subject.note,
            since: subject.since,
            reported_at: subject.reported_at,
            verified_at,
            manifest,
            observed_root,
            findings_total,
            verdict: decision.as_ref().map(|decision| decision.action),
            severity: decision.as_ref().map(|decision| decision.severity),
            policy_error: subject.policy_error,
        }
    }
}
