//! `GET /v1/audit`: who changed what and why, the newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::list::{check_limit, check_query, cut};
use crate::identity::Role;
use crate::store::AuditRow;

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

/// A change, or a call that was refused for want of a role.
#[derive(Serialize)]
struct AuditRecord {
    id: i64,
    at: Timestamp,
    operator: String,
    role: Role,
    action: String,
    object: String,
    reason: Option<String>,
    detail: Value,
    count: u64,
    last_at: Timestamp,
}

impl From<AuditRow> for AuditRecord {
    fn from(row: AuditRow) -> Self {
        let AuditRow { id, at, operator, role, action, object, reason, detail, count, last_at } = row;
        Self { id, at, operator, role, action, object, reason, detail, count, last_at }
    }
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
