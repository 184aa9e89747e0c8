//! The manifests that were imported, as far as the store has them: their files
//! lie in a folder.

use super::sql::{Row, SqlResult, params};
use congruent_protocol::digest::Digest;
use congruent_protocol::manifest::ManifestKind;
use jiff::Timestamp;

use super::columns::{Json, Micros, Word};
use super::{StoreError, Tx, View};

/// An imported manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManifestRow {
    /// The digest of its file.
    pub(crate) digest: Digest,
    /// Its tree root.
    pub(crate) root: Digest,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) kind: ManifestKind,
    /// The size of its file.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    /// The keys that its signatures name. Nobody checked them.
    pub(crate) claimed: Vec<String>,
    pub(crate) baked_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) imported_at: Timestamp,
    pub(crate) imported_by: String,
    pub(crate) withdrawn_at: Option<Timestamp>,
    pub(crate) withdrawn_by: Option<String>,
}

impl ManifestRow {
    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        let time = |column| row.get::<_, Option<Micros>>(column).map(|time| time.map(|time| time.0));
        Ok(Self {
            digest: row.get::<_, Word<_>>("digest")?.0,
            root: row.get::<_, Word<_>>("root")?.0,
            name: row.get("name")?,
            version: row.get("version")?,
            kind: row.get::<_, Word<_>>("kind")?.0,
            bytes: row.get("bytes")?,
            entries: row.get("entries")?,
            claimed: row.get::<_, Json<_>>("claimed")?.0,
            baked_at: row.get::<_, Micros>("baked_at")?.0,
            expires_at: time("expires_at")?,
            imported_at: row.get::<_, Micros>("imported_at")?.0,
            imported_by: row.get("imported_by")?,
            withdrawn_at: time("withdrawn_at")?,
            withdrawn_by: row.get("withdrawn_by")?,
        })
    }
}

impl View<'_> {
    /// The newest imports, the newest first.
    pub(crate) fn manifests(&self, limit: usize) -> Result<Vec<ManifestRow>, StoreError> {
        let sql = "SELECT * FROM manifests ORDER BY imported_at DESC, digest LIMIT ?1";
        self.rows("read the manifests", sql, params![limit], ManifestRow::from_row)
    }

    /// Those with this root, or the one whose file has this digest: first those
    /// that were not withdrawn, the newest first.
    pub(crate) fn manifests_named(&self, id: &Digest) -> Result<Vec<ManifestRow>, StoreError> {
        let sql = "SELECT * FROM manifests WHERE digest = ?1 OR root = ?1 \
             ORDER BY withdrawn_at IS NOT NULL, imported_at DESC, digest";
        self.rows("look up a manifest", sql, params![Word(*id)], ManifestRow::from_row)
    }

    /// The one whose file has this digest.
    pub(crate) fn manifest(&self, digest: &Digest) -> Result<Option<ManifestRow>, StoreError> {
        let sql = "SELECT * FROM manifests WHERE digest = ?1";
        self.row("read a manifest", sql, params![Word(*digest)], ManifestRow::from_row)
    }
}

impl Tx<'_> {
    /// Puts a manifest in whose file is in its place.
    pub(crate) fn insert_manifest(&self, row: &ManifestRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO manifests (digest, root, name, version, kind, bytes, entries, claimed, \
             baked_at, expires_at, imported_at, imported_by) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let values = params![
            Word(row.digest),
            Word(row.root),
            row.name,
            row.version,
            Word(row.kind),
            row.bytes,
            row.entries,
            Json(&row.claimed),
            Micros(row.baked_at),
            row.expires_at.map(Micros),
            Micros(row.imported_at),
            row.imported_by
        ];
        self.execute("put in a manifest", sql, values).map(drop)
    }

    /// Notes that no group may accept a manifest any more, or, without a time,
    /// that groups may again.
    pub(crate) fn set_withdrawn(
        &self,
        digest: &Digest,
        withdrawn: Option<(Timestamp, &str)>,
    ) -> Result<(), StoreError> {
        let (at, by) = withdrawn.unzip();
        let sql = "UPDATE manifests SET withdrawn_at = ?2, withdrawn_by = ?3 WHERE digest = ?1";
        self.execute("withdraw a manifest", sql, params![Word(*digest), at.map(Micros), by]).map(drop)
    }
}
