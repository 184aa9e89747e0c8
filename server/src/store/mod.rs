//! The store: what the collector knows, durable. Only this module knows SQL.
//!
//! It is a file of SQLite, or a server of PostgreSQL; the statements are the same. One
//! thread owns the one connection that writes. What waits for it is committed together,
//! and each write's answer comes after that. Reads have connections of their own, nodes'
//! apart from operators', and see what is committed. The interface is [`Tx`] and [`View`], whose methods
//! stand beside the tables that they are about; callers put them together in
//! closures, so that what belongs together is one transaction.

mod actions;
mod audit;
mod bodies;
mod columns;
mod containers;
mod copy;
mod database;
mod decisions;
mod enrolments;
mod error;
mod finding_sets;
mod first_values;
mod groups;
mod join_tokens;
mod lease;
#[cfg(test)]
mod limit_tests;
mod listed;
mod manifests;
mod node_list;
mod operators;
mod outbox;
mod period;
mod readers;
mod reports;
mod retention;
#[cfg(test)]
mod rows;
mod schema;
mod shared;
mod sql;
mod statement;
mod subjects;
mod tables;
mod tally;
#[cfg(test)]
mod tests;
mod trouble;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

pub(crate) use actions::{ActionFilter, ActionRow, NewAction, StepRow};
pub(crate) use audit::AuditRow;
#[cfg(test)]
pub(crate) use bodies::MAX_ROW_BYTES;
pub(crate) use bodies::{Body, NamedBody};
pub(crate) use columns::PackedBytes;
pub(crate) use containers::ContainerFilter;
pub(crate) use copy::{CopyError, Progress, Source, TableProof, copy, known_version, make_current, save};
pub(crate) use database::{AddressError, Database, Schema, Server};
pub(crate) use decisions::{DecisionRow, NewDecision};
pub(crate) use enrolments::EnrolmentRow;
pub(crate) use error::StoreError;
pub(crate) use groups::GroupRow;
pub(crate) use join_tokens::{JoinTokenRow, JoinUses};
pub(crate) use lease::LeaseRow;
pub(crate) use listed::ListedSubject;
pub(crate) use manifests::ManifestRow;
pub(crate) use node_list::{NamePattern, NodeFilter};
pub(crate) use operators::OperatorRow;
pub(crate) use outbox::{DeliveryRow, DueDelivery};
pub(crate) use period::{Found, LookTimes};
pub(crate) use reports::{NewReport, ReportRow};
pub(crate) use retention::{RecordKind, RemovalRow, SHELVES, Shelf};
pub(crate) use shared::{Changes, Sharing};
pub(crate) use subjects::{StateRow, SubjectRow};
pub(crate) use tally::Tally;
pub(crate) use trouble::{ChainNoteRow, RefusalRow};

use crate::blobs::Blobs;
use crate::metrics::{self, Stopwatch};
use bodies::{Fetched, NOTHING_FETCHED};
use error::to;
use readers::Readers;
use sql::{Connection, Purpose, Sqlite};
use writer::{Job, Work, Writer};

/// Writes that wait for the writer; more make their senders wait.
const WRITES_WAITING: usize = 1024;

/// A handle to the store; clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    writes: mpsc::Sender<Box<dyn Job>>,
    readers: Readers,
    memory: Arc<Memory>,
    /// The leader's token, where nobody else is to write by this handle.
    fence: Option<i64>,
    metrics: metrics::Store,
}

/// What is known of the changes that others make.
#[derive(Default)]
struct Memory {
    /// The generation that is in memory.
    known: AtomicI64,
    /// What takes others' changes in.
    sharing: OnceLock<Box<dyn Sharing>>,
    /// When a write last found no room on the disk.
    full_at: Mutex<Option<Instant>>,
    /// Where large bodies of reports lie.
    bodies: OnceLock<Blobs>,
}

impl Memory {
    /// A write found no room on the disk.
    fn note_full(&self) {
        *self.full_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl Store {
    /// Opens the database, makes it where there is none, and brings it up to date. No
    /// other collector may have a file of SQLite open.
    pub(crate) fn open(database: &Database) -> Result<Self, StoreError> {
        let database = Arc::new(database.clone());
        let readers = Readers::new(Arc::clone(&database));
        let (writes, inbox) = mpsc::channel(WRITES_WAITING);
        let (answer, opened) = std::sync::mpsc::channel();
        let failed = |source| StoreError::Thread { source };
        let metrics = metrics::Store::default();
        let (counted, memory) = (metrics.clone(), Arc::<Memory>::default());
        let known = Arc::clone(&memory);
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || match Writer::open(database, known, counted) {
                Ok(writer) => {
                    let _ = answer.send(Ok(()));
                    writer.run(inbox);
                }
                Err(error) => {
                    let _ = answer.send(Err(error));
                }
            })
            .map_err(failed)?;
        opened.recv().map_err(|_| StoreError::Stopped { action: "open it" })??;
        Ok(Self { writes, readers, memory, fence: None, metrics })
    }

    /// A handle whose reads do not wait for those of other handles. Writes are in one
    /// order with all others.
    pub(crate) fn reading_apart(&self) -> Self {
        Self { readers: self.readers.apart(), ..self.clone() }
    }

    /// A handle whose writes fail once another collector leads than the holder of `token`.
    pub(crate) fn fenced(&self, token: i64) -> Self {
        Self { fence: Some(token), ..self.clone() }
    }

    /// Whether other collectors may use it at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        self.readers.database().is_shared()
    }

