//! What a fleet does: for each machine and each of its turns, what it sends.

use std::fmt;
use std::str::FromStr;

/// How many waves a rollout has.
const WAVES: u64 = 5;

/// A way for a fleet to behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Heartbeats, and one clean sweep in so many turns; none with 0.
    Healthy {
        /// How many turns there are from one sweep to the next.
        sweep_every: u64,
    },
    /// Each turn a sweep whose findings are all new.
    Drifting,
    /// Drift and a clean sweep in turn.
    Flapping,
    /// Clean sweeps, of the first release and then, wave by wave, of the second.
    RollingOut,
    /// Two machines with each enrolment.
    Cloned,
    /// All come back at once after an outage, each with a report that waited.
    Herd,
    /// The same drift on all nodes at once, twice, and then signs of life.
    BadRelease,
}

/// The scenarios by name.
const NAMED: [(&str, Scenario); 7] = [
    ("healthy", Scenario::Healthy { sweep_every: 60 }),
    ("drifting", Scenario::Drifting),
    ("flapping", Scenario::Flapping),
    ("rolling-out", Scenario::RollingOut),
    ("cloned", Scenario::Cloned),
    ("herd", Scenario::Herd),
    ("bad-release", Scenario::BadRelease),
];

impl Scenario {
    /// Every name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let same = |other: &Self| std::mem::discriminant(other) == std::mem::discriminant(&self);
        NAMED.iter().find(|(_, known)| same(known)).map_or("", |(name, _)| name)
    }

    /// How many releases it needs.
    pub fn releases(self) -> usize {
        if self == Self::RollingOut { 2 } else { 1 }
    }

    /// How many turns it has, where it says itself.
    pub fn turns(self) -> Option<u64> {
        match self {
            Self::RollingOut => Some(WAVES + 1),
            Self::Cloned => Some(6),
            Self::BadRelease => Some(4),
            Self::Herd => Some(1),
            Self::Healthy { .. } | Self::Drifting | Self::Flapping => None,
        }
    }

    /// How many machines use one enrolment.
    pub(crate) fn machines(self) -> usize {
        if self == Self::Cloned { 2 } else { 1 }
    }

    /// What a machine does in its turn; both are counted from 0, of so many machines.
    pub(crate) fn act(self, machine: u64, machines: u64, turn: u64) -> Act {
        match self {
            Self::Healthy { sweep_every: 0 } => Act::Beat,
            // Each in its own slot.
            Self::Healthy { sweep_every } if (turn + machine).is_multiple_of(sweep_every) => Act::clean(0),
            Self::Healthy { .. } => Act::Beat,
            Self::Drifting => Act::Sweep { release: 0, drift: Drift::New },
            Self::Flapping if turn.is_multiple_of(2) => Act::Sweep { release: 0, drift: Drift::New },
            Self::Flapping | Self::Herd => Act::clean(0),
            Self::RollingOut => {
                let wave = machine * WAVES / machines.max(1);
                Act::clean(usize::from(turn > wave))
            }
            // One after the other, so that neither is turned away for coming at once.
            Self::Cloned if turn == machine % 2 => Act::clean(0),
            Self::Cloned => Act::Beat,
            Self::BadRelease if turn < 2 => Act::Sweep { release: 0, drift: Drift::Same },
            Self::BadRelease => Act::Beat,
        }
    }
}

/// What a machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// It gives a sign of life.
    Beat,
    /// It reports a full sweep of this release.
    Sweep { release: usize, drift: Drift },
}

impl Act {
    fn clean(release: usize) -> Self {
        Self::Sweep { release, drift: Drift::None }
    }
}

/// What a sweep finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drift {
    None,
    /// What nobody has found before.
    New,
    /// What all others find as well.
    Same,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = NAMED.iter().find(|(name, _)| *name == text).map(|(_, scenario)| *scenario);
        known.ok_or_else(|| {
            format!("there is no such scenario; there are {}", Self::names().collect::<Vec<_>>().join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in Scenario::names() {
            assert_eq!(name.parse::<Scenario>().unwrap().to_string(), name);
        }
        assert!("well".parse::<Scenario>().unwrap_err().contains("bad-release"));
    }

    #[test]
    fn a_rollout_goes_in_waves_to_its_end() {
        let on_second = |turn| {
            let act = |machine| Scenario::RollingOut.act(machine, 100, turn);
            (0..100).filter(|machine| act(*machine) == Act::clean(1)).count()
        };
        assert_eq!([0, 1, 2, 3, 4, 5].map(on_second), [0, 20, 40, 60, 80, 100]);
    }

    #[test]
    fn healthy_nodes_sweep_each_in_its_own_slot() {
        let scenario = Scenario::Healthy { sweep_every: 10 };
        let sweeps = |turn| (0..50).filter(|machine| scenario.act(*machine, 50, turn) != Act::Beat).count();
        assert!((0..10).all(|turn| sweeps(turn) == 5));
        let quiet = Scenario::Healthy { sweep_every: 0 };
        assert!((0..100).all(|turn| quiet.act(0, 1, turn) == Act::Beat));
    }
}
