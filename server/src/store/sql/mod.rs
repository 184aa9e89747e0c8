//! One way to speak to SQLite and to PostgreSQL.
//!
//! Statements are written once, in the SQL that both know, with parameters as
//! `?1`. Booleans, text, bytes and 64-bit integers are all the types that there are.

mod error;
mod postgres;
mod sqlite;
mod value;

pub(crate) use error::{Condition, SqlError, SqlResult};
pub(super) use postgres::Postgres;
pub(super) use sqlite::Sqlite;
pub(super) use value::{Column, FromColumn, Param, Unfit, Value, ValueRef, params};

/// Whether the rest of a query's rows is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Wanted,
    Enough,
}

/// A connection to either.
pub(super) enum Connection {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// A row of either.
pub(super) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a ::postgres::Row),
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It reads one consistent state.
    Read,
    /// It writes as if it were alone.
    Write,
}

impl Connection {
    /// Runs `work` in one transaction, which is committed where `work` succeeds.
    pub(super) fn transact<T, E>(
        &self,
        purpose: Purpose,
        work: impl FnOnce() -> Result<T, E>,
        failed: impl Fn(SqlError) -> E,
    ) -> Result<T, E> {
        self.begin(purpose).map_err(&failed)?;
        match work() {
            Ok(value) => {
                if let Err(error) = self.batch("COMMIT") {
                    self.abandon();
                    return Err(failed(error));
                }
                Ok(value)
            }
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    /// Gives every row that a query has to `read`, until that has enough.
    pub(super) fn each(
        &self,
        sql: &str,
        values: &[&dyn Param],
        read: &mut dyn FnMut(&Row<'_>) -> SqlResult<Next>,
    ) -> SqlResult<()> {
        match self {
            Self::Sqlite(sqlite) => sqlite.each(sql, values, read),
            Self::Postgres(postgres) => postgres.each(sql, values, read),
        }
    }

    /// Runs a statement; gives how many rows it changed.
    pub(super) fn execute(&self, sql: &str, values: &[&dyn Param]) -> SqlResult<usize> {
        match self {
            Self::Sqlite(sqlite) => sqlite.execute(sql, values),
            Self::Postgres(postgres) => postgres.execute(sql, values),
        }
    }

    /// Puts a row in; gives the `id` that it was given.
    pub(super) fn insert(&self, sql: &str, values: &[&dyn Param]) -> SqlResult<i64> {
        match self {
            Self::Sqlite(sqlite) => sqlite.insert(sql, values),
            Self::Postgres(postgres) => postgres.insert(sql, values),
        }
    }

    /// Runs statements without parameters.
    pub(super) fn batch(&self, sql: &str) -> SqlResult<()> {
        match self {
            Self::Sqlite(sqlite) => sqlite.batch(sql),
            Self::Postgres(postgres) => postgres.batch(sql),
        }
    }

    fn begin(&self, purpose: Purpose) -> SqlResult<()> {
        match (self, purpose) {
            (Self::Sqlite(sqlite), Purpose::Read) => {
                sqlite.begin_read();
                self.batch("BEGIN DEFERRED")
            }
            // A transaction that begins as a reader and then writes is refused at once
            // when another process writes, whatever the timeout.
            (Self::Sqlite(_), Purpose::Write) => self.batch("BEGIN IMMEDIATE"),
            (Self::Postgres(_), Purpose::Read) => {
                self.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            }
            (Self::Postgres(_), Purpose::Write) => self.batch("BEGIN ISOLATION LEVEL SERIALIZABLE"),
        }
    }

    /// Ends a transaction that failed. Where that fails as well, it ended by itself, or
    /// the connection is lost, and the transaction with it.
    fn abandon(&self) {
        let _ = self.batch("ROLLBACK");
    }
}

impl Row<'_> {
    /// The value of a column, by name or place.
    pub(super) fn get<'c, C: Into<Column<'c>>, T: FromColumn>(&self, column: C) -> SqlResult<T> {
        let column = column.into();
        let value = match self {
            Self::Sqlite(row) => sqlite::value(row, column)?,
            Self::Postgres(row) => postgres::value(row, column)?,
        };
        T::from_column(value).map_err(|reason| SqlError::Unfit { column: column.to_string(), reason })
    }
}
