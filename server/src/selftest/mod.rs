//! `congruent-server selftest`: how many nodes this machine and its disk carry.
//!
//! A small simulated fleet reports to a collector that is started for the purpose, on
//! the loopback and with a database of its own: in a folder beside the configured one, or in
//! a schema of its own on the configured server. Either is removed afterwards, and what the
//! user has is never opened.

mod disk;
mod private;
mod verdict;

use std::path::{Path, PathBuf};
use std::time::Duration;

use congruent_fleet::{Fleet, FleetError, Length, Outcome, Pace, Run, Scenario, raise_limit};

use tracing::error;

use crate::config::{Config, ConfigError};
use crate::ingest::chain_of;
use crate::listener::Room;
use crate::serve::ServeError;
use crate::store::{Database, Schema, Server, StoreError};

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
    #[error("a thread of the test panicked; this is a bug")]
    Thread(#[source] tokio::task::JoinError),
    #[error("cannot make a schema for the test; the database's user needs the right to create one")]
    Schema(#[source] StoreError),
    #[error(
        "cannot remove the schema {name} that was made for the test; remove it with DROP SCHEMA {name} CASCADE"
    )]
    SchemaStays {
        name: String,
        #[source]
        source: StoreError,
    },
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
    database: Database,
    /// How long each kind of message is measured.
    pub(crate) length: Duration,
    heartbeats: Duration,
    sweeps: Duration,
}

impl Plan {
    /// Beside this database, with the usual intervals.
    pub(crate) fn beside(database: &Path, length: Duration) -> Self {
        let database = Database::Sqlite(database.to_owned());
        Self { database, length, heartbeats: DEFAULT_HEARTBEATS, sweeps: DEFAULT_SWEEPS }
    }

    /// As a collector is configured.
    pub(crate) fn of(config: &Config, length: Duration) -> Self {
        let database = config.database.clone();
        let sweeps = config.interval.unwrap_or(DEFAULT_SWEEPS);
        Self { database, length, heartbeats: config.heartbeat_interval, sweeps }
    }
}

/// The folder that a database lies in.
fn folder_of(database: &Path) -> Result<&Path, SelftestError> {
    match database.parent() {
        Some(folder) if folder == Path::new("") => Ok(Path::new(".")),
        Some(folder) => Ok(folder),
        None => Err(SelftestError::NoFolder(database.to_owned())),
    }
}

/// Measures, and says how many nodes it comes to.
pub(crate) async fn run(plan: &Plan) -> Result<Verdict, SelftestError> {
    raise_limit();
    let folder = match &plan.database {
        Database::Sqlite(file) => folder_of(file)?.to_owned(),
        // For keys and certificates; what counts lies on the server.
        Database::Postgres(_) => std::env::temp_dir(),
    };
    let made = tempfile::Builder::new().prefix(".congruent-selftest-").tempdir_in(&folder);
    let place = made.map_err(|source| SelftestError::Folder { folder: folder.clone(), source })?;
    let (shown, fsync, schema) = match &plan.database {
        Database::Sqlite(_) => {
            (folder.display().to_string(), Some(disk::fsync_latency(place.path(), plan.length)?), None)
        }
        Database::Postgres(server) => (server.to_string(), None, Some(TestSchema::make(server).await?)),
    };
    // Declared after the schema, so that where the test is stopped it ends before that goes.
    let private = Private::start(place.path(), schema.as_ref().map(TestSchema::database)).await?;
    let measured = measure_all(&private, plan, fsync).await;
    let stopped = private.stop().await;
    let removed = match schema {
        Some(schema) => schema.remove().await,
        None => Ok(()),
    };
    let asked = Asked { heartbeats: plan.heartbeats, sweeps: plan.sweeps, room: Room::make().nodes };
    let verdict = Verdict::of(shown, measured?, asked);
    stopped.and(removed).map(|()| verdict)
}

async fn measure_all(
    private: &Private,
    plan: &Plan,
    fsync: Option<disk::Fsync>,
) -> Result<Measured, SelftestError> {
    let mut fleet = private.fleet(NODES).await?;
    let heartbeats = measure(&mut fleet, Scenario::Healthy { sweep_every: 0 }, plan.length).await?;
    let clean = measure(&mut fleet, Scenario::Healthy { sweep_every: 1 }, plan.length).await?;
    let drift = measure(&mut fleet, Scenario::Drifting, plan.length).await?;
    Ok(Measured {
        fsync,
        heartbeats: rate("heartbeat", &heartbeats)?,
        clean: rate("clean-report", &clean)?,
        drift: rate("drift-report", &drift)?,
    })
}

/// How often the schema is removed again where its tables are still in use.
const REMOVALS: u32 = 40;
const REMOVAL_PAUSE: Duration = Duration::from_millis(250);

/// The test's schema on a server; removed when it is dropped as well, such as where the test
/// is stopped.
struct TestSchema(Option<Schema>);

impl TestSchema {
    async fn make(server: &Server) -> Result<Self, SelftestError> {
        let name = format!("congruent_selftest_{}", uuid::Uuid::new_v4().simple());
        let server = server.clone();
        let making = tokio::task::spawn_blocking(move || Schema::make(&server, &name));
        let schema = making.await.map_err(SelftestError::Thread)?;
        Ok(Self(Some(schema.map_err(SelftestError::Schema)?)))
    }

    fn database(&self) -> Database {
        self.0.as_ref().expect("it is there until it is removed").database()
    }

    async fn remove(mut self) -> Result<(), SelftestError> {
        let Some(schema) = self.0.take() else { return Ok(()) };
        tokio::task::spawn_blocking(move || remove(&schema)).await.map_err(SelftestError::Thread)?
    }
}

impl Drop for TestSchema {
    fn drop(&mut self) {
        let Some(schema) = self.0.take() else { return };
        // Its connection waits, which no task may.
        if let Ok(Err(error)) = std::thread::spawn(move || remove(&schema)).join() {
            error!("{}", chain_of(&error));
        }
    }
}

/// Removes a schema, also where what used it is still on its way out.
fn remove(schema: &Schema) -> Result<(), SelftestError> {
    let mut tries = 1;
    loop {
        match schema.remove() {
            Ok(()) => return Ok(()),
            Err(_) if tries < REMOVALS => {
                tries += 1;
                std::thread::sleep(REMOVAL_PAUSE);
            }
            Err(source) => return Err(SelftestError::SchemaStays { name: schema.name().to_owned(), source }),
        }
    }
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
