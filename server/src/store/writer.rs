//! The thread that writes. It takes what waits, commits it in one transaction, and
//! answers then.
//!
//! A write that fails takes the others of its batch with it, and each is run again by
//! itself: so nothing is acknowledged that is not committed, and nobody fails for what
//! another wrote. Where other collectors wrote at the same time the batch is run again.
//! Where the connection was lost at the commit, the batch's number in the database tells
//! whether it was committed.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use crate::metrics::{self, Stopwatch};

use super::bodies::NOTHING_FETCHED;
use super::error::to;
use super::shared::generation;
use super::sql::{Condition, Connection, Next, Purpose, SqlResult, params};
use super::{Changes, Database, Memory, Sqlite, StoreError, Tx, View, lock, schema, view};

/// Writes that are committed together at most.
const BATCH: usize = 1000;
/// After a batch of so many, more are waited for, and for how long: what a commit costs is
/// shared by more of them, and each waits little longer than for the disk.
const BUSY: usize = 16;
const GATHERING: Duration = Duration::from_millis(3);
/// How often a batch is run again that met those of others.
const CONFLICTS: u32 = 20;
/// How long writes and reads wait for a server that is away before they are refused.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long between tries to reach it.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// A write that waits.
pub(super) trait Job: Send {
    /// Runs it in a transaction; the last time counts.
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), StoreError>;
    /// Whether later writes are to find what follows its commit.
    fn is_followed(&self) -> bool;
    /// Its last run is committed.
    fn committed(self: Box<Self>);
    /// Nothing of it is.
    fn failed(self: Box<Self>, error: StoreError);
}

/// A closure that writes, what follows, and who waits for its value.
pub(super) struct Work<T, F, G> {
    work: F,
    then: Option<G>,
    /// The leader's token that it is written by.
    fence: Option<i64>,
    value: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

/// The thread's state.
pub(super) struct Writer {
    database: Arc<Database>,
    connection: Connection,
    memory: Arc<Memory>,
    /// Counts batches, where the database is shared.
    batch: i64,
    /// Names this collector in the database.
    id: String,
    /// Since when the server is away.
    away_since: Option<Instant>,
    metrics: metrics::Store,
    /// Held until the connection is closed: closing the file would let go of SQLite's
    /// own locks.
    _lock: Option<File>,
}

/// Whether what the disk says can be believed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Unbroken,
    /// A write or a sync failed. What the kernel had of it may be lost, and the next
    /// sync would not tell: nothing more is acknowledged.
    Broken,
}

/// Why a batch was not committed, as far as is known.
struct Fault {
    error: StoreError,
    /// The connection was lost while the commit was under way.
    at_commit: bool,
}

impl<T, F, G> Work<T, F, G> {
    pub(super) fn new(
        work: F,
        then: Option<G>,
        fence: Option<i64>,
        answer: oneshot::Sender<Result<T, StoreError>>,
    ) -> Self {
        Self { work, then, fence, value: None, answer }
    }
}

impl<T, F, G> Job for Work<T, F, G>
where
    T: Send,
    F: Fn(&Tx<'_>) -> Result<T, StoreError> + Send,
    G: FnOnce(&T) + Send,
{
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        if let Some(token) = self.fence {
            tx.check_lease(token)?;
        }
        self.value = Some((self.work)(tx)?);
        Ok(())
    }

    fn is_followed(&self) -> bool {
        self.then.is_some()
    }

    fn committed(self: Box<Self>) {
        let Self { work, then, value, answer, .. } = *self;
        let Some(value) = value else { return };
        // Whoever waits may want back what the work holds.
        drop(work);
        if let Some(then) = then {
            then(&value);
        }
        // Nobody waits any more when the sender has gone; the write counts.
        let _ = answer.send(Ok(value));
    }

    fn failed(self: Box<Self>, error: StoreError) {
        let _ = self.answer.send(Err(error));
    }
}

