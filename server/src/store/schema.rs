//! The schema's version: numbered migrations, forward only.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::to;
use super::{StoreError, View};

/// The migration from version `n` to `n + 1` stands at index `n`. Those that
/// were released never change.
const MIGRATIONS: [&str; 5] = [
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_identity.sql"),
    include_str!("migrations/0003_operators.sql"),
    include_str!("migrations/0004_groups.sql"),
    include_str!("migrations/0005_sealed_reports.sql"),
];

/// The version that this program reads and writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Marks a database as ours: "Cong".
const APPLICATION_ID: i64 = 0x436f_6e67;

/// Brings the database at `path` to [`VERSION`], one migration and transaction
/// at a time.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let found = version(connection)?;
    check_not_newer(found, path)?;
    for (at, migration) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
        let version = at as i64 + 1;
        let failed = |source| StoreError::Migrate { version, source };
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        transaction.execute_batch(migration).map_err(failed)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.pragma_update(None, "user_version", version).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

/// Refuses a database that another program made: nothing is put into it.
pub(super) fn check_ours(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let foreign = || StoreError::Foreign(path.to_owned());
    let number = |sql| match connection.query_row(sql, [], |row| row.get::<_, i64>(0)) {
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == rusqlite::ErrorCode::NotADatabase => {
            Err(foreign())
        }
        read => read.map_err(to("look whose it is")),
    };
    let is_ours = number("PRAGMA application_id")? == APPLICATION_ID;
    let is_new = number("SELECT count(*) FROM sqlite_schema")? == 0;
    if is_ours || is_new { Ok(()) } else { Err(foreign()) }
}

/// Holds a database that is only read to [`VERSION`].
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    check_ours(connection, path)?;
    let found = version(connection)?;
    check_not_newer(found, path)?;
    if found < VERSION {
        return Err(StoreError::Older { path: path.to_owned(), found, known: VERSION });
    }
    Ok(())
}

fn check_not_newer(found: i64, path: &Path) -> Result<(), StoreError> {
    if found > VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: VERSION });
    }
    Ok(())
}

impl View<'_> {
    /// The schema's version, as it is and as this program knows it.
    pub(crate) fn schema_version(&self) -> Result<(u64, u64), StoreError> {
        let found = version(self.0)?;
        Ok((found.unsigned_abs(), VERSION.unsigned_abs()))
    }
}

fn version(connection: &Connection) -> Result<i64, StoreError> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(to("read the schema's version"))
}
