//! What a run came to: rates and latencies, what went wrong, what became of reports,
//! and what it cost the collector.

mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::FleetError;
use crate::process::{Cpu, Process};
use crate::run::Run;
use crate::scenario::Scenario;
use crate::tally::{Counts, Kind, Of, Reports, SLICE};

/// The version of the JSON.
const SCHEMA: u32 = 1;
/// Into how many parts a herd's return is cut to see how it comes, and how short they
/// may be.
const PARTS: usize = 20;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The version of this JSON.
    pub schema_version: u32,
    /// What the fleet did.
    pub scenario: String,
    /// How many nodes are enrolled.
    pub nodes: usize,
    /// How many of them took turns.
    pub connections: usize,
    /// How long it took, without connecting.
    pub seconds: f64,
    /// Each kind of message by its name.
    pub kinds: BTreeMap<String, OfKind>,
    /// What became of reports.
    pub reports: OfReports,
    /// How requests came, of a herd only.
    pub arrivals: Option<Arrivals>,
    /// What it cost the collector, where its process is known.
    pub collector: Option<OfCollector>,
    /// How much of one processor the simulator itself took.
    pub simulator_cpu: f64,
}

/// Messages of one kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct OfKind {
    /// How many were sent.
    pub sent: u64,
    /// How many were answered as is wanted.
    pub answered: u64,
    /// Answered in each second.
    pub per_second: f64,
    /// How long answers took.
    pub latency: Latency,
    /// How often what went wrong: the collector's word for it, or ours.
    pub trouble: BTreeMap<String, u64>,
}

/// Latencies, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Half are shorter.
    pub p50_ms: f64,
    /// Nine in ten are shorter.
    pub p90_ms: f64,
    /// All but one in a hundred are shorter.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// What became of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OfReports {
    /// How many nodes made.
    pub made: u64,
    /// How many the collector said to be durable.
    pub acknowledged: u64,
    /// How many of those it had received before.
    pub duplicates: u64,
    /// How many it refused for good.
    pub refused: u64,
    /// How many still wait at their nodes.
    pub waiting: u64,
    /// How many are none of these. There is no such thing.
    pub lost: u64,
}

/// How a herd's requests came.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Arrivals {
    /// From the first to the last, in seconds.
    pub seconds: f64,
    /// In each second, over all of it.
    pub mean_per_second: f64,
    /// In each second, where they were densest.
    pub peak_per_second: f64,
    /// The one against the other.
    pub peak_to_mean: f64,
}

/// What a run cost the collector.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OfCollector {
    /// Seconds of processor time.
    pub cpu_seconds: f64,
    /// Microseconds of it for each message that was answered.
    pub cpu_micros_per_message: f64,
    /// Memory at the end, in bytes.
    pub resident_bytes: u64,
    /// Memory at its highest since it started, in bytes.
    pub peak_bytes: u64,
    /// By how much the database grew, in bytes, where it is known.
    pub database_growth_bytes: Option<u64>,
    /// The same for each report.
    pub database_bytes_per_report: Option<f64>,
}

/// What was measured before a run.
pub(crate) struct Watched {
    collector: Option<(Process, Cpu)>,
    database: Option<(PathBuf, u64)>,
    own: Cpu,
}

impl Watched {
    pub(crate) fn begin(run: &Run) -> Result<Self, FleetError> {
        let collector = run.collector.map(|process| Ok::<_, FleetError>((process, process.cpu()?)));
        let database = run.database.as_ref().map(|path| (path.clone(), database_bytes(path)));
        Ok(Self { collector: collector.transpose()?, database, own: Process::own().cpu()? })
    }

