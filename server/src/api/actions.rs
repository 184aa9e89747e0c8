//! `GET /v1/actions`, newest first, and `GET /v1/actions/{id}`, which has the
//! order too.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use congruent_protocol::action::Order;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::list::{ListQuery, cut};
use super::refusals::{BadRequest, NotFound};
use super::segment::Segment;
use crate::record::ActionRecord;
use crate::store::ActionFilter;

#[derive(Serialize, ToSchema)]
pub(super) struct Actions {
    schema_version: u32,
    actions: Vec<ActionRecord>,
    truncated: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OneAction {
    schema_version: u32,
    #[serde(flatten)]
    action: ActionRecord,
    /// Byte for byte what the platform gets; none where nothing was ordered.
    #[schema(value_type = Option<Order>)]
    order: Option<Box<RawValue>>,
}

/// The actions, the newest first
#[utoipa::path(get, path = "/v1/actions", operation_id = "list_actions", tag = "actions", params(ListQuery),
    responses((status = 200, description = "The actions.", body = Actions), BadRequest))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Actions>, Problem> {
    let (query, limit) = ListQuery::check(query)?;
    let reading = api.store.read("read the actions", move |view| {
        let filter = ActionFilter {
            node: query.node.as_deref(),
            group: query.group.as_deref(),
            ..ActionFilter::default()
        };
        let mut rows = view.actions(&filter, limit + 1)?;
        let truncated = cut(&mut rows, limit);
        let actions = rows.into_iter().map(|row| ActionRecord::read(view, row)).collect::<Result<_, _>>()?;
        Ok(Actions { schema_version: API_SCHEMA, actions, truncated })
    });
    Ok(Json(reading.await?))
}

/// An action and its order
#[utoipa::path(get, path = "/v1/actions/{id}", operation_id = "show_action", tag = "actions",
    params(("id" = String, Path, description = "The action.")),
    responses((status = 200, description = "The action.", body = OneAction), NotFound))]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<Json<OneAction>, Problem> {
    let reading = api.store.read("read an action", move |view| {
        let Some(row) = view.action(&id)? else { return Ok(None) };
        Ok(Some((view.order(&id)?, ActionRecord::read(view, row)?)))
    });
    let (order, action) = reading.await?.ok_or_else(|| Problem::not_found("action"))?;
    let order = order.and_then(|order| String::from_utf8(order).ok());
    let order = order.and_then(|order| RawValue::from_string(order).ok());
    Ok(Json(OneAction { schema_version: API_SCHEMA, action, order }))
}
