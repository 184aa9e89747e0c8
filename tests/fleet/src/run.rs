//! Runs a fleet: connects its machines, gives each its turns, and sees that what was
//! made is delivered.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::enrolment::{Identity, enroll_all};
use crate::kept;
use crate::node::{Node, Position};
use crate::operator::Watch;
use crate::outcome::{Outcome, Watched};
use crate::process::Process;
use crate::release::{Release, Releases};
use crate::retry::Retry;
use crate::scenario::Scenario;
use crate::tally::Tally;
use crate::turn::{Left, Machine, Shared};
use crate::way::Way;
use crate::{FleetError, herd};

/// How many nodes enrol, and connect, at once.
const JOINING_AT_ONCE: usize = 32;
const CONNECTING_AT_ONCE: usize = 128;
/// How long what waits is delivered after the last turn.
const PATIENCE: Duration = Duration::from_mins(5);

/// Nodes that are enrolled.
pub struct Fleet {
    way: Way,
    releases: Releases,
    nodes: Vec<(Arc<Identity>, Position)>,
}

/// When turns come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// The next as soon as the one before is answered.
    Free,
    /// So many messages of all machines together in each second, whatever the answers
    /// take: latency counts from when each was due.
    PerSecond(f64),
}

/// When it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After so long.
    Time(Duration),
    /// After so many turns of each machine.
    Turns(u64),
}

/// What a fleet is to do.
#[derive(Debug, Clone)]
pub struct Run {
    /// How it behaves.
    pub scenario: Scenario,
    /// How many nodes connect and take turns; the others are enrolled only.
    pub connections: usize,
    /// When turns come.
    pub pace: Pace,
    /// When it ends.
    pub length: Length,
    /// How many findings a drifted sweep has.
    pub findings: usize,
    /// The collector's process, where it is on this machine.
    pub collector: Option<Process>,
    /// The collector's database, where it is a file of this machine.
    pub database: Option<PathBuf>,
    /// An operator who asks meanwhile.
    pub operator: Option<Watch>,
}

impl Fleet {
    /// Nodes that run these releases; none has enrolled yet.
    pub fn new(way: Way, releases: Vec<Release>) -> Self {
        Self { way, releases: Arc::new(releases), nodes: Vec::new() }
    }

    /// How many nodes are enrolled.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Takes nodes that enrolled before.
    ///
    /// # Errors
    /// When the file is none of enrolments.
    pub fn load(&mut self, path: &Path) -> Result<(), FleetError> {
        self.nodes.extend(kept::read(path)?);
        Ok(())
    }

    /// Keeps who they are and where their chains stand; for the owner's eyes only.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), FleetError> {
        kept::write(path, &self.nodes)
    }

    /// Enrols nodes until there are `count`, by a join token that may be used again.
    ///
    /// # Errors
    /// When the collector refuses any.
    pub async fn enroll(&mut self, count: usize, prefix: &str, token: &str) -> Result<(), FleetError> {
        let names: Vec<_> = (self.nodes.len()..count).map(|number| format!("{prefix}-{number:06}")).collect();
        let joined = enroll_all(&self.way, names, token, JOINING_AT_ONCE).await?;
        self.nodes.extend(joined.into_iter().map(|identity| {
            let position = Position::first(&identity);
            (Arc::new(identity), position)
        }));
        Ok(())
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// When it cannot begin. What goes wrong on the way is in the outcome.
    pub async fn run(&mut self, run: &Run) -> Result<Outcome, FleetError> {
        let wanted = run.scenario.releases();
        if self.releases.len() < wanted {
            let (scenario, given) = (run.scenario.name(), self.releases.len());
            return Err(FleetError::TooFewReleases { scenario, wanted, given });
        }
        let (releases, findings) = (Arc::clone(&self.releases), run.findings);
        // Before anything is sent: what cannot be found will not be.
        releases[0].changed(findings, b"")?;
        let machines = self.machines(run)?;
        let shared = |tally| Shared { releases: Arc::clone(&releases), findings, tally };
        let (machines, connecting) = if run.scenario == Scenario::Herd {
            (machines, None)
        } else {
            let connecting = Arc::new(shared(Tally::new()));
            let machines = connect_all(machines, &connecting).await;
            (machines, Arc::into_inner(connecting))
        };
        let watched = Watched::begin(run)?;
        let during = Arc::new(shared(Tally::new()));
        let watching = run.operator.clone().map(|watch| watch.start(self.way.clone(), Arc::clone(&during)));
        let watching = watching.transpose()?;
        let begun = Instant::now();
        let machines = if run.scenario == Scenario::Herd {
            herd::come_back(machines, &during).await?
        } else {
            take_turns(machines, run, &during).await?
        };
        let took = begun.elapsed();
        if let Some(watching) = watching {
            watching.stop().await;
        }
        self.keep(&machines, run.scenario.machines());
        let waiting = machines.iter().filter(|machine| machine.has_waiting()).count();
        let during = Arc::into_inner(during).expect("who counted has ended").tally.into_counts();
        let connecting = connecting.map(|shared| shared.tally.into_counts()).unwrap_or_default();
        watched.end(run, self.nodes.len(), took, (connecting, during), waiting)
    }

    /// The machines that take turns: with clones, several of one enrolment.
    fn machines(&self, run: &Run) -> Result<Vec<Machine>, FleetError> {
        let nodes = self.nodes.iter().take(run.connections);
        let each = nodes.flat_map(|node| std::iter::repeat_n(node, run.scenario.machines()));
        let machines: Vec<_> = each
            .enumerate()
            .map(|(number, (identity, position))| {
                Ok(Machine::new(Node::new(Arc::clone(identity), *position, &self.way)?, number))
            })
            .collect::<Result<_, FleetError>>()?;
        if machines.is_empty() { Err(FleetError::NoNodes) } else { Ok(machines) }
    }

    /// Notes where chains stand now.
    fn keep(&mut self, machines: &[Machine], of_each: usize) {
        for machine in machines {
            self.nodes[machine.number / of_each].1 = machine.node.position();
        }
    }
}

