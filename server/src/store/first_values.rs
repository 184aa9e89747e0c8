//! First values: each is recorded once, and an instance's ledger only grows.

use super::sql::params;
use congruent_protocol::digest::Digest;
use congruent_protocol::ledger::{FirstValue, Ledger};
use congruent_protocol::report::Outcome;
use jiff::Timestamp;

use super::columns::{Json, Micros, Word};
use super::{StoreError, Tx, View};

impl View<'_> {
    /// How many first values an instance has.
    pub(crate) fn first_values_count(&self, chain_id: &str, root: &Digest) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM first_values WHERE chain_id = ?1 AND root = ?2";
        let count = self.row("count first values", sql, params![chain_id, Word(root)], |row| row.get(0))?;
        Ok(count.unwrap_or(0))
    }

    /// The root of the stack that a node was held to in the last look that it completed.
    pub(crate) fn root_of(&self, node: &str) -> Result<Option<Digest>, StoreError> {
        let sql = "SELECT id FROM reports WHERE node = ?1 AND sweep IS NOT NULL ORDER BY chain DESC, sequence DESC LIMIT 1";
        let Some(id) = self.row("look for a node's last look", sql, params![node], |row| row.get(0))? else {
            return Ok(None);
        };
        Ok(match self.report_body(id)?.outcome {
            Outcome::Verified(verification) => Some(verification.baked_root),
            Outcome::NoManifest(_) | Outcome::Withheld(_) => None,
        })
    }

    /// The ledger of an instance as it was when it had `count` values.
    pub(crate) fn ledger(&self, chain_id: &str, root: Digest, count: u64) -> Result<Ledger, StoreError> {
        let sql = "SELECT value, recorded_at FROM first_values WHERE chain_id = ?1 AND root = ?2 \
             ORDER BY id LIMIT ?3";
        let rows = self.rows("read a ledger", sql, params![chain_id, Word(root), count], |row| {
            Ok((row.get::<_, Json<FirstValue>>(0)?.0, row.get::<_, Micros>(1)?.0))
        })?;
        let mut ledger = Ledger::empty(root);
        for (value, recorded_at) in rows {
            ledger.record(&[value], recorded_at).map_err(StoreError::Ledger)?;
        }
        Ok(ledger)
    }
}

impl Tx<'_> {
    /// Records the first values that a report brings, where none is known yet.
    pub(crate) fn record_first_values(
        &self,
        chain_id: &str,
        root: &Digest,
        values: &[FirstValue],
        (report_id, at): (i64, Timestamp),
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO first_values (chain_id, root, path, value, recorded_at, report_id) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
        for value in values {
            let row =
                params![chain_id, Word(root), value.path.as_bytes(), Json(value), Micros(at), report_id];
            self.execute("record a first value", sql, row)?;
        }
        Ok(())
    }
}
