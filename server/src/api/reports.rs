//! `POST /v1/reports`.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use congruent_protocol::report::Acknowledgement;
use tokio::time::timeout;

use super::Api;
use super::answer::Problem;
use super::auth::Sender;
use crate::ingest::Refused;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a body that is too large is read and dropped, so that its sender
/// comes to read the answer instead of finding the connection closed.
const DROPPED_BYTES: usize = 256 << 20;

/// Takes a report: who sends it, then its body, then what it says.
pub(super) async fn take(
    State(api): State<Arc<Api>>,
    Extension(Sender(node)): Extension<Sender>,
    body: Body,
) -> Result<Json<Acknowledgement>, Problem> {
    let _turn = Turn::take(&api, &node.id)?;
    let Ok(_room) = api.room.acquire().await else {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the collector is stopping"));
    };
    let limit = api.config.max_body_bytes;
    let arrived = timeout(BODY_TIMEOUT, read(body, limit)).await.unwrap_or(Err(Refused::Cut));
    match arrived {
        Ok(body) => Ok(Json(api.ingest.take(&node, body).await?)),
        Err(refused) => {
            api.ingest.note_refusal(&node, &refused).await;
            Err(refused.into())
        }
    }
}

/// A node's turn to send: one report at a time.
struct Turn<'a> {
    api: &'a Api,
    node: String,
}

impl<'a> Turn<'a> {
    fn take(api: &'a Api, node: &str) -> Result<Self, Problem> {
        let mut senders = api.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if senders.insert(node.to_owned()) {
            return Ok(Self { api, node: node.to_owned() });
        }
        let message = "another report of this node is being taken; send one at a time";
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "one-at-a-time", message))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.api.senders.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.node);
    }
}

/// Reads a body of at most `limit` bytes.
async fn read(mut body: Body, limit: usize) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    let mut dropped = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|_| Refused::Cut)?.into_data() else { continue };
        if dropped == 0 && bytes.len() + data.len() <= limit {
            bytes.extend_from_slice(&data);
            continue;
        }
        bytes = Vec::new();
        dropped += data.len();
        if dropped > DROPPED_BYTES {
            break;
        }
    }
    if dropped == 0 { Ok(bytes) } else { Err(Refused::TooLarge { limit }) }
}
