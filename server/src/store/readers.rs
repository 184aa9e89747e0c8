//! The connections that read. Those who share them wait for one another, and for
//! nobody else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::database::READ_LIMIT;
use super::sql::{Condition, Connection};
use super::writer::{PATIENCE, PAUSE};
use super::{Database, StoreError, View, view};
use crate::computing::Crew;

/// How many reads there are at once.
pub(super) const READS_AT_ONCE: usize = 4;
/// How often a read is tried whose connection is lost.
const TRIES: u32 = 3;

/// A few connections; clones share them.
#[derive(Clone)]
pub(super) struct Readers {
    database: Arc<Database>,
    /// Those that nobody uses now. They are opened when they are first needed.
    idle: Arc<Mutex<Vec<Connection>>>,
    crew: Crew,
    /// Since when the server cannot be reached.
    away_since: Arc<Mutex<Option<Instant>>>,
}

impl Readers {
    /// Connections to a database, none of which is opened yet.
    pub(super) fn new(database: Arc<Database>) -> Self {
        let crew = Crew::of(READS_AT_ONCE);
        Self { database, idle: Arc::default(), crew, away_since: Arc::default() }
    }

    /// What they are connections to.
    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// Other connections to the same database.
    pub(super) fn apart(&self) -> Self {
        Self::new(Arc::clone(&self.database))
    }

    /// Runs `work` on one consistent view, and again where the connection is lost.
    pub(super) async fn read<T, F>(&self, action: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&View<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let readers = self.clone();
        let read = self.crew.run(move || readers.read_now(action, work)).await;
        read.unwrap_or(Err(StoreError::Stopped { action }))
    }

    fn read_now<T>(
        &self,
        action: &'static str,
        work: impl Fn(&View<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut tries = 1;
        loop {
            let idle = self.idle().pop();
            let connection = match idle.map_or_else(|| self.database.reader(Some(READ_LIMIT)), Ok) {
                Err(error) if error.condition() == Condition::Lost => {
                    self.wait(error)?;
                    continue;
                }
                opened => opened?,
            };
            match view(&connection, action, &work) {
                Err(error) if error.condition() == Condition::Lost && tries < TRIES => {
                    // What else is idle was lost with it, most likely.
                    self.idle().clear();
                    tries += 1;
                }
                Err(error) if error.condition() == Condition::Lost => return Err(error),
                read => {
                    *self.away_since() = None;
                    self.idle().push(connection);
                    return read;
                }
            }
        }
    }

    /// Waits a little for a server that cannot be reached; gives the error back where that
    /// has been so for longer than anybody waits.
    fn wait(&self, error: StoreError) -> Result<(), StoreError> {
        if self.away_since().get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return Err(error);
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }

    fn away_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.away_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
