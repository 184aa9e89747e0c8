//! `DELETE /v1/nodes/{id}`: a node that is gone for good is forgotten. Its reports, the
//! decisions about it and the audit stay.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::warn;
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::description::Reason;
use super::list::check_query;
use super::node::unknown;
use super::refusals::{Conflict, NotFound};
use super::segment::Segment;
use crate::identity::Author;
use crate::judge::retire;
use crate::store::{StoreError, Tx};

/// How a node is to be forgotten.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ForgetQuery {
    /// Also one that is enrolled; its enrolment is revoked with it.
    #[serde(default)]
    revoke: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ForgottenNode)]
pub(super) struct Forgotten {
    schema_version: u32,
    node: String,
    /// Whether its enrolment ended with this.
    revoked: bool,
    forgotten_at: Timestamp,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unknown,
    /// It may report, and nobody said that it is to be revoked.
    Enrolled,
    Forgotten {
        was_enrolled: bool,
    },
}

/// Forgets a node that is gone for good
///
/// A machine that is left out of every list, and may still report, would be watched by
/// nobody: so one that is enrolled is forgotten only by who says that it is to be
/// revoked as well. Its reports, the decisions about it and the audit stay.
#[utoipa::path(delete, path = "/v1/nodes/{id}", operation_id = "forget_node", tag = "nodes",
    params(("id" = String, Path, description = "The node."), ForgetQuery, Reason),
    responses((status = 200, description = "It is forgotten.", body = Forgotten), NotFound, Conflict))]
pub(super) async fn forget(
    State(api): State<Arc<Api>>,
    author: Author,
    Segment(id): Segment,
    query: Result<Query<ForgetQuery>, QueryRejection>,
) -> Result<Json<Forgotten>, Problem> {
    let ForgetQuery { revoke } = check_query(query)?;
    let now = (api.clock)();
    let node = id.clone();
    let work = move |tx: &Tx<'_>| forget_in(tx, &author, &node, revoke, now);
    let (forgetting, node) = (Arc::clone(&api), id.clone());
    // Once it is committed, and in one order with what enrols.
    let then = move |outcome: &Outcome| {
        if matches!(outcome, Outcome::Forgotten { .. }) {
            forgetting.config.nodes.revoke(&node);
            forgetting.ingest.arrived.liveness.forget(&node);
        }
    };
    match api.store.write_then("forget a node", work, then).await? {
        Outcome::Unknown => Err(unknown(&id)),
        Outcome::Enrolled => {
            let message = format!(
                "the node {id:?} is enrolled and may report; if it is gone for good, revoke it with this \
                 (`--revoke`, or `?revoke=true`)"
            );
            Err(Problem::new(StatusCode::CONFLICT, "node-enrolled", message))
        }
        Outcome::Forgotten { was_enrolled } => {
            warn!(node = id, was_enrolled, "the node is forgotten");
            // Its action may have been what the group's budget was taken by.
            api.budget.notify_one();
            Ok(Json(Forgotten {
                schema_version: API_SCHEMA,
                node: id,
                revoked: was_enrolled,
                forgotten_at: now,
            }))
        }
    }
}

fn forget_in(
    tx: &Tx<'_>,
    author: &Author,
    node: &str,
    revoke: bool,
    now: Timestamp,
) -> Result<Outcome, StoreError> {
    let was_enrolled = tx.enrolment_of(node)?.is_some();
    if was_enrolled && !revoke {
        return Ok(Outcome::Enrolled);
    }
    if tx.node(node)?.is_none() && !was_enrolled {
        return Ok(Outcome::Unknown);
    }
    let object = format!("node {node}");
    if was_enrolled {
        tx.revoke_enrolment(node, now, &author.operator.name, &author.reason)?;
        tx.audit_change(author, now, "node-revoked", &object, &json!({}))?;
    }
    retire(tx, node, now)?;
    // Nobody will judge what it said last, and that must not hold up others.
    tx.skip_all_reports(node)?;
    tx.delete_node(node)?;
    tx.audit_change(author, now, "node-forgotten", &object, &json!({ "revoked": was_enrolled }))?;
    Ok(Outcome::Forgotten { was_enrolled })
}
