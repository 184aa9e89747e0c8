//! The database that is copied into: empty, and unfinished until all is proven.

use std::fs::File;

use super::super::error::to;
use super::super::sql::{Connection, Next, Param, Purpose, SqlResult, Sqlite, Value, params};
use super::super::tables::{TABLES, Table};
use super::super::{Database, StoreError, lock, schema};
use super::CopyError;

/// Rows in one statement. PostgreSQL takes 65,535 parameters, SQLite 32,766; no table
/// has more than 30 columns.
const ROWS_AT_ONCE: usize = 64;
/// How much of it waits to be written, about.
const BYTES_AT_ONCE: usize = 4 << 20;

/// A database that is written, and used by nobody else.
pub(super) struct Target {
    pub(super) connection: Connection,
    /// Let go after the connection.
    _lock: Option<File>,
}

impl Target {
    /// Makes ready a database that must hold nothing yet, and marks it as unfinished.
    /// `replace` lets go of what an unfinished copy left.
    pub(super) fn open(database: &Database, replace: bool) -> Result<Self, CopyError> {
        let mut target = Self::connect(database)?;
        schema::check_ours(&mut target.connection, database)?;
        match schema::unfinished(&mut target.connection)? {
            Some(_) if !replace => return Err(StoreError::Unfinished(database.to_string()).into()),
            Some(false) => return Err(CopyError::Remains(database.to_string())),
            Some(true) => target.clear().map_err(to("let go of an unfinished copy"))?,
            None => {
                schema::migrate(&mut target.connection, database)?;
                let filled = target.first_filled().map_err(to("look whether the database is empty"))?;
                if let Some(table) = filled {
                    return Err(CopyError::NotEmpty { database: database.to_string(), table });
                }
                schema::mark(&mut target.connection, false)?;
                target.clear().map_err(to("empty the database"))?;
            }
        }
        Ok(target)
    }

    pub(super) fn connect(database: &Database) -> Result<Self, StoreError> {
        match database {
            Database::Postgres(server) => {
                Ok(Self { connection: Connection::Postgres(Box::new(server.connect(None)?)), _lock: None })
            }
            Database::Sqlite(path) => {
                let held = lock(path)?;
                let failed = |source| StoreError::Open { path: path.clone(), source };
                let sqlite = Sqlite::writer(path).map_err(failed)?;
                let mut connection = Connection::Sqlite(Box::new(sqlite));
                schema::check_ours(&mut connection, database)?;
                if let Connection::Sqlite(sqlite) = &connection {
                    sqlite.prepare().map_err(failed)?;
                }
                Ok(Self { connection, _lock: Some(held) })
            }
        }
    }

    /// The first table that holds something that no new database has.
    fn first_filled(&self) -> SqlResult<Option<&'static str>> {
        for table in TABLES {
            let condition = if table.name == "shared" { "WHERE generation <> 0" } else { "" };
            let sql = format!("SELECT 1 FROM {} {condition} LIMIT 1", table.name);
            let mut is_filled = false;
            self.connection.each(&sql, params![], &mut |_| {
                is_filled = true;
                Ok(Next::Enough)
            })?;
            if is_filled {
                return Ok(Some(table.name));
            }
        }
        Ok(None)
    }

    fn clear(&self) -> SqlResult<()> {
        TABLES
            .iter()
            .rev()
            .try_for_each(|table| self.connection.batch(&format!("DELETE FROM {}", table.name)))
    }

    /// Puts in rows, in one transaction.
    pub(super) fn put(&self, table: &Table, rows: &[Vec<Value<'static>>]) -> Result<(), CopyError> {
        let put = || {
            let mut chunks = rows.chunks_exact(ROWS_AT_ONCE);
            for chunk in &mut chunks {
                self.put_at_once(table, chunk)?;
            }
            chunks.remainder().chunks(1).try_for_each(|row| self.put_at_once(table, row))
        };
        let failed = |source| CopyError::Write { table: table.name, source };
        self.connection.transact(Purpose::Write, || put().map_err(failed), failed)
    }

    fn put_at_once(&self, table: &Table, rows: &[Vec<Value<'static>>]) -> SqlResult<()> {
        let columns = table.columns();
        let row = |at: usize| {
            let places = (1..=columns.len()).map(|place| format!("?{}", at * columns.len() + place));
            format!("({})", places.collect::<Vec<_>>().join(", "))
        };
        let places = (0..rows.len()).map(row).collect::<Vec<_>>().join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES {places}", table.name, columns.join(", "));
        let values: Vec<_> = rows.iter().flatten().map(|value| value as &dyn Param).collect();
        self.connection.execute(&sql, &values).map(drop)
    }

    /// Has the database give out ids from after those that were put in.
    pub(super) fn count_on(&self, table: &Table) -> SqlResult<()> {
        // SQLite goes on after the highest by itself.
        let Connection::Postgres(_) = &self.connection else { return Ok(()) };
        let mut highest = 0_i64;
        let sql = format!("SELECT coalesce(max(id), 0) FROM {}", table.name);
        self.connection.each(&sql, params![], &mut |row| {
            highest = row.get(0)?;
            Ok(Next::Enough)
        })?;
        let next = highest.saturating_add(1);
        self.connection.batch(&format!("ALTER TABLE {} ALTER COLUMN id RESTART WITH {next}", table.name))
    }

    /// Says that all is there.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        schema::mark(&mut self.connection, true)
    }
}

/// What waits to be written.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) rows: Vec<Vec<Value<'static>>>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn push(&mut self, row: Vec<Value<'static>>) {
        let size = |value: &Value<'_>| match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            Value::Null | Value::Bool(_) | Value::Integer(_) => 8,
        };
        self.bytes += row.iter().map(size).sum::<usize>();
        self.rows.push(row);
    }

    pub(super) fn is_enough(&self) -> bool {
        self.bytes >= BYTES_AT_ONCE || self.rows.len() >= 16 * ROWS_AT_ONCE
    }
}
