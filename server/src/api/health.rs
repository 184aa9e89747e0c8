//! `GET /healthz`: the process runs. `GET /readyz`: the store takes writes.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Api;
use super::answer::Problem;

/// How long a write may take before the collector is not ready.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Result<Json<Value>, Problem> {
    let not_ready = |message: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", message);
    if *api.stop.borrow() {
        return Err(not_ready("the collector is stopping".to_owned()));
    }
    let now = (api.clock)();
    let probe = timeout(PROBE_TIMEOUT, api.store.write("write a probe", move |tx| tx.probe(now)));
    match probe.await {
        Ok(Ok(())) => Ok(Json(json!({ "status": "ready" }))),
        Ok(Err(error)) => Err(not_ready(error.to_string())),
        Err(_) => Err(not_ready("the store does not take writes in time".to_owned())),
    }
}
