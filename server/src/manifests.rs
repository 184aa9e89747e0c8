//! Manifests as they are imported: each is read whole, and must be what it is said to
//! be, before it becomes a blob. A manifest that was imported is known, not accepted:
//! that is for groups to say.

use congruent_protocol::digest::Digest;
use congruent_protocol::manifest::{Manifest, ManifestError};

use crate::blobs::{Arrival, Arrived, BlobError, Blobs, MAX_BLOB_BYTES};

/// The largest manifest taken.
pub(crate) const MAX_MANIFEST_BYTES: u64 = MAX_BLOB_BYTES;

/// Why a manifest is not imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("cannot keep the manifest")]
    Keep(#[source] BlobError),
    #[error("cannot read back the manifest")]
    Read(#[source] std::io::Error),
    #[error("the manifest is over {limit} bytes, the limit of this collector")]
    TooLarge { limit: u64 },
    #[error("the manifest cannot be imported")]
    Manifest(#[source] ManifestError),
    #[error("the manifest has the root {found}, and was to be imported as {stated}")]
    OtherRoot { stated: Digest, found: Digest },
}

impl From<BlobError> for ImportError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::TooLarge { limit } => Self::TooLarge { limit },
            error => Self::Keep(error),
        }
    }
}

/// A manifest as it arrives.
pub(crate) struct Incoming(Arrival);

/// A manifest that is whole and has the root that it was to have, not yet in
/// its place.
pub(crate) struct Whole {
    pub(crate) manifest: Manifest,
    pub(crate) blob: Arrived,
}

impl Incoming {
    /// Begins one of at most `limit` bytes.
    pub(crate) fn begin(blobs: &Blobs, limit: u64) -> Result<Self, ImportError> {
        Ok(Self(blobs.arrive(limit)?))
    }

    /// Takes in more of it.
    pub(crate) fn take(&mut self, more: &[u8]) -> Result<(), ImportError> {
        Ok(self.0.take(more)?)
    }

    /// Reads it whole: it must be what it says, and have this root.
    pub(crate) fn finish(self, root: &Digest) -> Result<Whole, ImportError> {
        let mut blob = self.0.finish();
        let manifest = Manifest::read_unchecked(blob.file.as_file_mut()).map_err(|error| match error {
            ManifestError::Read(source) => ImportError::Read(source),
            error => ImportError::Manifest(error),
        })?;
        let found = manifest.predicate().root;
        if found != *root {
            return Err(ImportError::OtherRoot { stated: *root, found });
        }
        Ok(Whole { manifest, blob })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::blobs::{BlobName, BlobSettings};
    use crate::testing::{manifest, root_of};
    use congruent_protocol::digest::Algorithm;
    use congruent_protocol::key::SecretKey;

    async fn import(blobs: &Blobs, bytes: &[u8], limit: u64, root: &Digest) -> Result<Digest, String> {
        let whole = Incoming::begin(blobs, limit).and_then(|mut incoming| {
            for chunk in bytes.chunks(100) {
                incoming.take(chunk)?;
            }
            incoming.finish(root)
        });
        let Whole { blob, .. } = whole.map_err(|error| crate::ingest::chain_of(&error))?;
        let digest = blob.digest;
        blobs.put(BlobName::manifest(digest), blob).await.unwrap();
        Ok(digest)
    }

    #[tokio::test]
    async fn what_is_whole_is_kept_under_its_digest_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("manifests");
        let settings = BlobSettings::Directory(folder.clone());
        let blobs = Blobs::open(&settings).unwrap();
        let (good, root) = (manifest("1.4.2", &SecretKey::from_seed([1; 32])), root_of(&[]));
        let (size, other) = (good.len() as u64, Algorithm::Blake3.digest(b"other"));
        let longer = [&good[..], b"more"].concat();
        for (bytes, limit, root, says) in [
            (&good[..good.len() - 1], size, &root, "truncated"),
            (&good[..], size - 1, &root, "the limit of this collector"),
            (&good, size, &other, "was to be imported as"),
            (b"#!/bin/sh\n", size, &root, "not a congruent manifest"),
            (&longer, size + 4, &root, "4 bytes after its end"),
        ] {
            let error = import(&blobs, bytes, limit, root).await.unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "something is left of what was refused");
        let digest = import(&blobs, &good, size, &root).await.unwrap();
        assert_eq!(digest, Algorithm::Blake3.digest(&good));
        assert_eq!(import(&blobs, &good, size, &root).await, Ok(digest), "twice is as once");
        // The name that such files have always had.
        let path = folder.join(format!("blake3-{}.manifest", digest.to_hex()));
        assert_eq!(fs::read(path).unwrap(), good);
        fs::write(folder.join(".incoming-x"), "").unwrap();
        Blobs::open(&settings).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