    /// From now on what others change is taken in, before the next write and by
    /// [`Store::take_in_others`]; from what memory was loaded from after this was called.
    pub(crate) async fn share(&self, sharing: Box<dyn Sharing>) -> Result<(), StoreError> {
        let generation = self.read("look for changes of others", shared::generation).await?;
        self.memory.known.store(generation, Ordering::Release);
        // Only a second call can fail, and then it is set.
        let _ = self.memory.sharing.set(sharing);
        Ok(())
    }

    /// Takes in what others changed, where they did.
    pub(crate) async fn take_in_others(&self) -> Result<(), StoreError> {
        let generation = self.read("look for changes of others", shared::generation).await?;
        if generation == self.memory.known.load(Ordering::Acquire) {
            return Ok(());
        }
        // Whatever is written looks first.
        self.write("take in what others changed", |_| Ok(())).await
    }

    /// What this store counts and measures.
    pub(crate) fn metrics(&self) -> metrics::Store {
        self.metrics.clone()
    }

    /// Runs `work` in one transaction, and answers after its commit. When `work` fails,
    /// nothing is written. It may run more than once, of which the last counts.
    pub(crate) async fn write<T, F>(&self, action: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.send(action, |answer| Work::new(work, None::<fn(&T)>, self.fence, answer)).await
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
        F: Fn(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
        G: FnOnce(&T) + Send + 'static,
    {
        self.send(action, |answer| Work::new(work, Some(then), self.fence, answer)).await
    }

    async fn send<T, J: Job + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> J,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let stopped = || StoreError::Stopped { action };
        self.writes.send(Box::new(work(answer))).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Completes when the store takes no more writes, since the disk failed.
    pub(crate) async fn stopped(&self) {
        self.writes.closed().await;
    }

    /// Whether a write found no room on the disk within the last `period`. Small ones may
    /// find some all the same.
    pub(crate) fn was_full_within(&self, period: Duration) -> bool {
        let full_at = *self.memory.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        full_at.is_some_and(|at| at.elapsed() < period)
    }

    /// How many writes wait, and how many may.
    pub(crate) fn queue(&self) -> (usize, usize) {
        let room = self.writes.max_capacity();
        (room - self.writes.capacity(), room)
    }

    /// Runs `work` on one consistent view of what is committed. It may run more than once;
    /// where it comes upon a blob, it runs anew once that is at hand.
    pub(crate) async fn read<T, F>(&self, action: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&View<'_>) -> Result<T, StoreError> + Send + Sync + 'static,
    {
        let (work, mut fetched) = (Arc::new(work), Fetched::new());
        loop {
            let begun = Stopwatch::start();
            let (working, at_hand) = (Arc::clone(&work), Arc::new(fetched));
            let lent = Arc::clone(&at_hand);
            let read = self.readers.read(action, move |view| working(&View(view.0, &lent))).await;
            begun.stop(&self.metrics.reads);
            let body = match read {
                Err(StoreError::InBlob(body)) => body,
                read => return read,
            };
            // Whoever read has let go of it.
            fetched = Arc::into_inner(at_hand).ok_or(StoreError::Stopped { action })?;
            self.fetch(body, &mut fetched).await?;
        }
    }
}

/// Reads the database, beside a collector that may be running.
pub(crate) fn read_only<T: Send>(
    database: &Database,
    action: &'static str,
    work: impl Fn(&View<'_>) -> Result<T, StoreError> + Send,
) -> Result<T, StoreError> {
    if let Some(missing) = database.file().filter(|path| !path.exists()) {
        return Err(StoreError::Missing(missing.to_owned()));
    }
    let reading = || {
        let mut connection = database.reader(None)?;
        schema::check(&mut connection, database)?;
        view(&connection, action, work)
    };
    // A connection to a server waits for it, which no task may.
    let read = std::thread::scope(|scope| scope.spawn(reading).join());
    read.unwrap_or(Err(StoreError::Stopped { action }))
}

/// What is committed, as it stood at one time.
pub(crate) struct View<'a>(&'a Connection, &'a Fetched);

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

/// Runs `work` on one consistent view.
fn view<T>(
    connection: &Connection,
    action: &'static str,
    work: impl FnOnce(&View<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.transact(Purpose::Read, || work(&View(connection, &NOTHING_FETCHED)), to(action))
}
