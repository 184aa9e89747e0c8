//! Statements: each fails with the action that it is part of.

use super::error::to;
use super::sql::{Next, Param, Row, SqlResult};
use super::{StoreError, Tx, View};

impl View<'_> {
    /// Every row that a query gives.
    pub(super) fn rows<T>(
        &self,
        action: &'static str,
        sql: &str,
        values: &[&dyn Param],
        read: impl Fn(&Row<'_>) -> SqlResult<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut rows = Vec::new();
        let take = &mut |row: &Row<'_>| {
            rows.push(read(row)?);
            Ok(Next::Wanted)
        };
        self.0.each(sql, values, take).map_err(to(action))?;
        Ok(rows)
    }

    /// The row that a query gives, if it gives one.
    pub(super) fn row<T>(
        &self,
        action: &'static str,
        sql: &str,
        values: &[&dyn Param],
        read: impl Fn(&Row<'_>) -> SqlResult<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut first = None;
        let take = &mut |row: &Row<'_>| {
            first = Some(read(row)?);
            Ok(Next::Enough)
        };
        self.0.each(sql, values, take).map_err(to(action))?;
        Ok(first)
    }
}

impl Tx<'_> {
    /// Runs a statement; gives how many rows it changed.
    pub(super) fn execute(
        &self,
        action: &'static str,
        sql: &str,
        values: &[&dyn Param],
    ) -> Result<usize, StoreError> {
        self.0.0.execute(sql, values).map_err(to(action))
    }

    /// Puts a row in; gives its id.
    pub(super) fn insert(
        &self,
        action: &'static str,
        sql: &str,
        values: &[&dyn Param],
    ) -> Result<i64, StoreError> {
        self.0.0.insert(sql, values).map_err(to(action))
    }
}
