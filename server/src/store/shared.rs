//! What collectors that share one store tell each other.
//!
//! Each keeps enrolments, groups and operators in memory. A generation counts up with
//! every change of them, in the transaction of the change. Whoever writes looks at it
//! first, in the same transaction, and takes in what is new: so every write finds in
//! memory what the database says.

use std::collections::BTreeSet;

use super::sql::params;
use super::{EnrolmentRow, GroupRow, OperatorRow, StoreError, Tx, View};

/// What others changed.
#[derive(Debug)]
pub(crate) struct Changes {
    /// That which all of this brings memory to.
    pub(super) generation: i64,
    /// The enrolments that were made or revoked, the oldest change first.
    pub(crate) enrolments: Vec<EnrolmentRow>,
    /// Every group of the store that stands.
    pub(crate) groups: Vec<GroupRow>,
    /// Their names.
    pub(crate) standing: BTreeSet<String>,
    /// Every operator of the store.
    pub(crate) operators: Vec<OperatorRow>,
}

/// Takes into memory what others changed.
pub(crate) trait Sharing: Send + Sync {
    /// Does it, or says why it cannot be done yet. Runs on the store's thread, which may wait.
    fn take_in(&self, changes: Changes) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

impl Changes {
    pub(super) fn after(view: &View<'_>, generation: i64) -> Result<Self, StoreError> {
        let groups = view.groups()?;
        Ok(Self {
            generation: self::generation(view)?,
            enrolments: EnrolmentRow::changed_after(view, generation)?,
            standing: groups.iter().map(|row| row.name.clone()).collect(),
            groups,
            operators: OperatorRow::all(view)?,
        })
    }
}

/// Which generation of what collectors keep in memory the store has.
pub(super) fn generation(view: &View<'_>) -> Result<i64, StoreError> {
    let sql = "SELECT generation FROM shared WHERE id = 1";
    let generation = view.row("look for changes of others", sql, params![], |row| row.get(0))?;
    Ok(generation.unwrap_or_default())
}

impl Tx<'_> {
    /// Says that something changes which collectors keep in memory.
    pub(super) fn next_generation(&self) -> Result<i64, StoreError> {
        let action = "tell others of a change";
        let sql = "UPDATE shared SET generation = generation + 1 WHERE id = 1";
        self.execute(action, sql, params![])?;
        generation(self)
    }
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
