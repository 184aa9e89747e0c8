//! `GET /v1/audit`: who changed what and why, the newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::list::{DEFAULT_LIMIT, check_limit, check_query, cut};
use super::refusals::BadRequest;
use crate::record::AuditRecord;

/// What of the audit is asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = json!(DEFAULT_LIMIT))]
    limit: Option<usize>,
    /// Only what is older than the record of this id.
    #[param(minimum = 1, maximum = 9_223_372_036_854_775_807_i64)]
    before: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Audit {
    schema_version: u32,
    audit: Vec<AuditRecord>,
    truncated: bool,
}

/// Who changed what and why, the newest first
#[utoipa::path(get, path = "/v1/audit", operation_id = "list_audit", tag = "audit", params(AuditQuery),
    responses((status = 200, description = "The audit.", body = Audit), BadRequest))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<Audit>, Problem> {
    let AuditQuery { limit, before } = check_query(query)?;
    let limit = check_limit(limit)?;
    check_before(before)?;
    let mut rows = api.store.read("read the audit", move |view| view.audit(before, limit + 1)).await?;
    let truncated = cut(&mut rows, limit);
    let audit = rows.into_iter().map(AuditRecord::from).collect();
    Ok(Json(Audit { schema_version: API_SCHEMA, audit, truncated }))
}

/// Records are numbered from 1.
fn check_before(before: Option<i64>) -> Result<(), Problem> {
    match before {
        Some(before) if before < 1 => {
            let message = format!("before is {before}; records are numbered from 1");
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad-query", message))
        }
        _ => Ok(()),
    }
}
