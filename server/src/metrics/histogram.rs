//! Distributions, counted without a lock: whoever observes adds to three numbers,
//! and allocates nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds of how long something took, in nanoseconds: from what memory answers
/// to what nobody waits for any longer.
const DURATIONS: [u64; 14] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
const NANOS_PER_SECOND: f64 = 1e9;
/// Upper bounds of how many of something there were.
const COUNTS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// A distribution of durations, told in seconds.
#[derive(Debug, Clone)]
pub(crate) struct Durations(Distribution);

/// A distribution of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Counts(Distribution);

#[derive(Debug, Clone)]
struct Distribution {
    /// In the unit that is observed.
    bounds: &'static [u64],
    /// One for each bound, and one for what is beyond.
    cells: Arc<[AtomicU64]>,
    sum: Arc<AtomicU64>,
    /// How much of what is observed makes one of what is told.
    per_unit: f64,
}

impl Distribution {
    fn new(bounds: &'static [u64], per_unit: f64) -> Self {
        let cells = (0..=bounds.len()).map(|_| AtomicU64::default()).collect();
        Self { bounds, cells, sum: Arc::default(), per_unit }
    }

    fn observe(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.cells[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / self.per_unit);
        let counts = self.cells.iter().map(|cell| cell.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        // Summed up, so that it is the last bucket also while others count.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.sum.load(Ordering::Relaxed) as f64 / self.per_unit;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

impl Default for Durations {
    fn default() -> Self {
        Self(Distribution::new(&DURATIONS, NANOS_PER_SECOND))
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self(Distribution::new(&COUNTS, 1.0))
    }
}

impl Durations {
    /// Something took this long.
    pub(crate) fn observe(&self, took: Duration) {
        self.0.observe(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl Counts {
    /// There were so many of something.
    pub(crate) fn observe(&self, count: u64) {
        self.0.observe(count);
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Durations {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Counts {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Counts {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::prometheus_text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_is_observed_counts_in_its_bucket_and_in_all_above() {
        let (durations, counts) = (Durations::default(), Counts::default());
        let mut registry = Registry::default();
        registry.register("took_seconds", "Times", durations.clone());
        registry.register("writes", "Counts", counts.clone());
        for micros in [1, 500, 501, 20_000_000] {
            durations.observe(Duration::from_micros(micros));
        }
        [1, 3, 5000].into_iter().for_each(|count| counts.observe(count));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "took_seconds_bucket{le=\"0.0005\"} 2",
            "took_seconds_bucket{le=\"0.001\"} 3",
            "took_seconds_bucket{le=\"10\"} 3",
            "took_seconds_bucket{le=\"+Inf\"} 4",
            "took_seconds_sum 20.001002",
            "took_seconds_count 4",
            "writes_bucket{le=\"2\"} 1",
            "writes_bucket{le=\"4\"} 2",
            "writes_bucket{le=\"+Inf\"} 3",
            "writes_sum 5004.0",
        ] {
            assert!(text.lines().any(|said| said == line), "{line} in {text}");
        }
    }
}
