//! `GET /v1/cmdb/items`: NDJSON, one line per configured node.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::Api;
use super::answer::Problem;
use crate::cmdb;

pub(super) async fn items(State(api): State<Arc<Api>>) -> Result<impl IntoResponse, Problem> {
    let config = Arc::clone(&api.config);
    let lines = api.store.read("read the items for a CMDB", move |view| cmdb::ndjson(view, &config)).await?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines))
}
