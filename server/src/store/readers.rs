//! The connections that read. Those who share them wait for one another, and for
//! nobody else.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{StoreError, View, open_to_read, view};

/// How many reads there are at once.
pub(super) const READS_AT_ONCE: usize = 4;

/// A few connections; clones share them.
#[derive(Clone)]
pub(super) struct Readers {
    path: Arc<PathBuf>,
    /// Those that nobody uses now. They are opened when they are first needed.
    idle: Arc<Mutex<Vec<Connection>>>,
    room: Arc<Semaphore>,
}

impl Readers {
    /// Connections to the database at `path`, of which the first is opened now.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let first = open_to_read(path)?;
        let (idle, room) = (Mutex::new(vec![first]), Semaphore::new(READS_AT_ONCE));
        Ok(Self { path: Arc::new(path.to_owned()), idle: Arc::new(idle), room: Arc::new(room) })
    }

    /// Other connections to the same database.
    pub(super) fn apart(&self) -> Result<Self, StoreError> {
        Self::open(&self.path)
    }

    /// Runs `work` on one consistent view.
    pub(super) async fn read<T, F>(&self, action: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let stopped = || StoreError::Stopped { action };
        // Who waits holds no thread, which others may need.
        let turn = Arc::clone(&self.room).acquire_owned().await.map_err(|_| stopped())?;
        let readers = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let read = readers.read_now(action, work);
            drop(turn);
            read
        });
        reading.await.map_err(|_| stopped())?
    }

    fn read_now<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&View<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle().pop();
        let mut connection = idle.map_or_else(|| open_to_read(&self.path), Ok)?;
        let read = view(&mut connection, action, work);
        self.idle().push(connection);
        read
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
