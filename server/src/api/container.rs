//! `GET /v1/nodes/{id}/containers/{container}`: a container, and all that is known of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use congruent_protocol::decision::Decision;
use congruent_protocol::drift::Finding;
use congruent_protocol::report::{LayerReport, Outcome, Report};
use congruent_protocol::verification::Coverage;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::choose::{Candidate, ChooseError, choose};
use super::containers::ContainerSummary;
use super::list::cut;
use super::node::unknown;
use super::refusals::{Conflict, NotFound};
use super::segment::Segment;
use crate::record::{ActionRecord, DecisionRecord, ReportRecord, Transition};
use crate::store::{ActionFilter, StoreError, View};
use crate::subject::SubjectId;

/// How many of each kind of record a container is shown with; the lists have more.
const RECENT: usize = 20;
/// How many findings a container is shown with.
const FINDINGS_SHOWN: usize = 1000;

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

/// A container and all that is known of it
#[utoipa::path(get, path = "/v1/nodes/{id}/containers/{container}", operation_id = "show_container", tag = "containers",
    params(("id" = String, Path, description = "The node."),
        ("container" = String, Path, description = "The container: its id, its name, or the beginning of its id, as \
            far as that means one alone. A whole id counts before a name, and a name before a beginning.")),
    responses((status = 200, description = "The container.", body = OneContainer), NotFound, Conflict))]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Segment((node, container)): Segment<(String, String)>,
) -> Result<Json<OneContainer>, Problem> {
    let on = node.clone();
    let reading = api.store.read("read a container", move |view| {
        Ok(match show(view, &on, &container)? {
            Ok(shown) => Ok(shown),
            Err(error) => Err((error, view.node(&on)?.is_some())),
        })
    });
    reading.await?.map(Json).map_err(|(error, is_known)| match error {
        ChooseError::None { .. } if !is_known => unknown(&node),
        ChooseError::None { .. } => Problem::new(StatusCode::NOT_FOUND, "not-found", error.to_string()),
        ChooseError::Several { .. } => Problem::new(StatusCode::CONFLICT, "ambiguous", error.to_string()),
    })
}

/// The container on a node that a word means.
fn show(view: &View<'_>, node: &str, word: &str) -> Result<Result<OneContainer, ChooseError>, StoreError> {
    // A whole id is always that container, whatever others are called.
    if let Some(shown) = detail(view, &SubjectId::container(node, word))? {
        return Ok(Ok(shown));
    }
    let running: Vec<_> = view.subjects_of(node)?.into_iter().filter_map(Candidate::of).collect();
    let chosen = match choose(node, &running, word) {
        Ok(chosen) => SubjectId::container(node, &chosen.id),
        Err(error) => return Ok(Err(error)),
    };
    Ok(detail(view, &chosen)?.ok_or_else(|| ChooseError::none(node, word)))
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
