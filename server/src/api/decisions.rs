//! `GET /v1/decisions`, newest first, and `GET /v1/decisions/{id}`, which has
//! the input too, so that the decision can be replayed.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::list::{ListQuery, cut};
use super::refusals::{BadRequest, NotFound};
use super::segment::Segment;
use crate::record::DecisionRecord;

#[derive(Serialize, ToSchema)]
pub(super) struct Decisions {
    schema_version: u32,
    decisions: Vec<DecisionRecord>,
    truncated: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OneDecision {
    schema_version: u32,
    #[serde(flatten)]
    decision: DecisionRecord,
    /// Byte for byte what policy was asked.
    #[schema(value_type = Object)]
    input: Box<RawValue>,
}

/// What policy said, the newest first
#[utoipa::path(get, path = "/v1/decisions", operation_id = "list_decisions", tag = "decisions", params(ListQuery),
    responses((status = 200, description = "The decisions.", body = Decisions), BadRequest))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Decisions>, Problem> {
    let (query, limit) = ListQuery::check(query)?;
    let reading = api.store.read("read the decisions", move |view| {
        view.decisions(query.node.as_deref(), query.group.as_deref(), limit + 1)
    });
    let mut decisions: Vec<_> = reading.await?.into_iter().map(DecisionRecord::from).collect();
    let truncated = cut(&mut decisions, limit);
    Ok(Json(Decisions { schema_version: API_SCHEMA, decisions, truncated }))
}

/// A decision and what policy was asked
#[utoipa::path(get, path = "/v1/decisions/{id}", operation_id = "show_decision", tag = "decisions",
    params(("id" = i64, Path, description = "The decision.", minimum = 1)),
    responses((status = 200, description = "The decision.", body = OneDecision), NotFound))]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<Json<OneDecision>, Problem> {
    let id: i64 = id.parse().map_err(|_| Problem::not_found("decision"))?;
    let reading =
        api.store.read("read a decision", move |view| Ok(view.decision(id)?.zip(view.decision_input(id)?)));
    let (decision, input) = reading.await?.ok_or_else(|| Problem::not_found("decision"))?;
    let input = String::from_utf8(input).ok().and_then(|input| RawValue::from_string(input).ok());
    let input = input.ok_or_else(|| Problem::not_found("input of this decision"))?;
    Ok(Json(OneDecision { schema_version: API_SCHEMA, decision: decision.into(), input }))
}
