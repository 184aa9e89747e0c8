//! `POST /v1/enroll`, `POST /v1/renew` and `POST /v1/nodes/{id}/revoke`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use congruent_protocol::enrolment::{EnrollRequest, Enrolled, MAX_ENROLMENT_BYTES, RenewRequest, Renewed};
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;
use tracing::warn;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::auth::Sender;
use crate::identity::{Author, EnrolError, Enroller, Peer};
use crate::judge::retire;
use crate::listener::Connection;
use crate::metrics::{Enrolments, count};
use crate::store::Tx;

/// How long a small body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Takes a node in.
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

/// Gives a node its next certificate.
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

#[derive(Debug, Serialize)]
pub(super) struct Revoked {
    schema_version: u32,
    node: String,
    revoked_at: Timestamp,
}

/// Ends a node's enrolment, from its next request on.
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    author: Author,
    Path(id): Path<String>,
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
