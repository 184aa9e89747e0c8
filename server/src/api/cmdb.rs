//! `GET /v1/cmdb/items`: NDJSON, one line per configured node.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::Api;
use super::answer::Problem;
use crate::cmdb;

/// How many nodes are read together: the report of each may have megabytes.
const AT_ONCE: usize = 32;

/// What a CMDB may know of each node
///
/// One line of JSON for each, as the schema `CmdbItem` says.
#[utoipa::path(get, path = "/v1/cmdb/items", operation_id = "list_cmdb_items", tag = "cmdb",
    responses((status = 200, description = "One `CmdbItem` a line.", body = String,
        content_type = "application/x-ndjson")))]
pub(super) async fn items(State(api): State<Arc<Api>>) -> Result<impl IntoResponse, Problem> {
    let mut lines = Vec::new();
    for nodes in api.config.nodes.all().chunks(AT_ONCE) {
        let (config, nodes) = (Arc::clone(&api.config), nodes.to_vec());
        let reading =
            api.store.read("read the items for a CMDB", move |view| cmdb::ndjson(view, &config, &nodes));
        lines.extend(reading.await?);
    }
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines))
}
