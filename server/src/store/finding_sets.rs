//! Sets of findings, by their digests: stored once, however many reports name them.

use super::sql::params;
use congruent_protocol::digest::Digest;
use congruent_protocol::drift::Finding;

use super::columns::{Packed, PackedBytes, Word};
use super::{StoreError, Tx, View};

impl View<'_> {
    /// The set with this digest.
    pub(crate) fn finding_set(&self, digest: &Digest) -> Result<Option<Vec<Finding>>, StoreError> {
        let sql = "SELECT body FROM finding_sets WHERE digest = ?1";
        let body = self.row("read a set of findings", sql, params![Word(digest)], |row| {
            row.get::<_, Packed<Vec<u8>>>(0)
        })?;
        let parse = |body: Packed<Vec<u8>>| serde_json::from_slice(&body.0);
        body.map(parse).transpose().map_err(|source| StoreError::Stored { what: "a set of findings", source })
    }
}

impl Tx<'_> {
    /// Keeps a set, where it is not kept yet.
    pub(crate) fn keep_finding_set(
        &self,
        digest: &Digest,
        count: u64,
        json: &PackedBytes,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO finding_sets (digest, count, body) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.execute("keep a set of findings", sql, params![Word(digest), count, json]).map(drop)
    }

    /// Keeps a set that was known when its report was read, in case it was removed since.
    pub(crate) fn keep_known_set(&self, digest: &Digest, findings: &[Finding]) -> Result<(), StoreError> {
        let sql = "SELECT 1 FROM finding_sets WHERE digest = ?1";
        let known = self.row("look for a set of findings", sql, params![Word(digest)], |_| Ok(()))?;
        if known.is_some() {
            return Ok(());
        }
        let json = serde_json::to_vec(findings).expect("findings always serialise");
        let sql = "INSERT INTO finding_sets (digest, count, body) VALUES (?1, ?2, ?3)";
        let values = params![Word(digest), findings.len(), Packed(json)];
        self.execute("keep a set of findings", sql, values).map(drop)
    }
}
