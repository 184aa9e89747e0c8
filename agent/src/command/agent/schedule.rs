//! When the node is looked at next, and how.

use std::time::Duration;

use congruent_protocol::digest::Algorithm;
use congruent_protocol::verification::SweepMode;
use tokio::time::Instant;

use crate::config::Config;

/// When looks are due. Times of the wall clock are since 1970.
pub(super) struct Schedule {
    node: String,
    interval: Duration,
    /// Whether the collector gave the interval: then each node has its own slot in it,
    /// so that a fleet that was started at once does not report at once.
    has_slot: bool,
    quick_interval: Option<Duration>,
    /// When the last full look began, by either clock; none before the first.
    last_full: Option<(Instant, Duration)>,
    next_full: Instant,
    /// None without quick sweeps.
    next_quick: Option<Instant>,
}

impl Schedule {
    /// A full look is due at once.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            node: config.node.clone(),
            interval: config.interval,
            has_slot: false,
            quick_interval: config.sweep.quick_interval,
            last_full: None,
            next_full: Instant::now(),
            next_quick: None,
        }
    }

    /// Takes what the configuration or the collector says from now on.
    pub(super) fn follow(&mut self, config: &Config, advised: Option<Duration>) {
        self.set_interval(advised.unwrap_or(config.interval), advised.is_some());
        self.quick_interval = config.sweep.quick_interval.filter(|quick| *quick < self.interval);
    }

    /// Another interval counts from the last full look, not only from the next one.
    fn set_interval(&mut self, interval: Duration, has_slot: bool) {
        let before = (self.interval, self.has_slot);
        (self.interval, self.has_slot) = (interval, has_slot);
        if let Some((begun, wall)) = self.last_full.filter(|_| before != (self.interval, self.has_slot)) {
            self.next_full = begun + self.wait_after(wall);
        }
    }

    pub(super) fn due(&self, now: Instant) -> Option<SweepMode> {
        let is_past = |at: Instant| at <= now;
        match self.next_quick {
            _ if is_past(self.next_full) => Some(SweepMode::Full),
            Some(quick) if is_past(quick) => Some(SweepMode::Quick),
            _ => None,
        }
    }

    /// Takes account of a look that began then, by either clock. A quick one never
    /// puts off a full one.
    pub(super) fn looked(&mut self, begun: Instant, wall: Duration, mode: SweepMode) {
        if mode == SweepMode::Full {
            self.last_full = Some((begun, wall));
            self.next_full = begun + self.wait_after(wall);
        }
        self.next_quick = self.quick_interval.map(|quick| begun + quick);
    }

    /// How long after a full look at this time the next one is due.
    fn wait_after(&self, wall: Duration) -> Duration {
        if self.has_slot { until_slot(&self.node, wall, self.interval) } else { self.interval }
    }

    pub(super) fn next(&self) -> Instant {
        self.next_quick.map_or(self.next_full, |quick| quick.min(self.next_full))
    }
}

/// How long it is to the node's next slot: a phase of the interval that its name
/// gives. Never less than half an interval, so that no look follows at the heels of
/// another.
fn until_slot(node: &str, wall: Duration, interval: Duration) -> Duration {
    let digest = Algorithm::Blake3.digest(node.as_bytes());
    let first = digest.as_bytes().first_chunk().copied().unwrap_or_default();
    let interval_ns = interval.as_nanos().max(1);
    let phase = u128::from(u64::from_le_bytes(first)) % interval_ns;
    let into = (wall.as_nanos() + interval_ns - phase) % interval_ns;
    let wait = interval_ns - into;
    let wait = if wait < interval_ns / 2 { wait + interval_ns } else { wait };
    Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(begun: Instant) -> Schedule {
        Schedule {
            node: "web-1".to_owned(),
            interval: Duration::from_mins(1),
            has_slot: false,
            quick_interval: Some(Duration::from_secs(25)),
            last_full: None,
            next_full: begun,
            next_quick: None,
        }
    }

    #[test]
    fn another_interval_counts_from_the_last_full_look() {
        let begun = Instant::now();
        let mut schedule = schedule(begun);
        schedule.set_interval(Duration::from_secs(90), false);
        assert_eq!(schedule.next_full, begun, "the first look waits for nothing");
        schedule.looked(begun, Duration::ZERO, SweepMode::Full);
        assert_eq!(schedule.next_full, begun + Duration::from_secs(90));
        schedule.looked(begun + Duration::from_secs(25), Duration::ZERO, SweepMode::Quick);
        schedule.set_interval(Duration::from_secs(30), false);
        assert_eq!(schedule.next_full, begun + Duration::from_secs(30));
        schedule.set_interval(Duration::from_secs(2), true);
        assert!(schedule.next_full <= begun + Duration::from_secs(3));
    }

    #[test]
    fn quick_looks_stand_between_full_ones_and_never_put_them_off() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut schedule = schedule(begun);
        let mut looks = Vec::new();
        for seconds in 0..=125 {
            if let Some(mode) = schedule.due(at(seconds)) {
                looks.push((seconds, mode));
                schedule.looked(at(seconds), Duration::ZERO, mode);
                assert!(schedule.next() > at(seconds));
            }
        }
        use SweepMode::{Full, Quick};
        assert_eq!(
            looks,
            [(0, Full), (25, Quick), (50, Quick), (60, Full), (85, Quick), (110, Quick), (120, Full)]
        );
        // A quick look for which there was nothing to recall is a full one.
        schedule.looked(at(145), Duration::ZERO, Full);
        assert_eq!((schedule.due(at(169)), schedule.due(at(170))), (None, Some(Quick)));
        assert_eq!(schedule.next_full, at(205));
    }

    #[test]
    fn nodes_that_started_at_once_spread_over_the_interval() {
        let interval = Duration::from_mins(10);
        let mut tenths = [0_u32; 10];
        for number in 0..2000 {
            let (node, wall) = (format!("node-{number}"), Duration::from_secs(1_700_000_000));
            let slot = wall + until_slot(&node, wall, interval);
            let next = until_slot(&node, slot, interval);
            assert_eq!(next, interval, "the slot is kept from then on");
            tenths[(slot.as_secs() % 600 / 60) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (150..250).contains(count)), "{tenths:?}");
    }
}
