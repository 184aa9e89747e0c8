//! Join tokens, and which keys have joined with them.

use super::sql::{Row, SqlResult, params};
use jiff::Timestamp;

use super::columns::{Json, Micros};
use super::{StoreError, Tx, View};
use crate::config::TokenHash;
use crate::identity::Networks;

/// A join token, without the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinTokenRow {
    pub(crate) id: String,
    pub(crate) hash: TokenHash,
    pub(crate) group: String,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) reason: String,
    pub(crate) expires_at: Timestamp,
    pub(crate) is_reusable: bool,
    pub(crate) max_per_minute: Option<u32>,
    pub(crate) networks: Networks,
    pub(crate) revoked_at: Option<Timestamp>,
    /// How often it was brought and refused.
    pub(crate) refused: u64,
}

/// How a join token was used before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinUses {
    /// Whether by the key that asks now.
    pub(crate) by_this_key: bool,
    /// The node that the first key asked for.
    pub(crate) first_node: Option<String>,
    /// By how many keys of late; not counted further than was asked.
    pub(crate) recent: u64,
}

impl JoinTokenRow {
    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            id: row.get("id")?,
            hash: TokenHash::from_bytes(row.get("hash")?),
            group: row.get("group_name")?,
            created_at: row.get::<_, Micros>("created_at")?.0,
            created_by: row.get("created_by")?,
            reason: row.get("reason")?,
            expires_at: row.get::<_, Micros>("expires_at")?.0,
            is_reusable: row.get("is_reusable")?,
            max_per_minute: row.get("max_per_minute")?,
            networks: row.get::<_, Json<_>>("networks")?.0,
            revoked_at: row.get::<_, Option<Micros>>("revoked_at")?.map(|time| time.0),
            refused: row.get("refused")?,
        })
    }
}

impl View<'_> {
    /// The token that hashes to `hash`.
    pub(crate) fn join_token_of(&self, hash: &TokenHash) -> Result<Option<JoinTokenRow>, StoreError> {
        let sql = "SELECT * FROM join_tokens WHERE hash = ?1";
        self.row("read a join token", sql, params![hash.as_bytes()], JoinTokenRow::from_row)
    }

    /// The newest tokens, the newest first, and how many keys have joined with each.
    pub(crate) fn join_tokens(&self, limit: usize) -> Result<Vec<(JoinTokenRow, u64)>, StoreError> {
        let sql = "SELECT *, (SELECT count(*) FROM join_uses WHERE token_id = id) AS uses FROM join_tokens \
             ORDER BY created_at DESC, id LIMIT ?1";
        self.rows("read the join tokens", sql, params![limit], |row| {
            Ok((JoinTokenRow::from_row(row)?, row.get("uses")?))
        })
    }

    /// The ids of the tokens that a node can still join a group with.
    pub(crate) fn live_join_tokens(&self, group: &str, now: Timestamp) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT id FROM join_tokens WHERE group_name = ?1 AND revoked_at IS NULL AND expires_at > ?2 \
             AND (is_reusable OR NOT EXISTS (SELECT 1 FROM join_uses WHERE token_id = join_tokens.id)) \
             ORDER BY id";
        self.rows("read a group's join tokens", sql, params![group, Micros(now)], |row| row.get(0))
    }

    /// How a token was used, also by `key`; recently is from `since` on, and counted up to
    /// `at_most`, since a fleet may join at once.
    pub(crate) fn join_uses(
        &self,
        token_id: &str,
        key: &str,
        since: Timestamp,
        at_most: u32,
    ) -> Result<JoinUses, StoreError> {
        let action = "read a join token's uses";
        let sql = "SELECT EXISTS (SELECT 1 FROM join_uses WHERE token_id = ?1 AND key = ?2), \
             (SELECT node FROM join_uses WHERE token_id = ?1 ORDER BY at LIMIT 1), \
             (SELECT count(*) FROM (SELECT 1 FROM join_uses WHERE token_id = ?1 AND at >= ?3 LIMIT ?4) AS recent)";
        let read = |row: &Row<'_>| {
            Ok(JoinUses { by_this_key: row.get(0)?, first_node: row.get(1)?, recent: row.get(2)? })
        };
        let uses = self.row(action, sql, params![token_id, key, Micros(since), at_most], read)?;
        Ok(uses.unwrap_or(JoinUses { by_this_key: false, first_node: None, recent: 0 }))
    }
}

impl Tx<'_> {
    /// Keeps a token that was made.
    pub(crate) fn insert_join_token(&self, row: &JoinTokenRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO join_tokens (id, hash, group_name, created_at, created_by, reason, expires_at, \
             is_reusable, max_per_minute, networks) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let values = params![
            row.id,
            row.hash.as_bytes(),
            row.group,
            Micros(row.created_at),
            row.created_by,
            row.reason,
            Micros(row.expires_at),
            row.is_reusable,
            row.max_per_minute,
            Json(&row.networks),
        ];
        self.execute("keep a join token", sql, values).map(drop)
    }

    /// Notes that a key joined with a token; once is enough.
    pub(crate) fn insert_join_use(
        &self,
        token_id: &str,
        key: &str,
        node: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO join_uses (token_id, key, node, at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        self.execute("note the use of a join token", sql, params![token_id, key, node, Micros(at)]).map(drop)
    }

    /// Counts that a token was brought and refused.
    pub(crate) fn note_join_refusal(&self, token_id: &str) -> Result<(), StoreError> {
        let sql = "UPDATE join_tokens SET refused = refused + 1 WHERE id = ?1";
        self.execute("count a refusal of a join token", sql, params![token_id]).map(drop)
    }

    /// Revokes a token; gives whether there was one that was not revoked.
    pub(crate) fn revoke_join_token(&self, id: &str, at: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE join_tokens SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
        Ok(self.execute("revoke a join token", sql, params![id, Micros(at)])? > 0)
    }
}
