//! Migrations of SQLite. The file says which version it is, and whose.

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::{Migration, check_not_newer};
use crate::store::error::to;
use crate::store::sql::SqlError;
use crate::store::{Database, StoreError};

pub(super) const MIGRATIONS: [Migration; 11] = [
    (1, include_str!("../migrations/sqlite/0001_initial.sql")),
    (2, include_str!("../migrations/sqlite/0002_identity.sql")),
    (3, include_str!("../migrations/sqlite/0003_operators.sql")),
    (4, include_str!("../migrations/sqlite/0004_groups.sql")),
    (5, include_str!("../migrations/sqlite/0005_sealed_reports.sql")),
    (6, include_str!("../migrations/sqlite/0006_node_list.sql")),
    (7, include_str!("../migrations/sqlite/0007_shared.sql")),
    (8, include_str!("../migrations/sqlite/0008_retention.sql")),
    (9, include_str!("../migrations/sqlite/0009_report_blobs.sql")),
    (10, include_str!("../migrations/sqlite/0010_subjects.sql")),
    (11, include_str!("../migrations/sqlite/0011_over.sql")),
];

/// Marks a database as ours: "Cong".
const APPLICATION_ID: i64 = 0x436f_6e67;

pub(super) fn migrate(connection: &mut Connection, database: &Database) -> Result<(), StoreError> {
    let found = version(connection)?;
    check_not_newer(found, database)?;
    for (version, migration) in MIGRATIONS.into_iter().filter(|(version, _)| *version > found) {
        bring(connection, version, migration)
            .map_err(|source| StoreError::Migrate { version, source: SqlError::Sqlite(source) })?;
    }
    Ok(())
}

pub(super) fn bring(connection: &mut Connection, version: i64, migration: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(migration)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

pub(super) fn mark(connection: &Connection, version: i64) -> Result<(), StoreError> {
    let marked = connection.pragma_update(None, "user_version", version);
    marked.map_err(SqlError::Sqlite).map_err(to("mark the database"))
}

pub(super) fn check_ours(connection: &Connection, database: &Database) -> Result<(), StoreError> {
    let foreign = || StoreError::Foreign(database.to_string());
    let number = |sql| match connection.query_row(sql, [], |row| row.get::<_, i64>(0)) {
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::NotADatabase => {
            Err(foreign())
        }
        read => read.map_err(SqlError::Sqlite).map_err(to("look whose it is")),
    };
    let is_ours = number("PRAGMA application_id")? == APPLICATION_ID;
    let is_new = number("SELECT count(*) FROM sqlite_schema")? == 0;
    if is_ours || is_new { Ok(()) } else { Err(foreign()) }
}

pub(super) fn version(connection: &Connection) -> Result<i64, StoreError> {
    connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(SqlError::Sqlite)
        .map_err(to("read the schema's version"))
}
