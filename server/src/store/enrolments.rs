//! Which nodes are enrolled, and which were.

use super::sql::{FromColumn, Row, SqlResult, Unfit, ValueRef, params};
use congruent_protocol::enrolment::SealKey;
use congruent_protocol::key::PublicKey;
use jiff::Timestamp;

use super::columns::Micros;
use super::{StoreError, Tx, View};

/// An enrolment: one key of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnrolmentRow {
    pub(crate) id: String,
    pub(crate) node: String,
    pub(crate) group: String,
    /// The key's fingerprint.
    pub(crate) key: String,
    pub(crate) public_key: PublicKey,
    pub(crate) seal_key: SealKey,
    pub(crate) enrolled_at: Timestamp,
    /// The join token's id.
    pub(crate) admitted_by: String,
    pub(crate) agent_version: String,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) revoked_by: Option<String>,
    pub(crate) revoked_why: Option<String>,
}

impl EnrolmentRow {
    /// Every enrolment, also those that were revoked.
    pub(crate) fn all(view: &View<'_>) -> Result<Vec<Self>, StoreError> {
        let sql = "SELECT * FROM enrolments ORDER BY node, enrolled_at";
        view.rows("read the enrolments", sql, params![], Self::from_row)
    }

    /// The enrolments that were made or revoked after a generation.
    pub(super) fn changed_after(view: &View<'_>, generation: i64) -> Result<Vec<Self>, StoreError> {
        let sql = "SELECT * FROM enrolments WHERE generation > ?1 ORDER BY generation";
        view.rows("read the enrolments of others", sql, params![generation], Self::from_row)
    }

    /// Whether any node ever enrolled.
    pub(crate) fn is_any(view: &View<'_>) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM enrolments)";
        Ok(view.row("look for enrolments", sql, params![], |row| row.get(0))?.unwrap_or(false))
    }

    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        let time = |column| row.get::<_, Option<Micros>>(column).map(|time| time.map(|time| time.0));
        Ok(Self {
            id: row.get("id")?,
            node: row.get("node")?,
            group: row.get("group_name")?,
            key: row.get("key")?,
            public_key: row.get::<_, StoredKey>("public_key")?.0,
            seal_key: SealKey::new(row.get("seal_key")?),
            enrolled_at: row.get::<_, Micros>("enrolled_at")?.0,
            admitted_by: row.get("admitted_by")?,
            agent_version: row.get("agent_version")?,
            revoked_at: time("revoked_at")?,
            revoked_by: row.get("revoked_by")?,
            revoked_why: row.get("revoked_why")?,
        })
    }
}

/// A key, as SPKI in DER.
struct StoredKey(PublicKey);

impl FromColumn for StoredKey {
    fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit> {
        PublicKey::from_spki(value.as_blob()?).map(Self).map_err(|error| Unfit::Value(error.into()))
    }
}

impl View<'_> {
    /// The live enrolment of a node.
    pub(crate) fn enrolment_of(&self, node: &str) -> Result<Option<EnrolmentRow>, StoreError> {
        let sql = "SELECT * FROM enrolments WHERE node = ?1 AND revoked_at IS NULL";
        self.row("read a node's enrolment", sql, params![node], EnrolmentRow::from_row)
    }

    /// The newest enrolment of a node, also a revoked one.
    pub(crate) fn newest_enrolment_of(&self, node: &str) -> Result<Option<EnrolmentRow>, StoreError> {
        let sql = "SELECT * FROM enrolments WHERE node = ?1 ORDER BY enrolled_at DESC, revoked_at IS NULL DESC LIMIT 1";
        self.row("read a node's newest enrolment", sql, params![node], EnrolmentRow::from_row)
    }

    /// The enrolment of a key, also a revoked one.
    pub(crate) fn enrolment_with_key(&self, key: &str) -> Result<Option<EnrolmentRow>, StoreError> {
        let sql = "SELECT * FROM enrolments WHERE key = ?1";
        self.row("read a key's enrolment", sql, params![key], EnrolmentRow::from_row)
    }
}

impl Tx<'_> {
    /// Enrols a key.
    pub(crate) fn insert_enrolment(&self, row: &EnrolmentRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO enrolments (id, node, group_name, key, public_key, seal_key, enrolled_at, \
             admitted_by, agent_version, generation) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let values = params![
            row.id,
            row.node,
            row.group,
            row.key,
            row.public_key.to_spki(),
            row.seal_key.as_bytes(),
            Micros(row.enrolled_at),
            row.admitted_by,
            row.agent_version,
            self.next_generation()?,
        ];
        self.execute("enrol a node", sql, values).map(drop)
    }

    /// Ends the live enrolment of a node; gives whether there was one.
    pub(crate) fn revoke_enrolment(
        &self,
        node: &str,
        at: Timestamp,
        by: &str,
        why: &str,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE enrolments SET revoked_at = ?2, revoked_by = ?3, revoked_why = ?4, generation = ?5 \
             WHERE node = ?1 AND revoked_at IS NULL";
        let values = params![node, Micros(at), by, why, self.next_generation()?];
        Ok(self.execute("revoke an enrolment", sql, values)? > 0)
    }
}