/// Connects all before the first turn; gives those back that came through.
async fn connect_all(machines: Vec<Machine>, shared: &Arc<Shared>) -> Vec<Machine> {
    let room = Arc::new(Semaphore::new(CONNECTING_AT_ONCE));
    let mut connecting = JoinSet::new();
    for mut machine in machines {
        let (room, shared) = (Arc::clone(&room), Arc::clone(shared));
        connecting.spawn(async move {
            let mut retry = Retry::default();
            let deadline = Instant::now() + PATIENCE;
            loop {
                let turn = room.acquire().await;
                let left = machine.connect(&shared.tally).await;
                drop(turn);
                match left {
                    Left::Again(asked) if Instant::now() < deadline => {
                        tokio::time::sleep(retry.after(asked)).await;
                    }
                    _ => return machine,
                }
            }
        });
    }
    connecting.join_all().await
}

async fn take_turns(
    machines: Vec<Machine>,
    run: &Run,
    shared: &Arc<Shared>,
) -> Result<Vec<Machine>, FleetError> {
    let count = machines.len() as u64;
    let begun = Instant::now();
    let mut working = JoinSet::new();
    for machine in machines {
        let clock = Clock { begun, pace: run.pace, length: run.length, machines: count };
        let (shared, scenario) = (Arc::clone(shared), run.scenario);
        working.spawn(async move { work(machine, scenario, clock, &shared).await });
    }
    working.join_all().await.into_iter().collect()
}

/// When a machine's turns are.
#[derive(Debug, Clone, Copy)]
struct Clock {
    begun: Instant,
    pace: Pace,
    length: Length,
    machines: u64,
}

impl Clock {
    /// When a turn is due; none where the run is over by then.
    fn due(&self, machine: u64, turn: u64) -> Option<Instant> {
        if matches!(self.length, Length::Turns(turns) if turn >= turns) {
            return None;
        }
        let due = match self.pace {
            Pace::Free => Instant::now(),
            Pace::PerSecond(rate) => {
                let number = turn * self.machines + machine;
                self.begun + Duration::from_secs_f64(number as f64 / rate)
            }
        };
        match self.length {
            Length::Time(length) if due >= self.begun + length => None,
            _ => Some(due),
        }
    }
}

async fn work(
    mut machine: Machine,
    scenario: Scenario,
    clock: Clock,
    shared: &Shared,
) -> Result<Machine, FleetError> {
    let number = machine.number as u64;
    let mut turn = 0;
    while let Some(due) = clock.due(number, turn) {
        if let Pace::PerSecond(_) = clock.pace {
            sleep_until(due).await;
        }
        machine.begin(scenario.act(number, clock.machines, turn), shared)?;
        deliver(&mut machine, due, Instant::now() + PATIENCE, shared).await;
        turn += 1;
    }
    Ok(machine)
}

/// Sends until nothing is left to send, or the time is over.
pub(crate) async fn deliver(machine: &mut Machine, due: Instant, deadline: Instant, shared: &Shared) {
    let mut retry = Retry::default();
    let mut due = due;
    while let Left::Again(asked) = machine.send(due, &shared.tally).await {
        // A sign of life is not worth a second try: there is a next one.
        if !machine.has_waiting() || Instant::now() >= deadline {
            return;
        }
        tokio::time::sleep(retry.after(asked)).await;
        due = Instant::now();
    }
}
