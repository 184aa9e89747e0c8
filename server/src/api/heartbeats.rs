//! Signs of life, what nodes are advised, and their ledgers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use congruent_protocol::ledger::Ledger;
use congruent_protocol::report::{
    Advice, CLOCK_PATH, HEARTBEAT_PATH, Heartbeat, HeartbeatAnswer, LEDGER_PATH, Limits,
};

use super::answer::Problem;
use super::auth::Sender;
use super::refusals::{BadRequest, Failed, NotFound, Timeout, TooLarge, TooMany, Unavailable, Unfit};
use super::{Api, body};
use crate::config::Node;
use crate::ingest::Refused;

/// The longest sign of life, in bytes.
const MAX_HEARTBEAT_BYTES: usize = 4096;

/// Takes a sign of life
///
/// It writes nothing.
#[utoipa::path(post, path = HEARTBEAT_PATH, operation_id = "give_sign_of_life", tag = "reports", request_body = Heartbeat,
    responses((status = 200, description = "What the node is to do.", body = HeartbeatAnswer), BadRequest, Timeout,
        TooLarge, Unfit, TooMany, Failed))]
pub(super) async fn take(
    State(api): State<Arc<Api>>,
    Extension(Sender(node)): Extension<Sender>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<HeartbeatAnswer>, Problem> {
    let taken = hear(&api, &node, &headers, body).await;
    let counted = &api.ingest.metrics.heartbeats;
    if taken.is_ok() { &counted.accepted } else { &counted.refused }.inc();
    taken?;
    Ok(Json(HeartbeatAnswer { advice: api.advice(&node) }))
}

async fn hear(api: &Api, node: &Node, headers: &HeaderMap, body: Body) -> Result<(), Refused> {
    let arrived = body::read(headers, body, MAX_HEARTBEAT_BYTES, &api.heartbeats).await?;
    let heartbeat: Heartbeat = serde_json::from_slice(&arrived.bytes).map_err(Refused::Malformed)?;
    if heartbeat.chain != node.enrolment {
        let enrolment = node.enrolment.clone();
        return Err(Refused::WrongChain { claimed: heartbeat.chain, enrolment });
    }
    api.ingest.hear(&node.id, &heartbeat.boot).await;
    Ok(())
}

/// Tells a node the time, whose own is wrong
#[utoipa::path(get, path = CLOCK_PATH, operation_id = "get_time", tag = "reports",
    responses((status = 200, description = "The time.", body = HeartbeatAnswer)))]
pub(super) async fn clock(State(api): State<Arc<Api>>) -> Json<HeartbeatAnswer> {
    Json(HeartbeatAnswer { advice: Advice { time: Some((api.clock)()), ..Advice::default() } })
}

/// Gives a node its ledger, as it runs now
#[utoipa::path(get, path = LEDGER_PATH, operation_id = "get_ledger", tag = "reports",
    responses((status = 200, description = "The ledger.", body = Ledger), NotFound, Unavailable))]
pub(super) async fn ledger(
    State(api): State<Arc<Api>>,
    Extension(Sender(node)): Extension<Sender>,
) -> Result<impl IntoResponse, Problem> {
    let reading = api.ingest.store.read("read a ledger", move |view| {
        let Some(root) = view.root_of(&node.id)? else { return Ok(None) };
        view.ledger(&node.enrolment, root, u64::MAX >> 1).map(Some)
    });
    let ledger = reading.await?.ok_or_else(|| Problem::not_found("ledger of this node"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], ledger.to_json()))
}

impl Api {
    /// What a node is to do from now on. It asks nothing but memory.
    pub(super) fn advice(&self, node: &Node) -> Advice {
        let limit = self.config.max_body_bytes as u64;
        Advice {
            time: Some((self.clock)()),
            interval_seconds: self.config.interval.map(|interval| interval.as_secs()),
            heartbeat_seconds: Some(self.config.heartbeat_interval.as_secs()),
            first_values: self.ingest.arrived.liveness.first_values(&node.id),
            limits: Some(Limits { body_bytes: limit, pages_bytes: limit }),
        }
    }
}
