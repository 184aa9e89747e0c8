//! HTTP: nodes join and report, operators read and change. One file per resource,
//! one router for each port; `routes` has both, and `description` what is said of them.
//!
//! Errors are [`Refusal`](congruent_protocol::report::Refusal) JSON, also for
//! routes and methods that do not exist. Who asks is known before a body is read.

mod actions;
mod answer;
mod audit;
mod auth;
mod body;
mod choose;
mod cmdb;
mod container;
mod containers;
mod decisions;
mod description;
mod drained;
mod enroll;
mod forget;
mod groups;
mod health;
mod heartbeats;
mod images;
mod list;
mod manifests;
mod metrics;
mod node;
mod nodes;
mod operators;
mod readiness;
mod refusals;
mod reports;
mod routes;
mod segment;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use tokio::sync::{Notify, Semaphore, watch};

use crate::clock::Clock;
use crate::config::Config;
use crate::groups::GroupEditor;
use crate::identity::Enroller;
use crate::ingest::Ingest;
use crate::metrics::Told;
use crate::operators::Operators;
use crate::store::Store;
use answer::Problem;
use body::Lane;
use metrics::Scrapes;
use readiness::Readiness;

pub(crate) use description::{agents_json, operators_json};

/// The bytes of reports and pages that are read and checked at once, beside the
/// largest one. Each takes its length several times over in memory.
const REPORTS_BYTES: usize = 64 << 20;
/// The bytes of signs of life that are read at once.
const HEARTBEATS_BYTES: usize = 8 << 20;
/// How many manifests are imported at once. Each is hashed whole.
const IMPORTS_AT_ONCE: usize = 2;

/// What requests are answered from.
pub(crate) struct Api {
    config: Arc<Config>,
    /// For operators; what nodes send has its own way to read.
    store: Store,
    clock: Clock,
    ingest: Ingest,
    /// Told when an action ends here, and leaves its group room for another.
    budget: Arc<Notify>,
    /// None where the collector takes no enrolments.
    enroller: Option<Enroller>,
    groups: GroupEditor,
    operators: Arc<Operators>,
    /// For reports and their pages. Operators and heartbeats need no room in it.
    lane: Lane,
    /// For signs of life, which reports must not hold up.
    heartbeats: Lane,
    /// For manifests that are being imported.
    imports: Semaphore,
    /// The nodes whose report is being taken. Each gets one place, so that none
    /// keeps the others out by sending slowly.
    senders: Mutex<HashSet<String>>,
    readiness: Readiness,
    scrapes: Scrapes,
    /// True once the collector is to stop.
    draining: watch::Receiver<bool>,
}

impl Api {
    /// The API of a collector.
    pub(crate) fn new(
        ingest: Ingest,
        groups: GroupEditor,
        operators: Arc<Operators>,
        enroller: Option<Enroller>,
        budget: Arc<Notify>,
        draining: watch::Receiver<bool>,
    ) -> Self {
        let counted = &ingest.metrics;
        let heartbeats = Lane::with_room_for(HEARTBEATS_BYTES, counted.heartbeats_lane.clone());
        let reports_bytes = REPORTS_BYTES + ingest.config.max_body_bytes;
        let lane = Lane::with_room_for(reports_bytes, counted.reports_lane.clone());
        let lanes = [("reports-lane-bytes", lane.clone()), ("heartbeats-lane-bytes", heartbeats.clone())];
        let (store, clock) = (groups.store.clone(), Arc::clone(&ingest.clock));
        Self {
            config: Arc::clone(&ingest.config),
            readiness: Readiness::new(store.clone(), Arc::clone(&clock), lanes, draining.clone()),
            scrapes: Scrapes::new(Told::new(counted, enroller.is_some())),
            draining,
            store,
            clock,
            budget,
            enroller,
            groups,
            operators,
            heartbeats,
            lane,
            imports: Semaphore::new(IMPORTS_AT_ONCE),
            senders: Mutex::default(),
            ingest,
        }
    }

    /// Every route for operators, and for nodes that are not enrolled.
    pub(crate) fn router(self: &Arc<Self>) -> Router {
        let guarded = routes::operators(|role, routes| {
            routes.route_layer(middleware::from_fn_with_state((Arc::clone(self), role), auth::require))
        });
        self.with_fallbacks(guarded.into()).with_state(Arc::clone(self))
    }

    /// Every route for enrolled nodes.
    pub(crate) fn agents_router(self: &Arc<Self>) -> Router {
        let guarded = routes::agents(|certificate, routes| {
            let needs = (Arc::clone(self), certificate);
            routes.route_layer(middleware::from_fn_with_state(needs, auth::require_certificate))
        });
        self.with_fallbacks(guarded.into()).with_state(Arc::clone(self))
    }

    /// How many connections a port has room for, to be told with the rest.
    pub(crate) fn tell_capacity(&self, port: &'static str, connections: usize) {
        let capacity = &self.scrapes.told.now.connections_capacity;
        capacity.get_or_create(&[("port", port)]).set(connections as i64);
    }

    /// What every route has: refusals in JSON also where there is none, bodies that are
    /// read to their end, and measures.
    fn with_fallbacks(&self, routes: Router<Arc<Self>>) -> Router<Arc<Self>> {
        let counted = self.ingest.metrics.clone();
        routes
            .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not-found", "there is no such route"))
            .method_not_allowed_fallback(async || {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                Problem::new(status, "method-not-allowed", "the route does not take this method")
            })
            .layer(middleware::from_fn_with_state((counted, self.draining.clone()), metrics::measure))
    }
}
