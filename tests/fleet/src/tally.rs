//! What is counted while a fleet runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// The longest latency that is told apart, in microseconds.
const LONGEST_MICROS: u64 = 600_000_000;
/// How finely arrivals are counted.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// What kinds of messages there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Connect,
    Heartbeat,
    Clean,
    Drift,
    Operator,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Heartbeat => "heartbeat",
            Self::Clean => "clean-report",
            Self::Drift => "drift-report",
            Self::Operator => "operator",
        }
    }
}

/// Counts of one kind.
#[derive(Debug)]
pub(crate) struct Of {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// How often what went wrong, by its word.
    pub(crate) trouble: BTreeMap<String, u64>,
    pub(crate) latency: Histogram<u64>,
}

impl Default for Of {
    fn default() -> Self {
        let latency = Histogram::new_with_bounds(1, LONGEST_MICROS, 3);
        Self {
            sent: 0,
            answered: 0,
            trouble: BTreeMap::new(),
            latency: latency.expect("the bounds are in order and three digits are few"),
        }
    }
}

impl Of {
    /// Counts what was counted elsewhere as well.
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        for (word, count) in other.trouble {
            *self.trouble.entry(word).or_default() += count;
        }
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
    }
}

/// Reports, from being made to being settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reports {
    pub(crate) made: u64,
    pub(crate) acknowledged: u64,
    /// Those of them that the collector had received before.
    pub(crate) duplicates: u64,
    /// Those that it will never take.
    pub(crate) refused: u64,
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) kinds: BTreeMap<Kind, Of>,
    pub(crate) reports: Reports,
    /// Requests of nodes in each slice of time since the beginning.
    pub(crate) arrivals: Vec<u64>,
}

/// The counts, shared by all who count.
#[derive(Debug)]
pub(crate) struct Tally {
    begun: Instant,
    counts: Mutex<Counts>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), counts: Mutex::default() }
    }

    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted, once all is over.
    pub(crate) fn into_counts(self) -> Counts {
        self.counts.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message is sent.
    pub(crate) fn sent(&self, kind: Kind) {
        let slice = (self.begun.elapsed().as_millis() / SLICE.as_millis()) as usize;
        let mut counts = self.counts();
        counts.kinds.entry(kind).or_default().sent += 1;
        if matches!(kind, Kind::Heartbeat | Kind::Clean | Kind::Drift) {
            if counts.arrivals.len() <= slice {
                counts.arrivals.resize(slice + 1, 0);
            }
            counts.arrivals[slice] += 1;
        }
    }

    /// A message was answered well, after so long.
    pub(crate) fn answered(&self, kind: Kind, after: Duration) {
        let mut counts = self.counts();
        let of = counts.kinds.entry(kind).or_default();
        of.answered += 1;
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        of.latency.saturating_record(micros.max(1));
    }

    /// Something went wrong with a message.
    pub(crate) fn trouble(&self, kind: Kind, word: &str) {
        let mut counts = self.counts();
        *counts.kinds.entry(kind).or_default().trouble.entry(word.to_owned()).or_default() += 1;
    }
}
