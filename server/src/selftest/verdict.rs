//! From what was measured to how many nodes that is. Pure.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::disk::Fsync;

const SCHEMA: u32 = 1;
/// How much of what was measured is planned with. The rest is for operators, policy,
/// retention, and nodes that come back at once.
const MARGIN: f64 = 0.5;
/// Which share of sweeps is taken to find drift.
const DRIFT: f64 = 0.01;
/// How many leading digits of a number of nodes mean anything.
const DIGITS: u32 = 2;

/// Messages of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) p99_ms: f64,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    /// Of the disk, where the database is on one of this machine.
    pub(super) fsync: Option<Fsync>,
    pub(super) heartbeats: Rate,
    pub(super) clean: Rate,
    pub(super) drift: Rate,
}

/// What nodes are to do, and how many of them can be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) heartbeats: Duration,
    pub(super) sweeps: Duration,
    pub(super) room: usize,
}

/// What keeps there from being more nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Bound {
    /// What the machine and its disk do in a second.
    Messages,
    /// How many connections the process may have: each node keeps one.
    Connections,
}

/// How many nodes it comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Verdict {
    schema_version: u32,
    /// Where it was measured: a folder, or a database on a server.
    place: String,
    nodes: u64,
    bound_by: Bound,
    /// The share of what was measured that `nodes` take.
    margin: f64,
    heartbeat_seconds: u64,
    sweep_seconds: u64,
    drift_share: f64,
    processors: usize,
    connections: usize,
    /// None on a server.
    fsync: Option<Fsync>,
    heartbeats_per_second: f64,
    heartbeats_p99_ms: f64,
    clean_reports_per_second: f64,
    clean_reports_p99_ms: f64,
    drift_reports_per_second: f64,
    drift_reports_p99_ms: f64,
}

impl Verdict {
    pub(super) fn of(place: String, measured: Measured, asked: Asked) -> Self {
        let Measured { fsync, heartbeats, clean, drift } = measured;
        let by_messages = MARGIN / share_of_one_node(&measured, &asked);
        let (nodes, bound_by) = if by_messages < asked.room as f64 {
            (by_messages as u64, Bound::Messages)
        } else {
            (asked.room as u64, Bound::Connections)
        };
        Self {
            schema_version: SCHEMA,
            place,
            nodes: round_down(nodes),
            bound_by,
            margin: MARGIN,
            heartbeat_seconds: asked.heartbeats.as_secs(),
            sweep_seconds: asked.sweeps.as_secs(),
            drift_share: DRIFT,
            processors: std::thread::available_parallelism().map_or(1, Into::into),
            connections: asked.room,
            fsync,
            heartbeats_per_second: heartbeats.per_second,
            heartbeats_p99_ms: heartbeats.p99_ms,
            clean_reports_per_second: clean.per_second,
            clean_reports_p99_ms: clean.p99_ms,
            drift_reports_per_second: drift.per_second,
            drift_reports_p99_ms: drift.p99_ms,
        }
    }
}

/// Which share of the collector one node takes.
fn share_of_one_node(measured: &Measured, asked: &Asked) -> f64 {
    let (beats, sweeps) = (1.0 / asked.heartbeats.as_secs_f64(), 1.0 / asked.sweeps.as_secs_f64());
    let sweep = (1.0 - DRIFT) / measured.clean.per_second + DRIFT / measured.drift.per_second;
    beats / measured.heartbeats.per_second + sweeps * sweep
}

/// 48,739 is 48,000: nobody measured the rest.
fn round_down(nodes: u64) -> u64 {
    let digits = nodes.checked_ilog10().map_or(1, |log| log + 1);
    let step = 10_u64.pow(digits.saturating_sub(DIGITS));
    nodes / step * step
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, heartbeat_seconds: beat, sweep_seconds: sweep, .. } = self;
        let because = match self.bound_by {
            Bound::Messages => format!(
                "that takes {:.0} % of what was measured, and the rest is kept for operators, policy and nodes that come \
                 back at once",
                self.margin * 100.0
            ),
            Bound::Connections => format!(
                "each keeps a connection, and the limit of descriptors (ulimit -n) leaves room for {}; by messages \
                 there could be more",
                self.connections
            ),
        };
        writeln!(
            f,
            "this machine will carry {nodes} nodes with a heartbeat every {beat} s and a full sweep every {sweep} s: {because}"
        )?;
        writeln!(f)?;
        let row = |f: &mut fmt::Formatter<'_>, what: &str, rate: f64, p99: f64| {
            writeln!(f, "{what:<36} {rate:>8.0}/s   p99 {p99:>8.2} ms")
        };
        row(f, "heartbeats", self.heartbeats_per_second, self.heartbeats_p99_ms)?;
        row(f, "clean reports, durable", self.clean_reports_per_second, self.clean_reports_p99_ms)?;
        row(
            f,
            "drift reports of 10 findings, durable",
            self.drift_reports_per_second,
            self.drift_reports_p99_ms,
        )?;
        match self.fsync {
            Some(Fsync { p50_ms, p99_ms, max_ms }) => writeln!(
                f,
                "fsync in {}: p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, max {max_ms:.2} ms",
                self.place
            )?,
            None => writeln!(f, "in a schema of its own in {}", self.place)?,
        }
        writeln!(
            f,
            "fleet and collector shared this machine's {} processors; one sweep in a hundred is taken to find drift",
            self.processors
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FSYNC: Fsync = Fsync { p50_ms: 1.0, p99_ms: 2.0, max_ms: 3.0 };

    fn verdict(heartbeats: f64, clean: f64, drift: f64, (beat, sweep): (u64, u64), room: usize) -> Verdict {
        let rate = |per_second| Rate { per_second, p99_ms: 1.0 };
        let measured = Measured {
            fsync: Some(FSYNC),
            heartbeats: rate(heartbeats),
            clean: rate(clean),
            drift: rate(drift),
        };
        let asked = Asked { heartbeats: Duration::from_secs(beat), sweeps: Duration::from_secs(sweep), room };
        Verdict::of("/var/lib".to_owned(), measured, asked)
    }

    #[test]
    fn half_of_what_was_measured_is_planned_with() {
        // Heartbeats alone would be 6,000 × 60 × ½; sweeps take as much again.
        let both = verdict(6000.0, 100.0, 100.0, (60, 3600), 1 << 20);
        assert_eq!((both.nodes, both.bound_by), (90_000, Bound::Messages));
        let slow = verdict(6000.0, 1.0, 1.0, (60, 3600), 1 << 20);
        assert_eq!(slow.nodes, 1700, "a slow disk is what counts");
        let seldom = verdict(6000.0, 100.0, 100.0, (60, 36_000), 1 << 20);
        assert!(seldom.nodes > both.nodes);
    }

    #[test]
    fn nobody_is_carried_who_cannot_connect() {
        let crowded = verdict(6000.0, 1e6, 1e6, (60, 3600), 512);
        assert_eq!((crowded.nodes, crowded.bound_by), (510, Bound::Connections));
        assert!(crowded.to_string().contains("ulimit -n"), "{crowded}");
    }

    #[test]
    fn nodes_are_counted_in_two_digits() {
        for (nodes, shown) in [(0, 0), (7, 7), (48, 48), (489, 480), (48_739, 48_000)] {
            assert_eq!(round_down(nodes), shown);
        }
    }
}