impl Writer {
    /// Opens the database to write, and brings it up to date.
    pub(super) fn open(
        database: Arc<Database>,
        memory: Arc<Memory>,
        metrics: metrics::Store,
    ) -> Result<Self, StoreError> {
        let mut held = None;
        let mut connection = match &*database {
            Database::Sqlite(path) => {
                held = Some(lock(path)?);
                let open = |source| StoreError::Open { path: path.clone(), source };
                Connection::Sqlite(Box::new(Sqlite::writer(path).map_err(open)?))
            }
            Database::Postgres(server) => Connection::Postgres(Box::new(server.connect(None)?)),
        };
        schema::check_ours(&mut connection, &database)?;
        if let (Connection::Sqlite(sqlite), Database::Sqlite(path)) = (&connection, &*database) {
            sqlite.prepare().map_err(|source| StoreError::Open { path: path.clone(), source })?;
        }
        schema::migrate(&mut connection, &database)?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let this =
            Self { database, connection, memory, batch: 0, id, away_since: None, metrics, _lock: held };
        // From the first batch on there is a row to wait for: one that is being put in is
        // not seen by others.
        if this.database.is_shared() {
            this.sign().map_err(to("number a batch"))?;
        }
        Ok(this)
    }

    /// Writes until the last handle has gone, or the disk fails.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Box<dyn Job>>) {
        let mut is_busy = false;
        while let Some(first) = inbox.blocking_recv() {
            if is_busy {
                std::thread::sleep(GATHERING);
            }
            let batch = gather(first, &mut inbox);
            is_busy = batch.len() >= BUSY;
            if self.write(batch) == Trust::Broken {
                error!("the store stops: the disk failed, and what it keeps cannot be relied on");
                break;
            }
        }
    }

    fn write(&mut self, mut batch: Vec<Box<dyn Job>>) -> Trust {
        let begun = Stopwatch::start();
        let committed = self.commit(&mut batch);
        begun.stop(&self.metrics.transactions);
        let error = match committed {
            Ok(()) => {
                self.metrics.writes.observe(batch.len() as u64);
                batch.into_iter().for_each(Job::committed);
                return Trust::Unbroken;
            }
            Err(error) => error,
        };
        match error.condition() {
            Condition::Failed | Condition::Conflict if batch.len() > 1 => {
                for job in batch {
                    if self.write(vec![job]) == Trust::Broken {
                        return Trust::Broken;
                    }
                }
                Trust::Unbroken
            }
            condition => {
                if error.is_full() {
                    self.memory.note_full();
                }
                let message = error.to_string();
                let mut errors = std::iter::once(error);
                for job in batch {
                    self.metrics.failed.inc();
                    job.failed(errors.next().unwrap_or_else(|| StoreError::Together(message.clone())));
                }
                if condition == Condition::Broken { Trust::Broken } else { Trust::Unbroken }
            }
        }
    }

    /// Commits the whole batch, or nothing of it.
    fn commit(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        self.batch += 1;
        let mut conflicts = 0;
        loop {
            let fault = match self.try_commit(batch) {
                Ok(()) => {
                    self.note_back();
                    return Ok(());
                }
                Err(fault) => fault,
            };
            let fault = match fault.error {
                StoreError::Stale => match self.take_in() {
                    Ok(()) => continue,
                    Err(error) => Fault { error, at_commit: false },
                },
                _ => fault,
            };
            match fault.error.condition() {
                Condition::Conflict if conflicts < CONFLICTS => {
                    conflicts += 1;
                    self.metrics.conflicts.inc();
                    std::thread::sleep(pause(conflicts));
                }
                Condition::Lost if fault.at_commit => {
                    if self.find_out(fault.error)? {
                        self.note_back();
                        return Ok(());
                    }
                }
                Condition::Lost => self.reconnect(&fault.error)?,
                _ => return Err(fault.error),
            }
        }
    }

    fn try_commit(&self, batch: &mut [Box<dyn Job>]) -> Result<(), Fault> {
        let mut at_commit = false;
        let is_shared = self.database.is_shared() && self.memory.sharing.get().is_some();
        let work = || {
            let tx = Tx(View(&self.connection, &NOTHING_FETCHED));
            let known = self.memory.known.load(Ordering::Acquire);
            schema::check_still_ours(&self.connection, &self.database)?;
            if is_shared && generation(&tx)? != known {
                return Err(StoreError::Stale);
            }
            for job in batch {
                job.run(&tx)?;
            }
            let mut written = known;
            if self.database.is_shared() {
                self.sign().map_err(to("number a batch"))?;
                written = generation(&tx)?;
            }
            at_commit = true;
            Ok(written)
        };
        match self.connection.transact(Purpose::Write, work, to("commit")) {
            Ok(generation) => {
                if is_shared {
                    // What it changed of that, it sets in memory itself.
                    self.memory.known.store(generation, Ordering::Release);
                }
                Ok(())
            }
            Err(error) => Err(Fault { error, at_commit }),
        }
    }

    /// Takes into memory what others changed. Not within a transaction: it may take a while.
    fn take_in(&self) -> Result<(), StoreError> {
        let Some(sharing) = self.memory.sharing.get() else { return Ok(()) };
        let known = self.memory.known.load(Ordering::Acquire);
        let changes = view(&self.connection, "read what others changed", |view| Changes::after(view, known))?;
        let generation = changes.generation;
        sharing.take_in(changes).map_err(StoreError::Sharing)?;
        self.memory.known.store(generation, Ordering::Release);
        Ok(())
    }

    /// Notes the batch's number beside what it writes.
    fn sign(&self) -> SqlResult<()> {
        let sql = "INSERT INTO writers (id, batch, at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, at = excluded.at";
        let now = jiff::Timestamp::now().as_microsecond();
        self.connection.execute(sql, params![self.id, self.batch, now]).map(drop)
    }

    /// Whether the batch was committed when the connection was lost; asked again where it
    /// is lost while this is looked at.
    fn find_out(&mut self, mut why: StoreError) -> Result<bool, StoreError> {
        loop {
            self.reconnect(&why)?;
            match self.was_committed() {
                Err(error) if error.condition() == Condition::Lost => why = error,
                known => return known,
            }
        }
    }

    /// Whether the batch is committed. An older connection that still commits holds the
    /// row, which this waits for.
    fn was_committed(&self) -> Result<bool, StoreError> {
        let mut last = None;
        let sql = "UPDATE writers SET at = at WHERE id = ?1 RETURNING batch";
        let read = &mut |row: &super::sql::Row<'_>| {
            last = Some(row.get::<_, i64>(0)?);
            Ok(Next::Wanted)
        };
        self.connection
            .each(sql, params![self.id], read)
            .map_err(to("look whether a batch was committed"))?;
        Ok(last == Some(self.batch))
    }

    /// Connects again, for as long as those who wait have patience.
    fn reconnect(&mut self, why: &StoreError) -> Result<(), StoreError> {
        let Database::Postgres(server) = &*self.database else {
            return Err(StoreError::Stopped { action: "reach the database" });
        };
        let since = *self.away_since.get_or_insert_with(|| {
            self.metrics.lost.inc();
            warn!("the database was lost: {}", crate::ingest::chain_of(why));
            Instant::now()
        });
        loop {
            match server.connect(None) {
                Ok(connection) => {
                    self.connection = Connection::Postgres(Box::new(connection));
                    return Ok(());
                }
                Err(error) if since.elapsed() > PATIENCE => {
                    warn!("the database is still away: {}", crate::ingest::chain_of(&error));
                    return Err(StoreError::Away(server.to_string()));
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn note_back(&mut self) {
        if let Some(since) = self.away_since.take() {
            info!(away_ms = since.elapsed().as_millis() as u64, "the database is back");
        }
    }
}

/// What waits, up to a write that others are to find.
fn gather(first: Box<dyn Job>, inbox: &mut mpsc::Receiver<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
    let mut batch = vec![first];
    while batch.len() < BATCH && !batch.last().is_some_and(|last| last.is_followed()) {
        let Ok(next) = inbox.try_recv() else { break };
        batch.push(next);
    }
    batch
}

/// Longer with every conflict, and not the same for all.
fn pause(conflicts: u32) -> Duration {
    let longest = f64::from(1u32 << conflicts.min(7));
    Duration::from_secs_f64(longest * crate::serve::random() / 1000.0)
}
