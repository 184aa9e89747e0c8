//! `POST /v1/enroll`, `POST /v1/renew` and `POST /v1/nodes/{id}/revoke`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use congruent_protocol::enrolment::{
    ENROLL_PATH, EnrollRequest, Enrolled, MAX_ENROLMENT_BYTES, RENEW_PATH, RenewRequest, Renewed,
};
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;
use tracing::warn;
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::auth::Sender;
use super::description::Reason;
use super::refusals::{
    BadRequest, Conflict, Failed, Forbidden, NotFound, Timeout, TooLarge, TooMany, Unavailable, Unfit,
};
use super::segment::Segment;
use crate::identity::{Author, EnrolError, Enroller, Peer};
use crate::judge::retire;
use crate::listener::Connection;
use crate::metrics::{Enrolments, count};
use crate::store::Tx;

/// How long a small body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Takes a node in
///
/// Needs no operator: what lets the node in is the evidence in the request.
#[utoipa::path(post, path = ENROLL_PATH, operation_id = "enroll", tag = "enrolment", request_body = EnrollRequest,
    responses((status = 200, description = "The node is enrolled.", body = Enrolled), BadRequest, Forbidden, NotFound,
        Timeout, Conflict, TooLarge, Unfit, TooMany, Failed, Unavailable))]
pub(super) async fn take(
    State(api): State<Arc<Api>>,
    Extension(connection): Extension<Connection>,
    body: Body,
) -> Result<Json<Enrolled>, Problem> {
    let enroller = enroller(&api)?;
    let request: EnrollRequest = small_json(body).await?;
    let enrolled = enroller.enroll(request, connection.address.ip()).await;
    let counted = &api.ingest.metrics.enrolments;
    Ok(Json(counted_as(&counted.enrolled, counted, enrolled)?))
}

/// Gives a node its next certificate
///
/// A certificate that is over serves for this as well, for some time.
#[utoipa::path(post, path = RENEW_PATH, operation_id = "renew", tag = "enrolment", request_body = RenewRequest,
    responses((status = 200, description = "The next certificate.", body = Renewed), BadRequest, NotFound, Timeout,
        TooLarge, Unfit, Failed, Unavailable))]
pub(super) async fn renew(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Arc<Peer>>,
    Extension(Sender(_)): Extension<Sender>,
    body: Body,
) -> Result<Json<Renewed>, Problem> {
    let request: RenewRequest = small_json(body).await?;
    let renewed = enroller(&api)?.renew(&request, &peer);
    let counted = &api.ingest.metrics.enrolments;
    Ok(Json(counted_as(&counted.renewed, counted, renewed)?))
}

/// Counts what came of a request: one more that succeeded, or one more refusal.
fn counted_as<T>(
    succeeded: &Counter,
    counted: &Enrolments,
    outcome: Result<T, EnrolError>,
) -> Result<T, EnrolError> {
    match &outcome {
        Ok(_) => {
            succeeded.inc();
        }
        Err(refused) => count(&counted.refused, "code", refused.code()),
    }
    outcome
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RevokedNode)]
pub(super) struct Revoked {
    schema_version: u32,
    node: String,
    revoked_at: Timestamp,
}

/// Ends a node's enrolment, from its next request on
#[utoipa::path(post, path = "/v1/nodes/{id}/revoke", operation_id = "revoke_node", tag = "nodes",
    params(("id" = String, Path, description = "The node."), Reason),
    responses((status = 200, description = "The node's enrolment is revoked.", body = Revoked), NotFound))]
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    author: Author,
    Segment(id): Segment,
) -> Result<Json<Revoked>, Problem> {
    let now = (api.clock)();
    let (config, node, revoked) = (Arc::clone(&api.config), id.clone(), id.clone());
    let work = move |tx: &Tx<'_>| {
        let was_enrolled = tx.revoke_enrolment(&node, now, &author.operator.name, &author.reason)?;
        if was_enrolled {
            tx.audit_change(&author, now, "node-revoked", &format!("node {node}"), &json!({}))?;
            retire(tx, &node, now)?;
        }
        Ok(was_enrolled)
    };
    // Once it is committed, and in one order with what enrols.
    let then = move |was_enrolled: &bool| {
        if *was_enrolled {
            config.nodes.revoke(&revoked);
        }
    };
    if !api.store.write_then("revoke a node", work, then).await? {
        return Err(Problem::not_found("enrolled node"));
    }
    warn!(node = id, "the node's enrolment is revoked");
    // Its action may have been what the group's budget was taken by.
    api.budget.notify_one();
    Ok(Json(Revoked { schema_version: API_SCHEMA, node: id, revoked_at: now }))
}

fn enroller(api: &Api) -> Result<&Enroller, Problem> {
    api.enroller.as_ref().ok_or_else(|| {
        let message = "this collector takes no enrolments; give `agents-listen` in its configuration";
        Problem::new(StatusCode::NOT_FOUND, "no-enrolment", message)
    })
}

/// Reads a body that is small and quick, as JSON.
async fn small_json<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let refuse = |status, code: &str, message: String| Problem::new(status, code, message);
    let read = timeout(BODY_TIMEOUT, to_bytes(body, MAX_ENROLMENT_BYTES)).await.map_err(|_| {
        refuse(
            StatusCode::REQUEST_TIMEOUT,
            "incomplete-body",
            "the request did not arrive in time".to_owned(),
        )
    })?;
    let bytes = read.map_err(|_| {
        let message = format!("the request is over {MAX_ENROLMENT_BYTES} bytes, or did not arrive whole");
        refuse(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", message)
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        // Only where it is wrong: a request may hold a token.
        let message = format!(
            "the request is not JSON of the expected shape, at line {}, column {}",
            error.line(),
            error.column()
        );
        refuse(StatusCode::BAD_REQUEST, "malformed", message)
    })
}
