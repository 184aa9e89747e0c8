//! Bodies of reports, wherever they lie: small ones in a row, large ones as blobs.
//!
//! A blob is named in the database before it is put, and its report's transaction takes
//! that name, so nothing ever lies there of which no row knows. A name that no report took
//! within a day, or whose report was removed, is marked first, which is committed; then the
//! blob is removed, and then the row. What is marked no report takes any more: its node is
//! told to send again. No two blobs share a name, so nothing is removed that was put since.
//!
//! A read that comes upon a blob ends, the blob is read without holding a connection, and the
//! read begins anew with it at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use congruent_protocol::digest::Algorithm;
use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use super::columns::{Micros, Packed, PackedBytes};
use super::error::to;
use super::sql::{FromColumn, Param, Row, SqlError, SqlResult, Unfit, Value, ValueRef, params};
use super::{Store, StoreError, Tx, View};
use crate::blobs::{BlobError, BlobName, Blobs};
use crate::packed::unpack;

/// The largest body that lies in a row, compressed.
pub(crate) const MAX_ROW_BYTES: usize = 256 << 10;
/// How long a name waits for its report.
const UNTAKEN_FOR: SignedDuration = SignedDuration::from_hours(24);
/// How many blobs are removed between two looks.
const CHUNK: usize = 100;
/// The time of what is to be removed.
const MARKED: i64 = 0;

/// A report's body, ready for its transaction.
pub(crate) enum Body {
    Row(PackedBytes),
    /// It is durable, and named in the database.
    Blob(BlobName),
}

/// Blobs that were read for a view, or why they could not be.
pub(super) type Fetched = BTreeMap<BlobName, Result<Vec<u8>, Arc<BlobError>>>;

/// None.
pub(super) static NOTHING_FETCHED: Fetched = BTreeMap::new();

/// A blob that a report's row names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedBody {
    pub(crate) blob: BlobName,
    pub(crate) node: String,
    pub(crate) sequence: u64,
}

impl Param for BlobName {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        Ok(Value::Text(self.to_string().into()))
    }
}

impl FromColumn for BlobName {
    fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit> {
        let text = value.as_text()?;
        Self::parse(text).ok_or_else(|| Unfit::Value(format!("{text:?} is not a blob's name").into()))
    }
}

impl Store {
    /// From now on large bodies are kept there; before, all go into their rows.
    pub(crate) fn keep_bodies_in(&self, blobs: Blobs) {
        // Only a second call can fail, and then it is set.
        let _ = self.memory.bodies.set(blobs);
    }

    /// Brings a body to where it is to lie: what does not go into its report's row is durable
    /// once this returns.
    pub(crate) async fn place(&self, packed: PackedBytes, now: Timestamp) -> Result<Body, StoreError> {
        let Some(blobs) = self.memory.bodies.get().filter(|_| packed.as_bytes().len() > MAX_ROW_BYTES) else {
            return Ok(Body::Row(packed));
        };
        let mut number = [0; 8];
        getrandom::fill(&mut number).map_err(StoreError::Random)?;
        let digest = Algorithm::Blake3.digest(packed.as_bytes());
        let name = BlobName::report(digest, u64::from_le_bytes(number));
        self.write("name a report's blob", move |tx| tx.name_body(&name, now)).await?;
        let put = blobs.put_bytes(name, packed.into_bytes()).await;
        if put.as_ref().is_err_and(BlobError::is_full) {
            self.memory.note_full();
        }
        put.map(|()| Body::Blob(name)).map_err(StoreError::Place)
    }

    /// Reads the blob that a read came upon.
    pub(super) async fn fetch(&self, body: Box<NamedBody>, fetched: &mut Fetched) -> Result<(), StoreError> {
        let Some(blobs) = self.memory.bodies.get() else { return Err(StoreError::InBlob(body)) };
        let read = blobs.get_bytes(body.blob).await;
        fetched.insert(body.blob, read.map_err(Arc::new));
        Ok(())
    }

    /// Removes the blobs that no report names any more, or took; gives how many.
    pub(crate) async fn remove_unnamed(&self, now: Timestamp) -> Result<u64, StoreError> {
        let Some(blobs) = self.memory.bodies.get() else { return Ok(0) };
        let before = now.checked_sub(UNTAKEN_FOR).unwrap_or(Timestamp::MIN);
        let mut removed = 0;
        loop {
            let names = self.write("mark blobs", move |tx| tx.mark_unnamed(before)).await?;
            if names.is_empty() {
                return Ok(removed);
            }
            for name in &names {
                blobs.remove(*name).await.map_err(StoreError::Remove)?;
            }
            removed += names.len() as u64;
            self.write("forget blobs", move |tx| tx.forget_bodies(&names)).await?;
        }
    }

