//! The schema's version: numbered migrations, forward only.

mod postgres;
mod sqlite;

use super::sql::Connection;
use super::{Database, StoreError};

/// The version that this program reads and writes.
pub(super) const VERSION: i64 = 7;

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

fn check_not_newer(found: i64, database: &Database) -> Result<(), StoreError> {
    if found > VERSION {
        return Err(StoreError::Newer { database: database.to_string(), found, known: VERSION });
    }
    Ok(())
}
