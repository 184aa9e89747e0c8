//! How well a node was watched in a period. Pure.

use jiff::Timestamp;
use serde::Serialize;

use super::Period;
use crate::store::SweepTimes;

/// How well a node was watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NodeCoverage {
    /// Sweeps in the period that were held to an accepted manifest.
    pub(super) sweeps: usize,
    /// Those of them that read every file and saw everything.
    pub(super) complete_sweeps: usize,
    /// The last sweep before the period's end.
    pub(super) last_sweep_at: Option<Timestamp>,
    /// The longest time in the period without a sweep, from its beginning (or
    /// from when the node came into scope) to its end. Sweeps count when they
    /// arrive: a spool that comes late has left a gap.
    pub(super) largest_gap_seconds: i64,
}

impl NodeCoverage {
    /// Of `sweeps` in order: the last one before the period, and all in it. The
    /// node is in scope from `in_scope_from` on; the period is over at `as_of`.
    pub(super) fn of(
        sweeps: &[SweepTimes],
        period: Period,
        in_scope_from: Timestamp,
        as_of: Timestamp,
    ) -> Self {
        let within: Vec<_> = sweeps.iter().filter(|sweep| sweep.received_at >= period.from).collect();
        let start = period.from.max(in_scope_from).min(as_of);
        let times = within.iter().map(|sweep| sweep.received_at.max(start));
        let edges: Vec<Timestamp> = std::iter::once(start).chain(times).chain([as_of.max(start)]).collect();
        let gaps = edges.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs());
        Self {
            sweeps: within.len(),
            complete_sweeps: within.iter().filter(|sweep| sweep.complete).count(),
            last_sweep_at: sweeps.last().map(|sweep| sweep.received_at),
            largest_gap_seconds: gaps.max().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::time;
    use congruent_protocol::digest::Algorithm;
    use congruent_protocol::verification::State;

    fn check(sweeps: &[&str], in_scope_from: &str, as_of: &str) -> (usize, Option<String>, i64) {
        let sweeps: Vec<_> = sweeps
            .iter()
            .map(|at| SweepTimes {
                report_id: 1,
                received_at: time(at),
                state: State::Congruent,
                findings_digest: Algorithm::Blake3.digest(b""),
                beside: None,
                complete: true,
            })
            .collect();
        let period = Period { from: time("2026-03-01T00:00:00Z"), to: time("2026-03-02T00:00:00Z") };
        let coverage = NodeCoverage::of(&sweeps, period, time(in_scope_from), time(as_of));
        (coverage.sweeps, coverage.last_sweep_at.map(|at| at.to_string()), coverage.largest_gap_seconds)
    }

    #[test]
    fn gaps_reach_to_the_edges() {
        let (long_ago, end) = ("2026-01-01T00:00:00Z", "2026-03-02T00:00:00Z");
        let hours = |hours: i64| hours * 3600;
        let last = |at: &str| Some(at.to_owned());
        assert_eq!(check(&[], long_ago, end), (0, None, hours(24)));
        // A sweep before the period shows as the last, and closes no gap in it.
        let before = "2026-02-28T23:00:00Z";
        assert_eq!(check(&[before], long_ago, end), (0, last(before), hours(24)));
        let two = ["2026-03-01T06:00:00Z", "2026-03-01T16:00:00Z"];
        assert_eq!(check(&two, long_ago, end), (2, last(two[1]), hours(10)));
        // In scope from five o'clock on; the period is not over yet.
        assert_eq!(check(&two, "2026-03-01T05:00:00Z", "2026-03-01T17:00:00Z"), (2, last(two[1]), hours(10)));
        assert_eq!(check(&two[..1], "2026-03-01T05:00:00Z", "2026-03-01T07:00:00Z").2, hours(1));
    }
}
