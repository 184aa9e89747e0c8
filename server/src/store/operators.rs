//! Operators and the digests of their tokens.

use super::sql::{Row, SqlResult, params};
use jiff::Timestamp;

use super::columns::{Micros, Word};
use super::{StoreError, Tx, View};
use crate::config::TokenHash;
use crate::identity::{Lapsed, Operator, Role};

/// An operator that was created through the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OperatorRow {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Of the token.
    pub(crate) token: TokenHash,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) revoked_by: Option<String>,
}

impl OperatorRow {
    /// Every operator of the store, by name.
    pub(crate) fn all(view: &View<'_>) -> Result<Vec<Self>, StoreError> {
        view.rows("read the operators", "SELECT * FROM operators ORDER BY name", params![], Self::from_row)
    }

    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        let time = |column| row.get::<_, Option<Micros>>(column).map(|time| time.map(|time| time.0));
        Ok(Self {
            name: row.get("name")?,
            role: row.get::<_, Word<_>>("role")?.0,
            token: TokenHash::new(row.get("token_hash")?),
            created_at: row.get::<_, Micros>("created_at")?.0,
            created_by: row.get("created_by")?,
            expires_at: time("expires_at")?,
            revoked_at: time("revoked_at")?,
            revoked_by: row.get("revoked_by")?,
        })
    }

    /// The operator, as long as the token lets anybody in.
    pub(crate) fn admit(self, now: Timestamp) -> Result<Operator, Lapsed> {
        let Self { name, role, .. } = self;
        match (self.revoked_at, self.expires_at) {
            (Some(at), _) => Err(Lapsed::Revoked { name, at }),
            (None, Some(at)) if at <= now => Err(Lapsed::Expired { name, at }),
            (None, _) => Ok(Operator { name, role }),
        }
    }
}

impl View<'_> {
    /// The operator of this name.
    pub(crate) fn operator(&self, name: &str) -> Result<Option<OperatorRow>, StoreError> {
        self.row(
            "read an operator",
            "SELECT * FROM operators WHERE name = ?1",
            params![name],
            OperatorRow::from_row,
        )
    }
}

impl Tx<'_> {
    /// Puts an operator in.
    pub(crate) fn insert_operator(&self, row: &OperatorRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO operators (name, role, token_hash, created_at, created_by, expires_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let values = params![
            row.name,
            Word(row.role),
            row.token.as_bytes(),
            Micros(row.created_at),
            row.created_by,
            row.expires_at.map(Micros)
        ];
        self.next_generation()?;
        self.execute("put in an operator", sql, values).map(drop)
    }

    /// Ends an operator's token.
    pub(crate) fn revoke_operator(&self, name: &str, at: Timestamp, by: &str) -> Result<(), StoreError> {
        let sql = "UPDATE operators SET revoked_at = ?2, revoked_by = ?3 WHERE name = ?1";
        self.next_generation()?;
        self.execute("revoke an operator", sql, params![name, Micros(at), by]).map(drop)
    }
}
