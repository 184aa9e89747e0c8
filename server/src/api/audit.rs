//! `GET /v1/audit`: who changed what and why, the newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::list::{check_limit, check_query, cut};
use crate::record::AuditRecord;

/// What of the audit is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    limit: Option<usize>,
    /// Only what is older than the record of this id.
    before: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct Audit {
    schema_version: u32,
    audit: Vec<AuditRecord>,
    truncated: bool,
}

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<Audit>, Problem> {
    let AuditQuery { limit, before } = check_query(query)?;
    let limit = check_limit(limit)?;
    let mut rows = api.store.read("read the audit", move |view| view.audit(before, limit + 1)).await?;
    let truncated = cut(&mut rows, limit);
    let audit = rows.into_iter().map(AuditRecord::from).collect();
    Ok(Json(Audit { schema_version: API_SCHEMA, audit, truncated }))
}
