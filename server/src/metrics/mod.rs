//! What the collector counts and measures, and how it tells.
//!
//! A value is handed to each part that has something to count; clones count together.
//! To count is to add to a number: nothing waits, and nothing is allocated, where
//! signs of life come in. No series is named after what comes from outside: labels are
//! routes, codes, states and ports, of which the program knows all.

mod histogram;
mod process;
mod requests;
mod told;

use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use histogram::{Counts, Durations};
pub(crate) use requests::{Requests, UNMATCHED};
pub(crate) use told::{Format, Told};

/// Counts by a word that the program chose.
pub(crate) type ByWord = Family<[(&'static str, &'static str); 1], Counter>;
/// Numbers by a word that the program chose.
pub(crate) type GaugeByWord = Family<[(&'static str, &'static str); 1], Gauge>;

/// Everything that is counted as it happens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    pub(crate) requests: Requests,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) reports: Reports,
    /// The lane of reports and their pages.
    pub(crate) reports_lane: Lane,
    /// The lane of signs of life.
    pub(crate) heartbeats_lane: Lane,
    pub(crate) operators_port: Port,
    pub(crate) agents_port: Port,
    pub(crate) judging: Judging,
    pub(crate) deliveries: Deliveries,
    pub(crate) enrolments: Enrolments,
    pub(crate) liveness: Liveness,
    pub(crate) store: Store,
    /// Records that were removed since they were old enough, by kind.
    pub(crate) removed: ByWord,
    /// Whether this collector does the leader's work.
    pub(crate) leading: Gauge,
}

/// Signs of life.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heartbeats {
    pub(crate) accepted: Counter,
    pub(crate) refused: Counter,
}

/// Reports that were sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reports {
    pub(crate) accepted: Counter,
    pub(crate) duplicate: Counter,
    /// Kept as evidence, after a later one.
    pub(crate) late: Counter,
    /// By the code of the refusal.
    pub(crate) refused: ByWord,
}

/// Bodies that come in on one lane.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane {
    /// Bytes as they were sent.
    pub(crate) received: Counter,
    /// Bytes once they were decompressed.
    pub(crate) decompressed: Counter,
    /// Bodies for which there was no room.
    pub(crate) refused: Counter,
}

/// Connections of one port.
#[derive(Debug, Clone, Default)]
pub(crate) struct Port {
    pub(crate) open: Gauge,
    /// Closed at once, since their address had its share.
    pub(crate) over_share: Counter,
    pub(crate) handshakes: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) handshakes_timed_out: Counter,
}

/// What policy is asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judging {
    pub(crate) took: Durations,
    /// By verdict; `failed` where policy gave none.
    pub(crate) decisions: ByWord,
}

/// Tries to hand orders over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deliveries {
    /// `accepted`, `retried` or `given-up`.
    pub(crate) by_outcome: ByWord,
    pub(crate) took: Durations,
}

/// Nodes that join and renew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Enrolments {
    pub(crate) enrolled: Counter,
    pub(crate) renewed: Counter,
    /// By the code of the refusal.
    pub(crate) refused: ByWord,
}

/// Signs of life on their way to the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Liveness {
    pub(crate) flushed: Counter,
    pub(crate) failed: Counter,
    pub(crate) took: Durations,
}

/// What the store does. Whoever opens a store has these; they are told with the rest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    /// From the beginning of a transaction that writes to the end of its commit.
    pub(crate) transactions: Durations,
    /// How many writes were committed together.
    pub(crate) writes: Counts,
    /// From when a read was asked for to its answer.
    pub(crate) reads: Durations,
    pub(crate) failed: Counter,
    /// Transactions that met those of other collectors, and were run again.
    pub(crate) conflicts: Counter,
    /// Times that the server was lost.
    pub(crate) lost: Counter,
}

impl Metrics {
    /// Has everything told by `registry`.
    pub(crate) fn register(&self, all: &mut Registry) {
        self.begin_at_zero();
        all.register_collector(Box::new(self.requests.clone()));
        self.register_intake(all);
        self.register_ports(all);
        self.register_work(all);
        self.register_store(all);
    }

    /// Has what alerts watch told from the beginning: a series that comes with its first
    /// event shows no increase.
    fn begin_at_zero(&self) {
        let begin = |family: &ByWord, label, words: &[&'static str]| {
            words.iter().for_each(|word| drop(family.get_or_create(&[(label, *word)])));
        };
        begin(&self.judging.decisions, "verdict", &["none", "observe", "quarantine", "replace", "failed"]);
        begin(&self.deliveries.by_outcome, "outcome", &["accepted", "retried", "given-up"]);
        begin(&self.reports.refused, "code", &["busy", "broken-seal", "cloned", "root-mismatch"]);
        begin(&self.enrolments.refused, "code", &["token-unknown", "token-used", "rate-limited"]);
    }

