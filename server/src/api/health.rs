//! `GET /healthz`: the process runs. `GET /readyz`: requests had better come here.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::readiness::Check;

/// Whether the collector is ready, and what was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// `ready` or `not-ready`.
    status: &'static str,
    /// As in every refusal; only where it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// What does not hold, and why; only where it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    checks: Vec<Check>,
}

/// The process runs.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`.
    status: &'static str,
}

/// Whether the process runs
#[utoipa::path(get, path = "/healthz", operation_id = "healthz", tag = "health",
    responses((status = 200, description = "The process runs.", body = Health)))]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether requests had better come here, and what was looked at
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "health", responses(
    (status = 200, description = "It takes requests.", body = Ready),
    (status = 503, description = "It takes none for now: one of the checks does not hold.", body = Ready)))]
pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Response {
    let ready = Ready::of(api.readiness.checks().await);
    let status = if ready.code.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(ready)).into_response()
}

impl Ready {
    fn of(checks: Vec<Check>) -> Self {
        let failing = checks.iter().filter(|check| !check.ok);
        let failing: Vec<_> = failing
            .map(|check| format!("{}: {}", check.name, check.message.as_deref().unwrap_or_default()))
            .collect();
        if failing.is_empty() {
            return Self { status: "ready", code: None, message: None, checks };
        }
        Self { status: "not-ready", code: Some("not-ready"), message: Some(failing.join("; ")), checks }
    }
}
