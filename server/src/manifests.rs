//! The folder of imported manifests: content-addressed, each file whole and
//! synced before it has its name. A manifest here is known, not accepted: that
//! is for groups to say.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use congruent_protocol::digest::{Algorithm, Digest, Hasher};
use congruent_protocol::manifest::{Manifest, ManifestError};
use tempfile::NamedTempFile;

/// The largest manifest taken: of a million entries it has some 100 MB.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 1 << 30;

/// Why a manifest is not imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("cannot keep the manifest in {}", .folder.display())]
    Keep {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the manifest is over {limit} bytes, the limit of this collector")]
    TooLarge { limit: u64 },
    #[error("the manifest cannot be imported")]
    Manifest(#[source] ManifestError),
    #[error("the manifest has the root {found}, and was to be imported as {stated}")]
    OtherRoot { stated: Digest, found: Digest },
}

/// Where the manifest whose file has this digest lies.
pub(crate) fn path_of(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join(format!("{}-{}.manifest", digest.algorithm().name(), digest.to_hex()))
}

/// A manifest as it arrives.
pub(crate) struct Incoming {
    folder: PathBuf,
    file: NamedTempFile,
    hasher: Hasher,
    bytes: u64,
    limit: u64,
}

/// A manifest that is whole and has the root that it was to have, not yet in
/// its place.
pub(crate) struct Whole {
    pub(crate) digest: Digest,
    pub(crate) manifest: Manifest,
    pub(crate) bytes: u64,
    folder: PathBuf,
    file: NamedTempFile,
}

impl Incoming {
    /// Begins one of at most `limit` bytes, and makes the folder where it is missing.
    pub(crate) fn begin(folder: &Path, limit: u64) -> Result<Self, ImportError> {
        let keep = |source| ImportError::Keep { folder: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(keep)?;
        // Open to nobody else, as these files always are.
        let file = NamedTempFile::with_prefix_in(".incoming-", folder).map_err(keep)?;
        let hasher = Algorithm::Blake3.hasher();
        Ok(Self { folder: folder.to_owned(), file, hasher, bytes: 0, limit })
    }

    /// Takes in more of it.
    pub(crate) fn take(&mut self, more: &[u8]) -> Result<(), ImportError> {
        self.bytes += more.len() as u64;
        if self.bytes > self.limit {
            return Err(ImportError::TooLarge { limit: self.limit });
        }
        self.hasher.update(more);
        let folder = &self.folder;
        let keep = |source| ImportError::Keep { folder: folder.clone(), source };
        self.file.write_all(more).map_err(keep)
    }

    /// Reads it whole: it must be what it says, and have this root.
    pub(crate) fn finish(mut self, root: &Digest) -> Result<Whole, ImportError> {
        let manifest = Manifest::read_unchecked(self.file.as_file_mut()).map_err(|error| match error {
            ManifestError::Read(source) => ImportError::Keep { folder: self.folder.clone(), source },
            error => ImportError::Manifest(error),
        })?;
        let found = manifest.predicate().root;
        if found != *root {
            return Err(ImportError::OtherRoot { stated: *root, found });
        }
        let Self { folder, file, hasher, bytes, .. } = self;
        Ok(Whole { digest: hasher.finish(), manifest, bytes, folder, file })
    }
}

impl Whole {
    /// Puts it in its place: the file is synced, renamed, and then the folder
    /// synced. One that is there already is the same.
    pub(crate) fn keep(self) -> Result<(), ImportError> {
        let Self { digest, folder, file, .. } = self;
        let keep = |source| ImportError::Keep { folder: folder.clone(), source };
        file.as_file().sync_all().map_err(keep)?;
        file.persist(path_of(&folder, &digest)).map_err(|error| keep(error.error))?;
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(keep)
    }
}

/// Removes what was left of imports that were cut off by a crash.
pub(crate) fn clear_incoming(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".incoming-") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{manifest, root_of};
    use congruent_protocol::key::SecretKey;

    fn import(folder: &Path, bytes: &[u8], limit: u64, root: &Digest) -> Result<Digest, String> {
        let whole = Incoming::begin(folder, limit).and_then(|mut incoming| {
            for chunk in bytes.chunks(100) {
                incoming.take(chunk)?;
            }
            incoming.finish(root)
        });
        let kept = whole.and_then(|whole| {
            let digest = whole.digest;
            whole.keep().map(|()| digest)
        });
        kept.map_err(|error| crate::ingest::chain_of(&error))
    }

    #[test]
    fn what_is_whole_is_kept_under_its_digest_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("manifests");
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
            let error = import(&folder, bytes, limit, root).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "something is left of what was refused");
        let digest = import(&folder, &good, size, &root).unwrap();
        assert_eq!(digest, Algorithm::Blake3.digest(&good));
        assert_eq!(import(&folder, &good, size, &root), Ok(digest), "twice is as once");
        assert_eq!(fs::read(path_of(&folder, &digest)).unwrap(), good);
        fs::write(folder.join(".incoming-x"), "").unwrap();
        clear_incoming(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
