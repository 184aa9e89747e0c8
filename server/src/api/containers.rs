//! `GET /v1/containers`: containers at a glance; `GET /v1/nodes/{id}/containers`: those of
//! one node.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use congruent_protocol::decision::{Severity, Verdict};
use congruent_protocol::digest::Digest;
use congruent_protocol::report::ContainerIdentity;
use congruent_protocol::verification::{ManifestId, State as SubjectState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::list::{DEFAULT_LIMIT, check_limit, check_query, cut, refuse};
use super::node::unknown;
use super::refusals::{BadRequest, NotFound};
use super::segment::Segment;
use crate::store::{ContainerFilter, ListedSubject, ReportRow, StateRow};
use crate::subject::SubjectId;

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
    containers: Vec<ListedContainer>,
    /// What the next page is to be `after`; null on the last.
    next: Option<String>,
    truncated: bool,
}

/// A container that runs.
#[derive(Serialize, ToSchema)]
struct ListedContainer {
    #[serde(flatten)]
    summary: ContainerSummary,
    state: SubjectState,
}

/// A container at a glance, but for its state: what is over has none. Name, runtime, image and
/// configuration are as its node says.
#[derive(Serialize, ToSchema)]
pub(super) struct ContainerSummary {
    node: String,
    id: String,
    name: Option<String>,
    runtime: Option<String>,
    image: Option<String>,
    config_digest: Option<Digest>,
    note: Option<String>,
    /// Since when it has that state, or is over.
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
    let containers = listed.into_iter().map(ListedContainer::from).collect();
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

impl From<ListedSubject> for ListedContainer {
    fn from(listed: ListedSubject) -> Self {
        Self { state: listed.subject.state, summary: listed.into() }
    }
}

impl From<ListedSubject> for ContainerSummary {
    fn from(listed: ListedSubject) -> Self {
        let ListedSubject { subject, manifest, observed_root, findings_total, verified_at, decision } =
            listed;
        let (name, runtime, image, config_digest) = told(subject.identity);
        Self {
            node: subject.id.node,
            id: subject.id.container.unwrap_or_default(),
            name,
            runtime,
            image,
            config_digest,
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

/// Name, runtime, image and configuration of a container.
fn told(
    identity: Option<ContainerIdentity>,
) -> (Option<String>, Option<String>, Option<String>, Option<Digest>) {
    identity
        .map(|identity| (identity.name, Some(identity.runtime), identity.image, identity.config_digest))
        .unwrap_or_default()
}

impl ContainerSummary {
    /// A container that runs no more: when and why it was over, which one it was, what its
    /// newest report told, and when it was verified last. Policy says nothing of it.
    pub(super) fn over(
        end: &StateRow,
        identity: Option<ContainerIdentity>,
        report: Option<&ReportRow>,
        verified_at: Option<Timestamp>,
    ) -> Self {
        let (name, runtime, image, config_digest) = told(identity);
        let report = report.map(|row| &row.report);
        Self {
            node: end.subject.node.clone(),
            id: end.subject.container.clone().unwrap_or_default(),
            name,
            runtime,
            image,
            config_digest,
            note: end.note.clone(),
            since: end.at,
            reported_at: report.map(|report| report.received_at),
            verified_at,
            manifest: report.and_then(|report| report.manifest.clone()),
            observed_root: report.and_then(|report| report.observed_root),
            findings_total: report.map_or(0, |report| report.findings_total),
            verdict: None,
            severity: None,
            policy_error: None,
        }
    }
}
