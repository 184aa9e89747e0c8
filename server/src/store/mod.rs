//! The store: what the collector knows, durable. Only this module knows SQL.
//!
//! One thread owns the one connection that writes; each write is a transaction,
//! and its answer comes after the commit. Reads have connections of their own, nodes'
//! apart from operators', and see what is committed. The interface is [`Tx`] and [`View`], whose methods
//! stand beside the tables that they are about; callers put them together in
//! closures, so that what belongs together is one transaction.

mod actions;
mod audit;
mod columns;
mod decisions;
mod enrolments;
mod error;
mod finding_sets;
mod first_values;
mod groups;
mod join_tokens;
mod manifests;
mod nodes;
mod operators;
mod outbox;
mod period;
mod readers;
mod reports;
mod schema;
mod statement;
mod tally;
#[cfg(test)]
mod tests;
mod trouble;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

pub(crate) use actions::{ActionFilter, ActionRow, NewAction, StepRow};
pub(crate) use audit::AuditRow;
pub(crate) use columns::PackedBytes;
pub(crate) use decisions::{DecisionRow, NewDecision};
pub(crate) use enrolments::EnrolmentRow;
pub(crate) use error::StoreError;
pub(crate) use groups::GroupRow;
pub(crate) use join_tokens::{JoinTokenRow, JoinUses};
pub(crate) use manifests::ManifestRow;
pub(crate) use nodes::{NodeRow, StateRow};
pub(crate) use operators::OperatorRow;
pub(crate) use outbox::{DeliveryRow, DueDelivery};
pub(crate) use period::SweepTimes;
pub(crate) use reports::{NewReport, ReportRow};
pub(crate) use tally::Tally;
pub(crate) use trouble::{ChainNoteRow, RefusalRow};

use crate::metrics::{self, Stopwatch};
use error::to;
use readers::Readers;

/// How long a statement waits for another process that reads.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Writes that wait for the writer; more make their senders wait.
const WRITES_WAITING: usize = 256;

/// A write, which says whether there may be others after it.
type Write = Box<dyn FnOnce(&mut Connection) -> Trust + Send>;

/// Whether what the disk says can be believed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Unbroken,
    /// A write or a sync failed. What the kernel had of it may be lost, and the next
    /// sync would not tell: nothing more is acknowledged.
    Broken,
}

/// A handle to the store; clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    writes: mpsc::Sender<Write>,
    readers: Readers,
    metrics: metrics::Store,
}

impl Store {
    /// Opens the database at `path`, makes it where there is none, and brings
    /// it up to date. No other collector may have it open.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let open = |source| StoreError::Open { path: path.to_owned(), source };
        // Without URIs: a path is a path.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut writer = Connection::open_with_flags(path, flags).map_err(open)?;
        schema::check_ours(&writer, path)?;
        prepare(&writer).map_err(open)?;
        schema::migrate(&mut writer, path)?;
        let readers = Readers::open(path)?;
        let (writes, inbox) = mpsc::channel(WRITES_WAITING);
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write_all(writer, inbox, lock))
            .map_err(|source| StoreError::Lock { path: path.to_owned(), source })?;
        Ok(Self { writes, readers, metrics: metrics::Store::default() })
    }

    /// A handle whose reads do not wait for those of other handles. Writes are in one
    /// order with all others.
    pub(crate) fn reading_apart(&self) -> Result<Self, StoreError> {
        Ok(Self { readers: self.readers.apart()?, ..self.clone() })
    }

    /// What this store counts and measures.
    pub(crate) fn metrics(&self) -> metrics::Store {
        self.metrics.clone()
    }

    /// How many writes wait for the writer, and how many may.
    pub(crate) fn writes_waiting(&self) -> (usize, usize) {
        let capacity = self.writes.max_capacity();
        (capacity - self.writes.capacity(), capacity)
    }

    /// Runs `work` in one transaction, and answers after its commit. When
    /// `work` fails, nothing is written.
    pub(crate) async fn write<T, F>(&self, action: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_then(action, work, |_| ()).await
    }

    /// As [`Store::write`]; and `then`, once that is committed and before the
    /// next write begins: what it sets, every later write finds.
    pub(crate) async fn write_then<T, F, G>(
        &self,
        action: &'static str,
        work: F,
        then: G,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
        G: FnOnce(&T) + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let metrics = self.metrics.clone();
        let write: Write = Box::new(move |connection| {
            let begun = Stopwatch::start();
            let written = transact(connection, action, work);
            begun.stop(&metrics.transactions);
            metrics.writes.observe(1);
            if written.is_err() {
                metrics.failed.inc();
            }
            if let Ok(value) = &written {
                then(value);
            }
            let trust = trust_after(&written);
            // Nobody waits any more when the sender has gone; the write counts.
            let _ = answer.send(written);
            trust
        });
        let stopped = || StoreError::Stopped { action };
        self.writes.send(write).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Completes when the store takes no more writes, since the disk failed.
    pub(crate) async fn stopped(&self) {
        self.writes.closed().await;
    }

    /// Runs `work` on one consistent view of what is committed.
    pub(crate) async fn read<T, F>(&self, action: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let begun = Stopwatch::start();
        let read = self.readers.read(action, work).await;
        begun.stop(&self.metrics.reads);
        read
    }
}

