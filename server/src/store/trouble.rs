//! What went wrong with a node's reports: refusals, and breaks in its chain.

use super::sql::{Row, SqlResult, params};
use jiff::{SignedDuration, Timestamp};

use super::columns::Micros;
use super::{StoreError, Tx, View};

/// How long refusals with one code are counted in one row.
const REFUSALS_COUNTED: SignedDuration = SignedDuration::from_hours(24);
/// How many rows of refusals are kept of each node.
const MAX_REFUSALS: u32 = 200;

/// Refusals with one code, within a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusalRow {
    pub(crate) node: String,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
    pub(crate) count: u64,
    pub(crate) code: String,
    /// Of the newest of them.
    pub(crate) message: String,
}

/// Where a node's chain of reports does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChainNoteRow {
    pub(crate) at: Timestamp,
    pub(crate) sequence: u64,
    pub(crate) note: String,
}

impl RefusalRow {
    pub(super) fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            node: row.get("node")?,
            first_at: row.get::<_, Micros>("first_at")?.0,
            last_at: row.get::<_, Micros>("last_at")?.0,
            count: row.get("count")?,
            code: row.get("code")?,
            message: row.get("message")?,
        })
    }
}

impl ChainNoteRow {
    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self { at: row.get::<_, Micros>("at")?.0, sequence: row.get("sequence")?, note: row.get("note")? })
    }
}

impl View<'_> {
    /// The newest refusals of a node's reports, the newest first.
    pub(crate) fn refusals(&self, node: &str, limit: usize) -> Result<Vec<RefusalRow>, StoreError> {
        let sql = "SELECT * FROM refusals WHERE node = ?1 ORDER BY id DESC LIMIT ?2";
        self.rows("read a node's refusals", sql, params![node, limit], RefusalRow::from_row)
    }

    /// The newest breaks in a node's chain, the newest first.
    pub(crate) fn chain_notes(&self, node: &str, limit: usize) -> Result<Vec<ChainNoteRow>, StoreError> {
        let sql = "SELECT * FROM chain_notes WHERE node = ?1 ORDER BY id DESC LIMIT ?2";
        self.rows("read the notes on a node's chain", sql, params![node, limit], ChainNoteRow::from_row)
    }
}

impl Tx<'_> {
    /// Records a refusal. It counts with those of the same code that day, and only the
    /// newest message is kept: whoever tries again and again, and in other words, does
    /// not fill the disk.
    pub(crate) fn insert_refusal(
        &self,
        node: &str,
        at: Timestamp,
        code: &str,
        message: &str,
    ) -> Result<(), StoreError> {
        let action = "record a refusal";
        // It goes to the end again, so that the newest are last also where clocks were set back.
        let sql = "DELETE FROM refusals WHERE id = \
             (SELECT max(id) FROM refusals WHERE node = ?1 AND code = ?2 AND first_at > ?3) \
             RETURNING first_at, last_at, count";
        let since = Micros(at - REFUSALS_COUNTED);
        let same = self.row(action, sql, params![node, code, since], |row| {
            Ok((row.get::<_, Micros>(0)?.0, row.get::<_, Micros>(1)?.0, row.get::<_, u64>(2)?))
        })?;
        let (first_at, last_at, count) = same.unwrap_or((at, at, 0));
        let sql = "INSERT INTO refusals (node, first_at, last_at, count, code, message) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let values = params![node, Micros(first_at), Micros(last_at.max(at)), count + 1, code, message];
        self.execute(action, sql, values)?;
        if count > 0 {
            return Ok(());
        }
        let sql = "DELETE FROM refusals WHERE node = ?1 AND id <= \
             (SELECT id FROM refusals WHERE node = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
        self.execute("forget old refusals", sql, params![node, MAX_REFUSALS]).map(drop)
    }

    /// Notes where a node's chain does not hold.
    pub(crate) fn insert_chain_note(
        &self,
        node: &str,
        at: Timestamp,
        sequence: u64,
        note: &str,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO chain_notes (node, at, sequence, note) VALUES (?1, ?2, ?3, ?4)";
        self.execute("note a break in a chain", sql, params![node, Micros(at), sequence, note]).map(drop)
    }
}
