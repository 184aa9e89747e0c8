//! `GET /v1/nodes/{id}/containers/{container}`: a container, and all that is known of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use congruent_protocol::decision::Decision;
use congruent_protocol::drift::Finding;
use congruent_protocol::report::{ContainerIdentity, ContainerReport, LayerReport, Outcome, Report};
use congruent_protocol::verification::{Coverage, State as SubjectState};
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
use crate::ingest::{chain_of, shorten};
use crate::record::{ActionRecord, ContainerState, ContainerTransition, DecisionRecord, ReportRecord};
use crate::store::{ActionFilter, StoreError, View};
use crate::subject::SubjectId;

/// How many of each kind of record a container is shown with; the lists have more.
const RECENT: usize = 20;
/// How many findings a container is shown with.
const FINDINGS_SHOWN: usize = 1000;
/// Of how many containers of a node that are over one is looked for by a word: the newest.
const OVER_LOOKED_AT: usize = 10_000;

/// A container and all that is known of it.
#[derive(Serialize, ToSchema)]
pub(super) struct OneContainer {
    schema_version: u32,
    #[serde(flatten)]
    summary: ContainerSummary,
    state: ContainerState,
    /// What it was before it was over; null while it runs, or where that is not known any more.
    last_state: Option<SubjectState>,
    /// Its newest report, which what follows is from.
    report: Option<ReportRecord>,
    /// Of one that runs no more: why its report cannot be read, where it is lost. What the
    /// report saw is not known then, though it may have findings.
    report_lost: Option<String>,
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
    /// What policy says of it now: nothing of what is over.
    decision: Option<Decision>,
    decision_record: Option<DecisionRecord>,
    /// The newest of each, the newest first.
    actions: Vec<ActionRecord>,
    states: Vec<ContainerTransition>,
}

/// A container and all that is known of it
///
/// One that runs no more is `over` since then, and what is still known of it is told: its last
/// state, and what its newest report saw.
#[utoipa::path(get, path = "/v1/nodes/{id}/containers/{container}", operation_id = "show_container", tag = "containers",
    params(("id" = String, Path, description = "The node."),
        ("container" = String, Path, description = "The container: its id, its name, or the beginning of its id, as \
            far as that means one alone. A whole id counts first; then what runs before what is over.")),
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
    let running: Vec<_> = view.subjects_of(node)?.into_iter().filter_map(Candidate::running).collect();
    let chosen = match choose(node, &running, word) {
        Err(ChooseError::None { .. }) => {
            let over: Vec<_> =
                view.over_on(node, OVER_LOOKED_AT)?.into_iter().filter_map(Candidate::over).collect();
            choose(node, &over, word).map(|one| one.id.clone())
        }
        chosen => chosen.map(|one| one.id.clone()),
    };
    match chosen {
        Ok(id) => {
            let shown = detail(view, &SubjectId::container(node, &id))?;
            Ok(shown.ok_or_else(|| ChooseError::none(node, word)))
        }
        Err(error) => Ok(Err(error)),
    }
}

/// What a container's report tells.
#[derive(Default)]
struct Told {
    identity: Option<ContainerIdentity>,
    coverage: Option<Coverage>,
    findings: Vec<Finding>,
    layers: Vec<LayerReport>,
    runtime_layer: Vec<Finding>,
    mounts: Vec<Finding>,
}

impl From<Report> for Told {
    fn from(report: Report) -> Self {
        let (coverage, findings) = match report.outcome {
            Outcome::Verified(verification) => (Some(verification.coverage), verification.findings),
            Outcome::NoManifest(_) | Outcome::Withheld(_) => (None, Vec::new()),
        };
        match report.container.map(|container| *container) {
            Some(ContainerReport { identity, layers, runtime_layer, mounts, .. }) => {
                Self { identity: Some(identity), coverage, findings, layers, runtime_layer, mounts }
            }
            None => Self { coverage, findings, ..Self::default() },
        }
    }
}

/// A container, whether it runs or is over; none where no record tells of it.
fn detail(view: &View<'_>, subject: &SubjectId) -> Result<Option<OneContainer>, StoreError> {
    let states = view.states_of(subject, RECENT)?;
    let listed = view.listed_container(subject)?;
    let row = match &listed {
        Some(listed) => listed.subject.report_id.map(|id| view.report(id)).transpose()?.flatten(),
        None => view.newest_report_of(subject)?,
    };
    let body = row.as_ref().map(|row| view.report_body(row.id)).transpose();
    let (body, report_lost) = match body {
        // What runs reports anew; of what is over all else is told that is left.
        Err(error) if listed.is_none() && error.is_lost_body() => (None, Some(shorten(&chain_of(&error)))),
        body => (body?, None),
    };
    let mut told = body.map(Told::from).unwrap_or_default();
    let decision = listed.as_ref().and_then(|listed| listed.subject.decision_id);
    let decision = decision.map(|id| view.decision(id)).transpose()?.flatten();
    let decision_record = decision.map(DecisionRecord::from);
    let mut last_state = None;
    let (summary, state) = match (listed, states.first().filter(|newest| newest.is_over)) {
        (Some(listed), _) => {
            let state = listed.subject.state.into();
            (listed.into(), state)
        }
        (None, Some(end)) => {
            last_state = states.get(1).filter(|before| !before.is_over).map(|before| before.state);
            // What was over before that was kept with it has its name from its report.
            let identity = end.identity.clone().or_else(|| told.identity.take());
            let verified_at = view.verified_at(subject)?;
            (ContainerSummary::over(end, identity, row.as_ref(), verified_at), ContainerState::Over)
        }
        (None, None) => return Ok(None),
    };
    let filter = ActionFilter { subject: Some(subject), ..ActionFilter::default() };
    let actions = view.actions(&filter, RECENT)?.into_iter().map(|row| ActionRecord::read(view, row));
    let Told { coverage, mut findings, layers, runtime_layer, mounts, .. } = told;
    let findings_truncated = cut(&mut findings, FINDINGS_SHOWN);
    Ok(Some(OneContainer {
        schema_version: API_SCHEMA,
        summary,
        state,
        last_state,
        report: row.map(ReportRecord::from),
        report_lost,
        coverage,
        layers,
        findings,
        findings_truncated,
        runtime_layer,
        mounts,
        decision: decision_record.as_ref().and_then(|record| record.decision.clone()),
        decision_record,
        actions: actions.collect::<Result<_, _>>()?,
        states: states.into_iter().map(Into::into).collect(),
    }))
}
