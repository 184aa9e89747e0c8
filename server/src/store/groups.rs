//! Every version of the groups that are not declared in the configuration.

use super::sql::{Row, SqlResult, params};
use jiff::Timestamp;

use super::columns::{Json, Micros};
use super::{StoreError, Tx, View};
use crate::config::GroupDescription;

/// A version of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupRow {
    pub(crate) name: String,
    /// Counts up by one from 1.
    pub(crate) version: u64,
    pub(crate) at: Timestamp,
    /// Who made it so, and why.
    pub(crate) operator: String,
    pub(crate) reason: String,
    pub(crate) description: GroupDescription,
    /// Whether it ends the group; then its description is that of the version before.
    pub(crate) is_deleted: bool,
}

impl GroupRow {
    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            name: row.get("name")?,
            version: row.get("version")?,
            at: row.get::<_, Micros>("at")?.0,
            operator: row.get("operator")?,
            reason: row.get("reason")?,
            description: row.get::<_, Json<_>>("description")?.0,
            is_deleted: row.get("is_deleted")?,
        })
    }
}

impl View<'_> {
    /// The version of each group that stands, by name; not of those that were deleted.
    pub(crate) fn groups(&self) -> Result<Vec<GroupRow>, StoreError> {
        let sql = "SELECT * FROM group_versions AS this WHERE NOT is_deleted AND version = \
             (SELECT max(version) FROM group_versions WHERE name = this.name) ORDER BY name";
        self.rows("read the groups", sql, params![], GroupRow::from_row)
    }

    /// The newest versions of a group, the newest first.
    pub(crate) fn group_versions(&self, name: &str, limit: usize) -> Result<Vec<GroupRow>, StoreError> {
        let sql = "SELECT * FROM group_versions WHERE name = ?1 ORDER BY version DESC LIMIT ?2";
        self.rows("read a group's versions", sql, params![name, limit], GroupRow::from_row)
    }

    /// The newest version of a group, also one that ends it.
    pub(crate) fn newest_group_version(&self, name: &str) -> Result<Option<GroupRow>, StoreError> {
        Ok(self.group_versions(name, 1)?.into_iter().next())
    }

    /// The version of a group that stands.
    pub(crate) fn group(&self, name: &str) -> Result<Option<GroupRow>, StoreError> {
        Ok(self.newest_group_version(name)?.filter(|row| !row.is_deleted))
    }
}

impl Tx<'_> {
    /// Puts in a group's next version.
    pub(crate) fn insert_group_version(&self, row: &GroupRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO group_versions (name, version, at, operator, reason, description, is_deleted) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let values = params![
            row.name,
            row.version,
            Micros(row.at),
            row.operator,
            row.reason,
            Json(&row.description),
            row.is_deleted,
        ];
        self.next_generation()?;
        self.execute("put in a group's version", sql, values).map(drop)
    }
}
