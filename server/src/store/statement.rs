//! Statements: prepared once, and failing with the action that they are part of.

use rusqlite::{OptionalExtension, Params, Row};

use super::error::to;
use super::{StoreError, Tx, View};

impl View<'_> {
    /// Every row that a query gives.
    pub(super) fn rows<T>(
        &self,
        action: &'static str,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.0.prepare_cached(sql).map_err(to(action))?;
        let rows = statement.query_map(values, read);
        rows.and_then(Iterator::collect).map_err(to(action))
    }

    /// The row that a query gives, if it gives one.
    pub(super) fn row<T>(
        &self,
        action: &'static str,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.0.prepare_cached(sql).map_err(to(action))?;
        statement.query_row(values, read).optional().map_err(to(action))
    }
}

impl Tx<'_> {
    /// Runs a statement; gives how many rows it changed.
    pub(super) fn execute(
        &self,
        action: &'static str,
        sql: &str,
        values: impl Params,
    ) -> Result<usize, StoreError> {
        let mut statement = self.0.0.prepare_cached(sql).map_err(to(action))?;
        statement.execute(values).map_err(to(action))
    }

    /// Puts a row in; gives its id.
    pub(super) fn insert(
        &self,
        action: &'static str,
        sql: &str,
        values: impl Params,
    ) -> Result<i64, StoreError> {
        let mut statement = self.0.0.prepare_cached(sql).map_err(to(action))?;
        statement.insert(values).map_err(to(action))
    }
}
