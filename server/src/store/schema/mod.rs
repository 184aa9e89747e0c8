//! The schema's version: numbered migrations, forward only.

mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;

use super::sql::{Connection, params};
use super::{Database, StoreError, View};

/// The version that this program reads and writes.
pub(super) const VERSION: i64 = 11;

/// A migration: the version that it brings a database to, and its statements. Those that were
/// released never change.
type Migration = (i64, &'static str);

/// Brings a database to [`VERSION`], one migration and transaction at a time.
pub(super) fn migrate(connection: &mut Connection, database: &Database) -> Result<(), StoreError> {
    match connection {
        Connection::Sqlite(sqlite) => sqlite::migrate(sqlite.connection(), database),
        Connection::Postgres(_) => postgres::migrate(connection, database),
    }
}

/// Refuses a database that another program made: nothing is put into it.
pub(super) fn check_ours(connection: &mut Connection, database: &Database) -> Result<(), StoreError> {
    match connection {
        Connection::Sqlite(sqlite) => sqlite::check_ours(sqlite.connection(), database),
        Connection::Postgres(_) => postgres::check_ours(connection, database),
    }
}

/// Holds a database that is only read to [`VERSION`].
pub(super) fn check(connection: &mut Connection, database: &Database) -> Result<(), StoreError> {
    check_ours(connection, database)?;
    let found = match connection {
        Connection::Sqlite(sqlite) => sqlite::version(sqlite.connection())?,
        Connection::Postgres(_) => postgres::version(connection)?,
    };
    check_not_newer(found, database)?;
    if found < VERSION {
        return Err(StoreError::Older { database: database.to_string(), found, known: VERSION });
    }
    Ok(())
}

/// Refuses to write what a newer program has brought to its version meanwhile. Nobody else
/// has a file of SQLite open.
pub(super) fn check_still_ours(connection: &Connection, database: &Database) -> Result<(), StoreError> {
    match connection {
        Connection::Sqlite(_) => Ok(()),
        Connection::Postgres(_) => check_not_newer(postgres::standing_version(connection)?, database),
    }
}

/// Marks a database that others are copied into as unfinished, or as whole. Programs that
/// know no such mark do not use it either: to them it has tables and no version.
pub(super) fn mark(connection: &mut Connection, is_whole: bool) -> Result<(), StoreError> {
    let version = if is_whole { VERSION } else { -VERSION };
    match connection {
        Connection::Sqlite(sqlite) => sqlite::mark(sqlite.connection(), version),
        Connection::Postgres(_) => postgres::mark(connection, version),
    }
}

/// Whether a copy into the database was begun and not finished, and by this program's
/// version where it was.
pub(super) fn unfinished(connection: &mut Connection) -> Result<Option<bool>, StoreError> {
    let found = match connection {
        Connection::Sqlite(sqlite) => sqlite::version(sqlite.connection())?,
        Connection::Postgres(_) => postgres::version(connection)?,
    };
    Ok((found < 0).then_some(found == -VERSION))
}

fn check_not_newer(found: i64, database: &Database) -> Result<(), StoreError> {
    if found < 0 {
        return Err(StoreError::Unfinished(database.to_string()));
    }
    if found > VERSION {
        return Err(StoreError::Newer { database: database.to_string(), found, known: VERSION });
    }
    Ok(())
}

impl View<'_> {
    /// The schema's version, as it is and as this program knows it.
    pub(crate) fn schema_version(&self) -> Result<(u64, u64), StoreError> {
        let action = "read the schema's version";
        let found = match self.0 {
            Connection::Sqlite(_) => self.row(action, "PRAGMA user_version", params![], |row| row.get(0))?,
            Connection::Postgres(_) => Some(postgres::version(self.0)?),
        };
        Ok((found.unwrap_or(0).unsigned_abs(), VERSION.unsigned_abs()))
    }
}
