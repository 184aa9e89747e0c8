//! How well a node was watched in a period. Pure.

use jiff::Timestamp;
use serde::Serialize;

use super::Period;
use crate::store::LookTimes;

/// How well a node was watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NodeCoverage {
    /// Sweeps in the period that were held to an accepted manifest.
    pub(super) sweeps: usize,
    /// Those of them that read every file and saw everything.
    pub(super) complete_sweeps: usize,
    /// Other looks in the period: that were not held to an accepted manifest (a container's
    /// layers are looked at without one; one may have expired, or be of another image), or
    /// whose result could not be reported.
    pub(super) other_looks: usize,
    /// The last sweep before the period's end.
    pub(super) last_sweep_at: Option<Timestamp>,
    /// The longest time in the period without a sweep, from its beginning (or
    /// from when the node came into scope) to its end. Sweeps count when they
    /// arrive: a spool that comes late has left a gap.
    pub(super) largest_gap_seconds: i64,
}

impl NodeCoverage {
    /// Of `looks` in order: the last sweep before the period, and all looks since. The
    /// node is in scope from `in_scope_from` on; the period is over at `as_of`.
    pub(super) fn of(
        looks: &[LookTimes],
        period: Period,
        in_scope_from: Timestamp,
        as_of: Timestamp,
    ) -> Self {
        let in_period = looks.iter().filter(|look| look.received_at >= period.from);
        let (within, others): (Vec<&LookTimes>, Vec<_>) = in_period.partition(|look| look.held);
        let start = period.from.max(in_scope_from).min(as_of);
        let times = within.iter().map(|sweep| sweep.received_at.max(start));
        let edges: Vec<Timestamp> = std::iter::once(start).chain(times).chain([as_of.max(start)]).collect();
        let gaps = edges.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs());
        Self {
            sweeps: within.len(),
            complete_sweeps: within.iter().filter(|sweep| sweep.complete).count(),
            other_looks: others.len(),
            last_sweep_at: looks.iter().rfind(|look| look.held).map(|sweep| sweep.received_at),
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

    fn look(at: &str, held: bool) -> LookTimes {
        LookTimes {
            report_id: 1,
            received_at: time(at),
            state: State::Congruent,
            findings_digest: Algorithm::Blake3.digest(b""),
            beside: None,
            held,
            complete: true,
        }
    }

    fn coverage(looks: &[LookTimes], in_scope_from: &str, as_of: &str) -> NodeCoverage {
        let period = Period { from: time("2026-03-01T00:00:00Z"), to: time("2026-03-02T00:00:00Z") };
        NodeCoverage::of(looks, period, time(in_scope_from), time(as_of))
    }

    fn check(sweeps: &[&str], in_scope_from: &str, as_of: &str) -> (usize, Option<String>, i64) {
        let sweeps: Vec<_> = sweeps.iter().map(|at| look(at, true)).collect();
        let coverage = coverage(&sweeps, in_scope_from, as_of);
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

    #[test]
    fn a_look_that_was_not_held_to_a_manifest_is_no_sweep() {
        let looks = [
            look("2026-03-01T06:00:00Z", true),
            look("2026-03-01T12:00:00Z", false),
            look("2026-03-01T18:00:00Z", false),
        ];
        let expected = NodeCoverage {
            sweeps: 1,
            complete_sweeps: 1,
            other_looks: 2,
            last_sweep_at: Some(time("2026-03-01T06:00:00Z")),
            largest_gap_seconds: 18 * 3600,
        };
        assert_eq!(coverage(&looks, "2026-01-01T00:00:00Z", "2026-03-02T00:00:00Z"), expected);
    }
}
