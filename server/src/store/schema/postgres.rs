//! Migrations of PostgreSQL. A table says which version the others are of; who would
//! bring them to another locks its row, so that collectors that start together do not meet.

use super::{Migration, check_not_newer};
use crate::store::error::to;
use crate::store::sql::{Condition, Connection, Next, Purpose, SqlError, SqlResult, params};
use crate::store::{Database, StoreError};

/// PostgreSQL came with version 7.
pub(super) const MIGRATIONS: [Migration; 5] = [
    (7, include_str!("../migrations/postgres/0007_initial.sql")),
    (8, include_str!("../migrations/postgres/0008_retention.sql")),
    (9, include_str!("../migrations/postgres/0009_report_blobs.sql")),
    (10, include_str!("../migrations/postgres/0010_subjects.sql")),
    (11, include_str!("../migrations/postgres/0011_over.sql")),
];

/// The table that says the version. Its name is the mark that a database is ours.
const VERSIONS: &str = "congruent_schema";
/// How often it is tried again when another collector does the same.
const TRIES: u32 = 20;

pub(super) fn migrate(connection: &Connection, database: &Database) -> Result<(), StoreError> {
    bring(connection, database, &MIGRATIONS)
}

/// Brings a database by these migrations to the version of the last.
pub(super) fn bring(
    connection: &Connection,
    database: &Database,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    let mut tries = 0;
    loop {
        match try_bring(connection, database, migrations) {
            Err(StoreError::Migrate { source, .. })
                if tries < TRIES && (source.condition() == Condition::Conflict || source.is_duplicate()) =>
            {
                tries += 1;
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            other => return other,
        }
    }
}

fn try_bring(
    connection: &Connection,
    database: &Database,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    let failed = |version| move |source| StoreError::Migrate { version, source };
    let making = format!(
        "CREATE TABLE IF NOT EXISTS {VERSIONS} (id BIGINT PRIMARY KEY CHECK (id = 1), version BIGINT NOT NULL); \
         INSERT INTO {VERSIONS} (id, version) VALUES (1, 0) ON CONFLICT DO NOTHING"
    );
    if version(connection)? == 0 {
        connection.batch(&making).map_err(failed(0))?;
    }
    for &(version, migration) in migrations {
        let bring = || {
            let found = read_version(connection, "FOR UPDATE").map_err(failed(version))?;
            check_not_newer(found, database)?;
            if found < version {
                connection.batch(migration).map_err(failed(version))?;
                let sql = format!("UPDATE {VERSIONS} SET version = ?1 WHERE id = 1");
                connection.execute(&sql, params![version]).map_err(failed(version))?;
            }
            Ok(())
        };
        connection.transact(Purpose::Write, bring, failed(version))?;
    }
    Ok(())
}

pub(super) fn mark(connection: &Connection, version: i64) -> Result<(), StoreError> {
    let sql = format!("UPDATE {VERSIONS} SET version = ?1 WHERE id = 1");
    connection.execute(&sql, params![version]).map(drop).map_err(to("mark the database"))
}

pub(super) fn check_ours(connection: &Connection, database: &Database) -> Result<(), StoreError> {
    let ours = has_table(connection, VERSIONS).map_err(to("look whose it is"))?;
    // One of its first version, and one of today's.
    let mut others = ["nodes", "subjects"].into_iter().map(|table| has_table(connection, table));
    let has_others = others.try_fold(false, |any, found| found.map(|found| any || found));
    if !ours && has_others.map_err(to("look whose it is"))? {
        Err(StoreError::Foreign(database.to_string()))
    } else {
        Ok(())
    }
}

/// 0 where nothing was made yet.
pub(super) fn version(connection: &Connection) -> Result<i64, StoreError> {
    let action = "read the schema's version";
    if has_table(connection, VERSIONS).map_err(to(action))? {
        return read_version(connection, "").map_err(to(action));
    }
    Ok(0)
}

/// The version of a database that has one.
pub(super) fn standing_version(connection: &Connection) -> Result<i64, StoreError> {
    read_version(connection, "").map_err(to("read the schema's version"))
}

fn read_version(connection: &Connection, lock: &str) -> SqlResult<i64> {
    let mut version = None;
    connection.each(
        &format!("SELECT version FROM {VERSIONS} WHERE id = 1 {lock}"),
        params![],
        &mut |row| {
            version = Some(row.get(0)?);
            Ok(Next::Enough)
        },
    )?;
    version.ok_or(SqlError::NoRow)
}

fn has_table(connection: &Connection, name: &str) -> SqlResult<bool> {
    let mut found = false;
    let sql = "SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema() \
         AND table_name = CAST(?1 AS TEXT)";
    connection.each(sql, params![name], &mut |_| {
        found = true;
        Ok(Next::Enough)
    })?;
    Ok(found)
}
