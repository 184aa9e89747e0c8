//! `GET /metrics`: how the collector does, for Prometheus. It names no node, group or
//! path, and so needs no token, as is usual.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tracing::warn;

use super::Api;
use super::answer::Problem;
use super::drained::drained;
use super::refusals::Failed;
use crate::ingest::chain_of;
use crate::metrics::{Format, GaugeByWord, Metrics, Told, UNMATCHED};
use crate::store::Tally;

/// For how long numbers from the store are told again.
const FRESH: Duration = Duration::from_secs(5);
/// How long the store may take to give them. Prometheus waits for ten seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// All that is told, and when the store was asked last.
pub(super) struct Scrapes {
    pub(super) told: Told,
    /// Held while the store is asked, so that it is asked by one at a time.
    read: Mutex<Option<Instant>>,
}

impl Scrapes {
    pub(super) fn new(told: Told) -> Self {
        Self { told, read: Mutex::default() }
    }
}

/// How the collector does, for Prometheus
///
/// In its own form, or in OpenMetrics where `Accept` asks for it. No node, group or path
/// is named.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "health",
    responses((status = 200, description = "The metrics.", content(
        (String = "text/plain"), (String = "application/openmetrics-text"))), Failed))]
pub(super) async fn metrics(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::of_accept(accept.unwrap_or_default());
    api.look_around().await;
    let text = api.scrapes.told.text(format).map_err(|_| {
        let message = "the metrics cannot be written";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", message)
    })?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}

/// Counts a request by the route that it matched, and has its body read to the end.
pub(super) async fn measure(
    State((metrics, draining)): State<(Metrics, watch::Receiver<bool>)>,
    request: Request,
    next: Next,
) -> Response {
    let (begun, method) = (Instant::now(), request.method().clone());
    let route = request.extensions().get::<MatchedPath>().cloned();
    // In one layer: each takes its share of what a sign of life costs.
    let response = next.run(drained(request, &draining)).await;
    let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    metrics.requests.observe(route, &method, response.status(), begun.elapsed());
    response
}

impl Api {
    /// Sets what is not counted as it happens.
    async fn look_around(&self) {
        let now = &self.scrapes.told.now;
        for check in self.readiness.checks().await {
            set(&now.ready, "check", check.name, u64::from(check.ok));
        }
        for (name, lane) in [("reports", &self.lane), ("heartbeats", &self.heartbeats)] {
            set(&now.lane_used, "lane", name, lane.used_bytes() as u64);
            set(&now.lane_capacity, "lane", name, lane.capacity_bytes() as u64);
        }
        let (waiting, capacity) = self.store.queue();
        now.writes_waiting.set(waiting as i64);
        now.writes_capacity.set(capacity as i64);
        if let Some(enroller) = &self.enroller {
            now.authority_end.set(enroller.authority.not_after().as_second());
        }
        self.ask_store().await;
    }

    async fn ask_store(&self) {
        let mut read = self.scrapes.read.lock().await;
        if read.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        let at = (self.clock)();
        let tallying = self.store.read("count nodes, actions and what waits", move |view| view.tally(at));
        let now = &self.scrapes.told.now;
        match timeout(READ_TIMEOUT, tallying).await {
            Ok(Ok(tally)) => {
                self.tell(&tally);
                *read = Some(Instant::now());
                now.store_read.set(1);
            }
            Ok(Err(error)) => {
                warn!("metrics from the store are not current: {}", chain_of(&error));
                now.store_read.set(0);
            }
            Err(_) => {
                now.store_read.set(0);
            }
        }
    }

    fn tell(&self, tally: &Tally) {
        let now = &self.scrapes.told.now;
        tally.nodes.iter().for_each(|(state, count)| set(&now.nodes, "state", state.name(), *count));
        tally
            .containers
            .iter()
            .for_each(|(state, count)| set(&now.containers, "state", state.name(), *count));
        tally.actions.iter().for_each(|(state, count)| set(&now.actions, "state", state.name(), *count));
        now.reports_unjudged.set(tally.unjudged as i64);
        now.outbox_due.set(tally.due as i64);
    }
}

fn set(family: &GaugeByWord, label: &'static str, word: &'static str, value: u64) {
    family.get_or_create(&[(label, word)]).set(i64::try_from(value).unwrap_or(i64::MAX));
}
