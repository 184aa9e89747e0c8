//! `congruent-server selftest`: how many nodes this machine and its disk carry.
//!
//! A small simulated fleet reports to a collector that is started for the purpose, on
//! the loopback and with a database of its own, in a folder beside the configured one
//! and thrown away afterwards. What the user has is never opened.

mod disk;
mod private;
mod verdict;

use std::path::{Path, PathBuf};
use std::time::Duration;

use congruent_fleet::{Fleet, FleetError, Length, Outcome, Pace, Run, Scenario, raise_limit};

use crate::config::{Config, ConfigError};
use crate::listener::Room;
use crate::serve::ServeError;

use private::Private;
pub(crate) use verdict::Verdict;
use verdict::{Asked, Measured};

/// How many nodes report at once: as many as keep a collector busy, and few enough that
/// each answer comes soon.
const NODES: usize = 64;
/// How many findings a drifted node has.
const FINDINGS: usize = 10;
/// How often nodes are looked at whole where nothing else is said.
const DEFAULT_SWEEPS: Duration = Duration::from_hours(1);
/// How often they give a sign of life where nothing else is said.
const DEFAULT_HEARTBEATS: Duration = Duration::from_mins(1);

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SelftestError {
    #[error(
        "the configuration's database is a server of PostgreSQL, and only disks of this machine are measured; give \
         --database with a file on one"
    )]
    NoFile,
    #[error("the database {} lies in no folder", .0.display())]
    NoFolder(PathBuf),
    #[error("cannot make a folder for the test in {}; give a --database in a folder that can be written", .folder.display())]
    Folder {
        folder: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write to {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the kernel gives no random numbers")]
    Random(#[source] getrandom::Error),
    #[error("the test's own collector has no usable configuration; this is a bug")]
    Config(#[source] ConfigError),
    #[error("the test's own collector did not start")]
    Serve(#[source] ServeError),
    #[error("the test's own collector takes no nodes; this is a bug")]
    NoAgents,
    #[error("the simulated fleet failed")]
    Fleet(#[source] FleetError),
    #[error(
        "the test's own collector lost {0} reports that it had acknowledged or refused; do not rely on this disk"
    )]
    Lost(u64),
    #[error("the test's own collector answered nothing well to {0}; the log on standard error tells more")]
    Nothing(&'static str),
}

/// What is to be tested.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Where the database is, or is to be.
    database: PathBuf,
    /// How long each kind of message is measured.
    pub(crate) length: Duration,
    heartbeats: Duration,
    sweeps: Duration,
}

impl Plan {
    /// Beside this database, with the usual intervals.
    pub(crate) fn beside(database: &Path, length: Duration) -> Self {
        let database = database.to_owned();
        Self { database, length, heartbeats: DEFAULT_HEARTBEATS, sweeps: DEFAULT_SWEEPS }
    }

    /// As a collector is configured.
    pub(crate) fn of(config: &Config, length: Duration) -> Result<Self, SelftestError> {
        let database = config.database.file().ok_or(SelftestError::NoFile)?.to_owned();
        let sweeps = config.interval.unwrap_or(DEFAULT_SWEEPS);
        Ok(Self { database, length, heartbeats: config.heartbeat_interval, sweeps })
    }

    /// The folder that the database lies in.
    fn folder(&self) -> Result<&Path, SelftestError> {
        match self.database.parent() {
            Some(folder) if folder == Path::new("") => Ok(Path::new(".")),
            Some(folder) => Ok(folder),
            None => Err(SelftestError::NoFolder(self.database.clone())),
        }
    }
}

/// Measures, and says how many nodes it comes to.
pub(crate) async fn run(plan: &Plan) -> Result<Verdict, SelftestError> {
    raise_limit();
    let folder = plan.folder()?;
    let made = tempfile::Builder::new().prefix(".congruent-selftest-").tempdir_in(folder);
    let place = made.map_err(|source| SelftestError::Folder { folder: folder.to_owned(), source })?;
    let fsync = disk::fsync_latency(place.path(), plan.length)?;
    let private = Private::start(place.path()).await?;
    let mut fleet = private.fleet(NODES).await?;
    let heartbeats = measure(&mut fleet, Scenario::Healthy { sweep_every: 0 }, plan.length).await?;
    let clean = measure(&mut fleet, Scenario::Healthy { sweep_every: 1 }, plan.length).await?;
    let drift = measure(&mut fleet, Scenario::Drifting, plan.length).await?;
    private.stop().await?;
    let measured = Measured {
        fsync,
        heartbeats: rate("heartbeat", &heartbeats)?,
        clean: rate("clean-report", &clean)?,
        drift: rate("drift-report", &drift)?,
    };
    let asked = Asked { heartbeats: plan.heartbeats, sweeps: plan.sweeps, room: Room::make().nodes };
    Ok(Verdict::of(folder, measured, asked))
}

async fn measure(fleet: &mut Fleet, scenario: Scenario, length: Duration) -> Result<Outcome, SelftestError> {
    let run = Run {
        scenario,
        connections: NODES,
        pace: Pace::Free,
        length: Length::Time(length),
        findings: FINDINGS,
        collector: None,
        database: None,
        operator: None,
    };
    let outcome = fleet.run(&run).await.map_err(SelftestError::Fleet)?;
    match outcome.reports.lost {
        0 => Ok(outcome),
        lost => Err(SelftestError::Lost(lost)),
    }
}

/// How many messages of a kind were answered in a second, and how soon.
fn rate(kind: &'static str, outcome: &Outcome) -> Result<verdict::Rate, SelftestError> {
    let of = outcome.kind(kind);
    if of.answered == 0 {
        return Err(SelftestError::Nothing(kind));
    }
    Ok(verdict::Rate { per_second: of.per_second, p99_ms: of.latency.p99_ms })
}
