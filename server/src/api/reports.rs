//! `POST /v1/reports`, and the pages that go ahead of reports.

use std::sync::{Arc, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use congruent_protocol::report::{Acknowledgement, PAGES_PATH, REPORTS_PATH};

use super::answer::Problem;
use super::auth::Sender;
use super::refusals::{
    BadRequest, Conflict, Failed, NotFound, Timeout, TooLarge, TooMany, Unavailable, Unfit,
};
use super::segment::Segment;
use super::{Api, body};
use crate::ingest::{LATE, Received, Refused};
use crate::metrics::count;

/// Takes a report
#[utoipa::path(post, path = REPORTS_PATH, operation_id = "send_report", tag = "reports",
    request_body(content = String, content_type = "application/json",
        description = "Signed and sealed, as protocol/REPORTS.md says; `Content-Encoding: zstd` is taken."),
    responses((status = 200, description = "The report is durable.", body = Acknowledgement), BadRequest, Timeout,
        Conflict, TooLarge, Unfit, TooMany, Failed, Unavailable))]
pub(super) async fn take(
    State(api): State<Arc<Api>>,
    Extension(Sender(node)): Extension<Sender>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Acknowledgement>, Problem> {
    let turn = Turn::take(&api, &node.id).inspect_err(|_| api.count_refused(ONE_AT_A_TIME))?;
    let mut arrived = match body::read(&headers, body, api.config.max_body_bytes, &api.lane).await {
        Ok(arrived) => arrived,
        Err(refused) => {
            api.count_refused(refused.code());
            api.ingest.note_refusal(&node.id, &refused).await;
            return Err(refused.into());
        }
    };
    // Whoever goes away in between leaves work behind, which takes its room and its turn.
    let taking = tokio::spawn(async move {
        let body = Received { bytes: std::mem::take(&mut arrived.bytes), packed: arrived.packed.take() };
        let acknowledgement = api.ingest.take(Arc::clone(&node), body).await;
        drop((arrived, turn));
        api.count(&acknowledgement);
        let advice = Some(api.advice(&node));
        acknowledgement.map(|acknowledgement| Acknowledgement { advice, ..acknowledgement })
    });
    Ok(Json(taking.await.map_err(|_| Refused::Failed)??))
}

/// Takes a page that goes ahead of a report
#[utoipa::path(put, path = format!("{PAGES_PATH}/{{name}}"), operation_id = "send_page", tag = "reports",
    params(("name" = String, Path, description = "The page's digest.", pattern = "^(blake3|sha256):[0-9a-f]{64}$")),
    request_body(content = String, content_type = "application/json",
        description = "Findings, as protocol/REPORTS.md says; `Content-Encoding: zstd` is taken."),
    responses((status = 204, description = "The page is kept until its report comes."), BadRequest, NotFound, Timeout,
        Conflict, TooLarge, Unfit, TooMany, Failed, Unavailable))]
pub(super) async fn take_page(
    State(api): State<Arc<Api>>,
    Extension(Sender(node)): Extension<Sender>,
    Segment(name): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let name = name.parse().map_err(|_| Problem::not_found("page of that name"))?;
    let _turn = Turn::take(&api, &node.id)?;
    let arrived = body::read(&headers, body, api.config.max_body_bytes, &api.lane).await?;
    api.ingest.take_page(&node.id, name, arrived.bytes)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The code of the refusal of a second report at once.
const ONE_AT_A_TIME: &str = "one-at-a-time";

impl Api {
    fn count(&self, taken: &Result<Acknowledgement, Refused>) {
        let counted = &self.ingest.metrics.reports;
        match taken {
            Ok(answer) if answer.duplicate => &counted.duplicate,
            Ok(answer) if answer.note.as_deref() == Some(LATE) => &counted.late,
            Ok(_) => &counted.accepted,
            Err(refused) => return self.count_refused(refused.code()),
        }
        .inc();
    }

    fn count_refused(&self, code: &'static str) {
        count(&self.ingest.metrics.reports.refused, "code", code);
    }
}

/// A node's turn to send: one report at a time.
struct Turn {
    api: Arc<Api>,
    node: String,
}

impl Turn {
    fn take(api: &Arc<Api>, node: &str) -> Result<Self, Problem> {
        let mut senders = api.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if senders.insert(node.to_owned()) {
            return Ok(Self { api: Arc::clone(api), node: node.to_owned() });
        }
        let message = "another report of this node is being taken; send one at a time";
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, ONE_AT_A_TIME, message))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.api.senders.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.node);
    }
}
