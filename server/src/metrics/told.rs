//! All metrics together, as text: what was counted, and what is looked up when asked.

use std::fmt;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, prometheus_text, text};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};

use super::process::Process;
use super::{GaugeByWord, Metrics};

/// The form of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus' own, which everything reads.
    Prometheus,
    /// OpenMetrics.
    OpenMetrics,
}

impl Format {
    /// The one that is asked for.
    pub(crate) fn of_accept(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// What `Content-Type` says.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Everything that is told, with what is looked up at each look.
#[derive(Debug)]
pub(crate) struct Told {
    registry: Registry,
    pub(crate) now: Now,
}

/// How things stand, set just before they are told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Now {
    /// 1 where the check of that name holds.
    pub(crate) ready: GaugeByWord,
    pub(crate) lane_used: GaugeByWord,
    pub(crate) lane_capacity: GaugeByWord,
    pub(crate) connections_capacity: GaugeByWord,
    pub(crate) writes_waiting: Gauge,
    pub(crate) writes_capacity: Gauge,
    pub(crate) nodes: GaugeByWord,
    pub(crate) containers: GaugeByWord,
    pub(crate) actions: GaugeByWord,
    pub(crate) reports_unjudged: Gauge,
    pub(crate) outbox_due: Gauge,
    /// 1 where the numbers that come from the store are of now.
    pub(crate) store_read: Gauge,
    /// When the authority's certificate ends, since 1970.
    pub(crate) authority_end: Gauge,
}

impl Told {
    /// Tells of `metrics`. `has_authority` says whether there is one whose end can be told.
    pub(crate) fn new(metrics: &Metrics, has_authority: bool) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let (now, ours) = (Now::default(), registry.sub_registry_with_prefix("congruent"));
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        ours.register("build", "The program that this is", Info::new(version));
        metrics.register(ours);
        now.register(ours, has_authority);
        Self { registry, now }
    }

    /// The text.
    pub(crate) fn text(&self, format: Format) -> Result<String, fmt::Error> {
        let mut text = String::new();
        match format {
            Format::Prometheus => prometheus_text::encode(&mut text, &self.registry)?,
            Format::OpenMetrics => text::encode(&mut text, &self.registry)?,
        }
        Ok(text)
    }
}

impl Now {
    fn register(&self, all: &mut Registry, has_authority: bool) {
        let bytes = || Unit::Bytes;
        all.register("ready", "Whether a check of /readyz holds", self.ready.clone());
        let help = "Bytes of bodies that are under way";
        all.register_with_unit("lane_used", help, bytes(), self.lane_used.clone());
        let help = "Bytes of bodies that there is room for";
        all.register_with_unit("lane_capacity", help, bytes(), self.lane_capacity.clone());
        let help = "Connections that there is room for";
        all.register("connections_capacity", help, self.connections_capacity.clone());
        let help = "Writes that wait for the store's writer";
        all.register("store_writes_waiting", help, self.writes_waiting.clone());
        let help = "Writes that may wait before their senders do";
        all.register("store_writes_capacity", help, self.writes_capacity.clone());
        all.register("nodes", "Enrolled nodes, by their state", self.nodes.clone());
        let help = "Containers on enrolled nodes, by their state";
        all.register("containers", help, self.containers.clone());
        all.register("actions", "Actions, by where they are in life", self.actions.clone());
        let help = "Reports that are stored and not judged";
        all.register("reports_unjudged", help, self.reports_unjudged.clone());
        all.register("outbox_due", "Orders whose time to be delivered has come", self.outbox_due.clone());
        let help = "Whether nodes, containers, actions, reports_unjudged and outbox_due could be read";
        all.register("store_metrics_current", help, self.store_read.clone());
        if has_authority {
            let (name, help) =
                ("authority_certificate_end_timestamp", "When the authority's certificate ends");
            all.register_with_unit(name, help, Unit::Seconds, self.authority_end.clone());
        }
    }
}

/// Metrics of one name, in a fixed order.
#[derive(Debug)]
pub(super) struct Labelled<M> {
    pub(super) label: &'static str,
    pub(super) parts: Vec<(&'static str, M)>,
}

impl<M: EncodeMetric + TypedMetric> EncodeMetric for Labelled<M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (word, metric) in &self.parts {
            metric.encode(encoder.encode_family(&[(self.label, *word)])?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}