    /// Tells in the log of the reports whose blobs are not there.
    pub(crate) async fn tell_missing_bodies(&self, there: &[BlobName]) -> Result<(), StoreError> {
        let there: BTreeSet<_> = there.iter().collect();
        for NamedBody { blob, node, sequence } in self.read("look for blobs", NamedBody::all).await? {
            if !there.contains(&blob) {
                warn!(%blob, node, sequence, "the body of a report is missing; restore it from a backup");
            }
        }
        Ok(())
    }
}

impl View<'_> {
    /// A report as it was sent.
    ///
    /// # Errors
    /// [`StoreError::InBlob`] where its blob is to be read first; [`Store::read`] does.
    pub(crate) fn sealed_report(&self, id: i64) -> Result<Vec<u8>, StoreError> {
        let action = "read a report's body";
        let sql = "SELECT body FROM report_bodies WHERE report_id = ?1";
        let body = self.row(action, sql, params![id], |row| row.get::<_, Packed<Vec<u8>>>(0))?;
        if let Some(body) = body {
            return Ok(body.0);
        }
        let named = self.named_body(id)?.ok_or_else(|| to(action)(SqlError::NoRow))?;
        let named = Box::new(named);
        match self.1.get(&named.blob) {
            None => Err(StoreError::InBlob(named)),
            Some(Ok(packed)) => unpack(packed).map_err(|source| StoreError::Unpack { body: named, source }),
            Some(Err(why)) => Err(StoreError::NoBody { body: named, source: Arc::clone(why) }),
        }
    }

    fn named_body(&self, report: i64) -> Result<Option<NamedBody>, StoreError> {
        let sql = format!("{NAMED} AND reports.id = ?1");
        self.row("look where a report's body lies", &sql, params![report], NamedBody::from_row)
    }
}

const NAMED: &str = "SELECT report_blobs.name, reports.node, reports.sequence FROM report_blobs \
     JOIN reports ON reports.id = report_blobs.report_id WHERE report_blobs.report_id IS NOT NULL";

impl NamedBody {
    /// Every blob that a report names.
    pub(crate) fn all(view: &View<'_>) -> Result<Vec<Self>, StoreError> {
        let sql = format!("{NAMED} ORDER BY report_blobs.name");
        view.rows("look which blobs are named", &sql, params![], Self::from_row)
    }

    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self { blob: row.get(0)?, node: row.get(1)?, sequence: row.get(2)? })
    }
}

impl Tx<'_> {
    /// Names a blob that is to be put.
    fn name_body(&self, name: &BlobName, at: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO report_blobs (name, report_id, at) VALUES (?1, NULL, ?2)";
        self.execute("name a report's blob", sql, params![name, Micros(at)]).map(drop)
    }

    /// Stores where a report's body lies, or the body itself.
    pub(super) fn insert_body(&self, report: i64, body: &Body) -> Result<(), StoreError> {
        let action = "store a report's body";
        match body {
            Body::Row(packed) => {
                let sql = "INSERT INTO report_bodies (report_id, body) VALUES (?1, ?2)";
                self.execute(action, sql, params![report, packed]).map(drop)
            }
            Body::Blob(name) => {
                let sql = "UPDATE report_blobs SET report_id = ?1 \
                     WHERE name = ?2 AND report_id IS NULL AND at > ?3";
                match self.execute(action, sql, params![report, name, MARKED])? {
                    1 => Ok(()),
                    _ => Err(StoreError::TakenTooLate(*name)),
                }
            }
        }
    }

    /// Marks blobs that are to be removed; gives some of all that are.
    fn mark_unnamed(&self, before: Timestamp) -> Result<Vec<BlobName>, StoreError> {
        let sql = "UPDATE report_blobs SET at = ?1 WHERE report_id IS NULL AND at < ?2";
        self.execute("mark blobs", sql, params![MARKED, Micros(before)])?;
        let sql = "SELECT name FROM report_blobs WHERE report_id IS NULL AND at = ?1 ORDER BY name LIMIT ?2";
        self.rows("look for marked blobs", sql, params![MARKED, CHUNK], |row| row.get(0))
    }

    fn forget_bodies(&self, names: &[BlobName]) -> Result<(), StoreError> {
        let sql = "DELETE FROM report_blobs WHERE name = ?1 AND report_id IS NULL AND at = ?2";
        for name in names {
            self.execute("forget a blob", sql, params![name, MARKED])?;
        }
        Ok(())
    }
}