    fn register_intake(&self, all: &mut Registry) {
        let heartbeats = [("accepted", &self.heartbeats.accepted), ("refused", &self.heartbeats.refused)];
        by("outcome", all, "heartbeats", "Signs of life", None, heartbeats);
        let Reports { accepted, duplicate, late, refused } = &self.reports;
        let reports = [("accepted", accepted), ("duplicate", duplicate), ("late", late)];
        by("outcome", all, "reports", "Reports that were acknowledged", None, reports);
        all.register("reports_refused", "Reports that were refused, by the code", refused.clone());
        let lanes = [("reports", &self.reports_lane), ("heartbeats", &self.heartbeats_lane)];
        let bytes = Some(Unit::Bytes);
        let help = "Bytes of bodies as they were sent";
        by("lane", all, "received", help, bytes.clone(), lanes.map(|(of, lane)| (of, &lane.received)));
        let help = "Bytes of bodies once decompressed";
        by("lane", all, "decompressed", help, bytes, lanes.map(|(of, lane)| (of, &lane.decompressed)));
        let help = "Bodies that were refused since their lane was full";
        by("lane", all, "lane_refused", help, None, lanes.map(|(of, lane)| (of, &lane.refused)));
    }

    fn register_ports(&self, all: &mut Registry) {
        let ports = [("operators", &self.operators_port), ("agents", &self.agents_port)];
        let help = "Connections that are open";
        by("port", all, "connections_open", help, None, ports.map(|(of, port)| (of, &port.open)));
        let help = "Connections closed at once, since their address had its share";
        by("port", all, "connections_refused", help, None, ports.map(|(of, port)| (of, &port.over_share)));
        let help = "TLS handshakes that came to an end";
        by("port", all, "tls_handshakes", help, None, ports.map(|(of, port)| (of, &port.handshakes)));
        let (name, help) = ("tls_handshakes_failed", "TLS handshakes that did not come about");
        by("port", all, name, help, None, ports.map(|(of, port)| (of, &port.handshakes_failed)));
        let (name, help) = ("tls_handshakes_timed_out", "TLS handshakes that took too long");
        by("port", all, name, help, None, ports.map(|(of, port)| (of, &port.handshakes_timed_out)));
    }

    fn register_work(&self, all: &mut Registry) {
        let seconds = || Unit::Seconds;
        let help = "How long it took to judge a node: asking policy, and recording what follows";
        all.register_with_unit("judgement_duration", help, seconds(), self.judging.took.clone());
        let help = "Decisions that were recorded, by verdict";
        all.register("decisions", help, self.judging.decisions.clone());
        let help = "Tries to deliver an order, by outcome";
        all.register("deliveries", help, self.deliveries.by_outcome.clone());
        let help = "How long tries to deliver an order took";
        all.register_with_unit("delivery_duration", help, seconds(), self.deliveries.took.clone());
        all.register("enrolments", "Nodes that enrolled", self.enrolments.enrolled.clone());
        let help = "Certificates that were renewed";
        all.register("certificates_renewed", help, self.enrolments.renewed.clone());
        let help = "Enrolments and renewals that were refused, by the code";
        all.register("enrolments_refused", help, self.enrolments.refused.clone());
        let help = "Times that signs of life were written to the store";
        all.register("liveness_flushes", help, self.liveness.flushed.clone());
        let help = "Times that they could not be written";
        all.register("liveness_flushes_failed", help, self.liveness.failed.clone());
        let help = "How long it took to write signs of life to the store";
        all.register_with_unit("liveness_flush_duration", help, seconds(), self.liveness.took.clone());
    }

    fn register_store(&self, all: &mut Registry) {
        let Store { transactions, writes, reads, failed, conflicts, lost } = &self.store;
        let help = "How long transactions that write took, their commit included";
        all.register_with_unit("store_transaction_duration", help, Unit::Seconds, transactions.clone());
        let help = "How many writes were committed in one transaction";
        all.register("store_transaction_writes", help, writes.clone());
        let help = "How long reads took, the wait for a connection included";
        all.register_with_unit("store_read_duration", help, Unit::Seconds, reads.clone());
        all.register("store_writes_failed", "Writes that failed", failed.clone());
        let help = "Transactions that met those of other collectors, and were run again";
        all.register("store_conflicts", help, conflicts.clone());
        let help = "Records that were removed since they were as old as [retention] says, by kind";
        all.register("records_removed", help, self.removed.clone());
        all.register("leading", "1 where this collector leads, else 0", self.leading.clone());
        all.register("store_losses", "Times that the connection to the database was lost", lost.clone());
    }
}

/// Registers metrics of one name, which a label tells apart.
fn by<M, const N: usize>(
    label: &'static str,
    all: &mut Registry,
    name: &str,
    help: &str,
    unit: Option<Unit>,
    metrics: [(&'static str, &M); N],
) where
    M: Clone + Default + prometheus_client::encoding::EncodeMetric + prometheus_client::metrics::TypedMetric,
    M: Send + Sync + std::fmt::Debug + 'static,
{
    let parts = metrics.map(|(word, metric)| (word, metric.clone())).to_vec();
    let labelled = told::Labelled { label, parts };
    match unit {
        Some(unit) => all.register_with_unit(name, help, unit, labelled),
        None => all.register(name, help, labelled),
    }
}

/// Measures until it is told where to.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Adds what has passed.
    pub(crate) fn stop(&self, durations: &Durations) {
        durations.observe(self.0.elapsed());
    }
}

/// Counts one with this word.
pub(crate) fn count(family: &ByWord, label: &'static str, word: &'static str) {
    family.get_or_create(&[(label, word)]).inc();
}