    /// What it came to, by what was counted while connecting and since.
    pub(crate) fn end(
        self,
        run: &Run,
        nodes: usize,
        took: Duration,
        (connecting, during): (Counts, Counts),
        waiting: usize,
    ) -> Result<Outcome, FleetError> {
        let Counts { kinds, reports, arrivals } = during;
        let messages: u64 =
            kinds.iter().filter(|(kind, _)| **kind != Kind::Connect).map(|(_, of)| of.answered).sum();
        let seconds = took.as_secs_f64();
        let own = Process::own().cpu()?.since(&self.own);
        let collector = self.of_collector(messages, reports)?;
        let mut all = connecting.kinds;
        for (kind, of) in kinds {
            all.entry(kind).or_default().add(of);
        }
        let of_kinds = all.iter().map(|(kind, of)| (kind.name().to_owned(), OfKind::of(of, seconds)));
        Ok(Outcome {
            schema_version: SCHEMA,
            scenario: run.scenario.name().to_owned(),
            nodes,
            connections: run.connections.min(nodes),
            seconds,
            kinds: of_kinds.collect(),
            reports: OfReports::of(reports, waiting as u64),
            arrivals: (run.scenario == Scenario::Herd).then(|| Arrivals::of(&arrivals)),
            collector,
            simulator_cpu: own.as_secs_f64() / seconds,
        })
    }

    fn of_collector(&self, messages: u64, reports: Reports) -> Result<Option<OfCollector>, FleetError> {
        let Some((process, before)) = &self.collector else { return Ok(None) };
        let (cpu, memory) = (process.cpu()?.since(before).as_secs_f64(), process.memory()?);
        let growth =
            self.database.as_ref().map(|(path, before)| database_bytes(path).saturating_sub(*before));
        Ok(Some(OfCollector {
            cpu_seconds: cpu,
            cpu_micros_per_message: per(cpu * 1e6, messages),
            resident_bytes: memory.resident,
            peak_bytes: memory.peak,
            database_growth_bytes: growth,
            database_bytes_per_report: growth.map(|growth| per(growth as f64, reports.acknowledged)),
        }))
    }
}

impl Outcome {
    /// What was counted of a kind, such as `heartbeat`.
    pub fn kind(&self, name: &str) -> OfKind {
        self.kinds.get(name).cloned().unwrap_or_default()
    }
}

impl OfKind {
    fn of(of: &Of, seconds: f64) -> Self {
        Self {
            sent: of.sent,
            answered: of.answered,
            per_second: of.answered as f64 / seconds,
            latency: Latency::of(&of.latency),
            trouble: of.trouble.clone(),
        }
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self { p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), max_ms: histogram.max() as f64 / 1000.0 }
    }
}

impl OfReports {
    fn of(reports: Reports, waiting: u64) -> Self {
        let Reports { made, acknowledged, duplicates, refused } = reports;
        let lost = made.saturating_sub(acknowledged + refused + waiting);
        Self { made, acknowledged, duplicates, refused, waiting, lost }
    }
}

impl Arrivals {
    /// Of counts by slice.
    fn of(slices: &[u64]) -> Self {
        let first = slices.iter().position(|count| *count > 0).unwrap_or(0);
        let slices = &slices[first..];
        let seconds = slices.len() as f64 * SLICE.as_secs_f64();
        let mean = if slices.is_empty() { 0.0 } else { slices.iter().sum::<u64>() as f64 / seconds };
        let part = (slices.len() / PARTS).max(1);
        // Whole parts only: the last one may be cut short.
        let densest = slices.windows(part).map(|part| part.iter().sum::<u64>()).max().unwrap_or(0);
        let peak = densest as f64 / (part as f64 * SLICE.as_secs_f64());
        let peak_to_mean = if mean > 0.0 { peak / mean } else { 0.0 };
        Self { seconds, mean_per_second: mean, peak_per_second: peak, peak_to_mean }
    }
}

fn per(total: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { total / count as f64 }
}

/// What the database's files hold: with what is written ahead.
fn database_bytes(path: &Path) -> u64 {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |about| about.len())
    };
    beside("") + beside("-wal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_held_against_the_mean() {
        let even = Arrivals::of(&[0, 0, 10, 10, 10, 10]);
        assert_eq!((even.peak_to_mean, even.mean_per_second), (1.0, 100.0));
        let burst = Arrivals::of(&[40, 0, 0, 0]);
        assert_eq!((burst.peak_to_mean, burst.peak_per_second), (4.0, 400.0));
        assert_eq!(Arrivals::of(&[]).peak_to_mean, 0.0);
    }

    #[test]
    fn what_is_neither_acknowledged_nor_refused_nor_waiting_is_lost() {
        let reports = Reports { made: 10, acknowledged: 6, duplicates: 1, refused: 1 };
        assert_eq!(OfReports::of(reports, 3).lost, 0);
        assert_eq!(OfReports::of(reports, 2).lost, 1);
    }
}
