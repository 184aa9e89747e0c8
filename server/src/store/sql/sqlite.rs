//! SQLite: a file, and in it what was acknowledged.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef as Stored};
use rusqlite::{ErrorCode, OpenFlags, params_from_iter};

use super::{Column, Next, Param, Row, SqlError, SqlResult, Unfit, Value, ValueRef};

/// How long a statement waits for another process that reads.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How large the write-ahead log stays once it was larger, in bytes.
const LOG_BYTES_KEPT: i64 = 16 << 20;
/// After how many pages in it they are put into the file: pages that are written again and
/// again go there once.
const LOG_PAGES: i64 = LOG_BYTES_KEPT / 4096;
/// How much of the file is kept in memory where it is written, in KiB: the pages of indexes
/// that nodes' reports go to are many, and scattered.
const WRITER_CACHE_KIB: i64 = 32 << 10;
/// Statements that are kept prepared.
const PREPARED: usize = 256;
/// After how many of SQLite's instructions a read looks at the time.
const INSTRUCTIONS_BETWEEN_LOOKS: i32 = 10_000;

/// A connection to a file.
pub(in crate::store) struct Sqlite {
    connection: rusqlite::Connection,
    limit: Option<ReadLimit>,
}

/// How long a read may take: the log of what is written grows until it ends.
struct ReadLimit {
    at_most: Duration,
    /// When the read that runs now must be over.
    until: Arc<Mutex<Instant>>,
}

impl Sqlite {
    /// A connection that writes to an existing file. What was acknowledged must
    /// outlive the machine: hence FULL, which syncs the write-ahead log at every commit.
    pub(in crate::store) fn writer(path: &Path) -> rusqlite::Result<Self> {
        // Without URIs: a path is a path.
        let this = Self::open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        this.connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_KEPT, |_| Ok(()))?;
        this.connection.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES, |_| Ok(()))?;
        Ok(this)
    }

    /// Makes the file a database that is written ahead.
    pub(in crate::store) fn prepare(&self) -> rusqlite::Result<()> {
        self.connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        self.connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        self.connection.pragma_update(None, "foreign_keys", true)
    }

    /// A connection that reads; each read for as long as `at_most`, where that is given.
    pub(in crate::store) fn reader(path: &Path, at_most: Option<Duration>) -> rusqlite::Result<Self> {
        let mut this = Self::open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let Some(at_most) = at_most else { return Ok(this) };
        let until = Arc::new(Mutex::new(Instant::now() + at_most));
        let looked_at = Arc::clone(&until);
        let is_over = move || Instant::now() > *looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        this.connection.progress_handler(INSTRUCTIONS_BETWEEN_LOOKS, Some(is_over))?;
        this.limit = Some(ReadLimit { at_most, until });
        Ok(this)
    }

    fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Self> {
        let connection =
            rusqlite::Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        // Otherwise statements that meet a partial index are planned anew for each value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        Ok(Self { connection, limit: None })
    }

    /// Begins the time that a read may take.
    pub(super) fn begin_read(&self) {
        if let Some(limit) = &self.limit {
            *limit.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + limit.at_most;
        }
    }

    fn failed(&self, error: rusqlite::Error) -> SqlError {
        match (&self.limit, error.sqlite_error_code()) {
            (Some(limit), Some(ErrorCode::OperationInterrupted)) => {
                SqlError::TooLong { limit: limit.at_most }
            }
            _ => SqlError::Sqlite(error),
        }
    }

    pub(in crate::store) fn connection(&mut self) -> &mut rusqlite::Connection {
        &mut self.connection
    }

    pub(super) fn each(
        &self,
        sql: &str,
        values: &[&dyn Param],
        read: &mut dyn FnMut(&Row<'_>) -> SqlResult<Next>,
    ) -> SqlResult<()> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| self.failed(error))?;
        let mut rows = statement.query(params_from_iter(bound(values)?)).map_err(SqlError::Sqlite)?;
        while let Some(row) = rows.next().map_err(|error| self.failed(error))? {
            if read(&Row::Sqlite(row))? == Next::Enough {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn execute(&self, sql: &str, values: &[&dyn Param]) -> SqlResult<usize> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| self.failed(error))?;
        statement.execute(params_from_iter(bound(values)?)).map_err(SqlError::Sqlite)
    }

    pub(super) fn insert(&self, sql: &str, values: &[&dyn Param]) -> SqlResult<i64> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| self.failed(error))?;
        statement.insert(params_from_iter(bound(values)?)).map_err(SqlError::Sqlite)
    }

    pub(super) fn batch(&self, sql: &str) -> SqlResult<()> {
        self.connection.execute_batch(sql).map_err(SqlError::Sqlite)
    }
}

fn bound<'a>(values: &'a [&dyn Param]) -> SqlResult<Vec<ToSqlOutput<'a>>> {
    let bind = |(at, value): (usize, &'a &dyn Param)| {
        let value = value.value().map_err(|reason| SqlError::Parameter { place: at + 1, reason })?;
        Ok(match value {
            Value::Null => ToSqlOutput::Owned(Owned::Null),
            Value::Bool(value) => ToSqlOutput::Owned(Owned::Integer(value.into())),
            Value::Integer(number) => ToSqlOutput::Owned(Owned::Integer(number)),
            Value::Text(text) => match text {
                Cow::Borrowed(text) => ToSqlOutput::Borrowed(Stored::Text(text.as_bytes())),
                Cow::Owned(text) => ToSqlOutput::Owned(Owned::Text(text)),
            },
            Value::Blob(bytes) => match bytes {
                Cow::Borrowed(bytes) => ToSqlOutput::Borrowed(Stored::Blob(bytes)),
                Cow::Owned(bytes) => ToSqlOutput::Owned(Owned::Blob(bytes)),
            },
        })
    };
    values.iter().enumerate().map(bind).collect()
}

/// The value in a column of a row.
pub(super) fn value<'a>(row: &'a rusqlite::Row<'_>, column: Column<'_>) -> SqlResult<ValueRef<'a>> {
    let unfit = |reason| SqlError::Unfit { column: column.to_string(), reason };
    let stored = match column {
        Column::Named(name) => row.get_ref(name),
        Column::At(place) => row.get_ref(place),
    };
    match stored {
        Err(rusqlite::Error::InvalidColumnName(_) | rusqlite::Error::InvalidColumnIndex(_)) => {
            Err(unfit(Unfit::Missing))
        }
        Err(error) => Err(SqlError::Sqlite(error)),
        Ok(Stored::Null) => Ok(ValueRef::Null),
        Ok(Stored::Integer(number)) => Ok(ValueRef::Integer(number)),
        Ok(Stored::Real(_)) => Err(unfit(Unfit::Kind { found: "a fraction", wanted: "none" })),
        Ok(Stored::Text(text)) => {
            std::str::from_utf8(text).map(ValueRef::Text).map_err(|error| unfit(Unfit::Value(error.into())))
        }
        Ok(Stored::Blob(bytes)) => Ok(ValueRef::Blob(bytes)),
    }
}
