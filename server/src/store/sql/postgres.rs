//! PostgreSQL, and what speaks its protocol.

use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres::error::SqlState;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Statement};

use super::{Column, Next, Param, Row, SqlError, SqlResult, Unfit, Value, ValueRef};

/// A connection to a server.
pub(in crate::store) struct Postgres {
    /// There until it is dropped.
    client: Option<RefCell<Client>>,
    /// What the server has parsed, by its text.
    prepared: RefCell<HashMap<String, Statement>>,
    /// How long a read may take, which the server holds it to.
    limit: Option<Duration>,
}

impl Postgres {
    /// A connection whose statements, and pauses between them, the server ends after
    /// `limit`.
    pub(in crate::store) fn new(
        mut client: Client,
        limit: Option<Duration>,
    ) -> Result<Self, postgres::Error> {
        let at_most = limit.map_or(0, |limit| limit.as_millis());
        client.batch_execute(&format!(
            "SET statement_timeout = {at_most}; SET idle_in_transaction_session_timeout = {at_most}"
        ))?;
        Ok(Self { client: Some(RefCell::new(client)), prepared: RefCell::default(), limit })
    }

    fn failed(&self, error: postgres::Error) -> SqlError {
        let ended = [SqlState::QUERY_CANCELED, SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT];
        match (self.limit, error.code()) {
            (Some(limit), Some(code)) if ended.contains(code) => SqlError::TooLong { limit },
            _ => SqlError::Postgres(error),
        }
    }

    pub(super) fn each(
        &self,
        sql: &str,
        values: &[&dyn Param],
        read: &mut dyn FnMut(&Row<'_>) -> SqlResult<Next>,
    ) -> SqlResult<()> {
        let (statement, values) = (self.prepare(sql)?, bound(values)?);
        let mut client = self.client()?;
        let mut rows = client.query_raw(&statement, &values).map_err(|error| self.failed(error))?;
        while let Some(row) = rows.next().map_err(|error| self.failed(error))? {
            if read(&Row::Postgres(&row))? == Next::Enough {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn execute(&self, sql: &str, values: &[&dyn Param]) -> SqlResult<usize> {
        let (statement, values) = (self.prepare(sql)?, bound(values)?);
        let values: Vec<_> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let changed = self.client()?.execute(&statement, &values).map_err(|error| self.failed(error))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(super) fn insert(&self, sql: &str, values: &[&dyn Param]) -> SqlResult<i64> {
        let mut id = None;
        self.each(&format!("{sql} RETURNING id"), values, &mut |row| {
            id = Some(row.get(0)?);
            Ok(Next::Wanted)
        })?;
        id.ok_or(SqlError::NoRow)
    }

    pub(in crate::store) fn batch(&self, sql: &str) -> SqlResult<()> {
        self.client()?.batch_execute(sql).map_err(|error| self.failed(error))
    }

    fn client(&self) -> SqlResult<RefMut<'_, Client>> {
        self.client.as_ref().map(RefCell::borrow_mut).ok_or(SqlError::NoRow)
    }

    fn prepare(&self, sql: &str) -> SqlResult<Statement> {
        if let Some(statement) = self.prepared.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client()?.prepare(&numbered(sql)).map_err(|error| self.failed(error))?;
        self.prepared.borrow_mut().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Drop for Postgres {
    /// Closing waits for the server, which no task may.
    fn drop(&mut self) {
        let client = self.client.take();
        std::thread::spawn(move || drop(client));
    }
}

/// A statement with its parameters as PostgreSQL writes them: `$1` for `?1`.
fn numbered(sql: &str) -> String {
    let mut numbered = String::with_capacity(sql.len());
    let mut rest = sql.chars().peekable();
    while let Some(next) = rest.next() {
        let is_parameter = next == '?' && rest.peek().is_some_and(char::is_ascii_digit);
        numbered.push(if is_parameter { '$' } else { next });
    }
    numbered
}

fn bound<'a>(values: &'a [&dyn Param]) -> SqlResult<Vec<Value<'a>>> {
    let bind = |(at, value): (usize, &'a &dyn Param)| {
        value.value().map_err(|reason| SqlError::Parameter { place: at + 1, reason })
    };
    values.iter().enumerate().map(bind).collect()
}

/// The value in a column of a row.
pub(super) fn value<'a>(row: &'a postgres::Row, column: Column<'_>) -> SqlResult<ValueRef<'a>> {
    let place = match column {
        Column::Named(name) => row.columns().iter().position(|column| column.name() == name),
        Column::At(place) => (place < row.len()).then_some(place),
    };
    let missing = || SqlError::Unfit { column: column.to_string(), reason: Unfit::Missing };
    let stored: Option<ValueRef<'_>> = row.try_get(place.ok_or_else(missing)?).map_err(SqlError::Postgres)?;
    Ok(stored.unwrap_or(ValueRef::Null))
}

impl<'a> FromSql<'a> for ValueRef<'a> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *kind {
            Type::BOOL => Self::Bool(bool::from_sql(kind, raw)?),
            Type::INT4 => Self::Integer(i32::from_sql(kind, raw)?.into()),
            Type::INT8 => Self::Integer(i64::from_sql(kind, raw)?),
            Type::BYTEA => Self::Blob(raw),
            _ => Self::Text(<&str>::from_sql(kind, raw)?),
        })
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::BOOL | Type::INT4 | Type::INT8 | Type::BYTEA | Type::TEXT | Type::VARCHAR)
    }
}

impl ToSql for Value<'_> {
    /// PostgreSQL's text cannot hold the character NUL; a replacement character stands for it.
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, kind) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Bool(value), &Type::BOOL) => value.to_sql(kind, out),
            // As it is copied from SQLite, which has no booleans.
            (Self::Integer(number @ 0..=1), &Type::BOOL) => (*number == 1).to_sql(kind, out),
            (Self::Integer(number), &Type::INT8) => number.to_sql(kind, out),
            (Self::Integer(number), &Type::INT4) => i32::try_from(*number)?.to_sql(kind, out),
            (Self::Text(text), &(Type::TEXT | Type::VARCHAR)) if text.contains('\0') => {
                text.replace('\0', "\u{fffd}").to_sql(kind, out)
            }
            (Self::Text(text), &(Type::TEXT | Type::VARCHAR)) => text.to_sql(kind, out),
            (Self::Blob(bytes), &Type::BYTEA) => bytes.to_sql(kind, out),
            (value, kind) => Err(format!("{value:?} cannot be stored as {kind}").into()),
        }
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_with_a_dollar_and_nothing_else_is_touched() {
        for (sql, expected) in [
            ("SELECT ?1, ?12", "SELECT $1, $12"),
            ("SELECT '?' WHERE a = ?1", "SELECT '?' WHERE a = $1"),
            ("SELECT 1?", "SELECT 1?"),
            ("", ""),
        ] {
            assert_eq!(numbered(sql), expected);
        }
    }
}