/// Reads the database at `path`, beside a collector that may be running.
pub(crate) fn read_only<T>(
    path: &Path,
    action: &'static str,
    work: impl FnOnce(&View<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing(path.to_owned()));
    }
    let mut connection = open_to_read(path)?;
    schema::check(&connection, path)?;
    view(&mut connection, action, work)
}

/// What is committed, as it stood at one time.
pub(crate) struct View<'a>(&'a Transaction<'a>);

/// A transaction that writes. It reads like a [`View`], its own writes included.
pub(crate) struct Tx<'a>(View<'a>);

impl<'a> std::ops::Deref for Tx<'a> {
    type Target = View<'a>;

    fn deref(&self) -> &View<'a> {
        &self.0
    }
}

/// Takes the lock on the database, whatever path it is reached by; held until
/// the file is closed. SQLite's own locks are of another kind, and do not meet
/// this one; but closing the file would let go of them, so it is closed last.
fn lock(path: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Lock { path: path.to_owned(), source };
    // It holds findings and facts of every host.
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(StoreError::NotAFile(path.to_owned()));
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// What was acknowledged must outlive the machine: hence FULL, which syncs the
/// write-ahead log at every commit.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    let open = |source| StoreError::Open { path: path.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(open)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(open)?;
    Ok(connection)
}

/// The writer's thread: ends when the last handle has gone, and only then lets
/// go of the lock.
fn write_all(mut connection: Connection, mut inbox: mpsc::Receiver<Write>, lock: File) {
    while let Some(write) = inbox.blocking_recv() {
        if write(&mut connection) == Trust::Broken {
            tracing::error!("the store stops: the disk failed, and what it keeps cannot be relied on");
            break;
        }
    }
    drop(connection);
    drop(lock);
}

/// A full disk is mended by room, and a failed one by nothing.
fn trust_after<T>(written: &Result<T, StoreError>) -> Trust {
    match written {
        Err(StoreError::Query { source: rusqlite::Error::SqliteFailure(failure, _), .. })
            if failure.code == rusqlite::ErrorCode::SystemIoFailure =>
        {
            Trust::Broken
        }
        _ => Trust::Unbroken,
    }
}

/// BEGIN IMMEDIATE, since a transaction that begins as a reader and then writes
/// is refused at once when another process writes, whatever the timeout.
fn transact<T>(
    connection: &mut Connection,
    action: &'static str,
    work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(to(action))?;
    let value = work(&Tx(View(&transaction)))?;
    transaction.commit().map_err(to(action))?;
    Ok(value)
}

fn view<T>(
    connection: &mut Connection,
    action: &'static str,
    work: impl FnOnce(&View<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection.transaction().map_err(to(action))?;
    work(&View(&transaction))
}
