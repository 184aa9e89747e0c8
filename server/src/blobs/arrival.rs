//! Blobs on their way in: each in a file without a name of its own, until it is whole.
//!
//! The file is locked while it arrives, so that another collector on this machine that
//! clears the folder at its start does not take it for something left by a crash.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use congruent_protocol::digest::{Algorithm, Digest, Hasher};
use tempfile::NamedTempFile;

use super::BlobError;

/// What files that arrive are called.
const INCOMING: &str = ".incoming-";

/// A blob as it arrives.
pub(crate) struct Arrival {
    folder: PathBuf,
    file: NamedTempFile,
    hasher: Hasher,
    bytes: u64,
    limit: u64,
}

/// A blob that is whole, not yet in its place.
pub(crate) struct Arrived {
    pub(crate) file: NamedTempFile,
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

impl Arrival {
    /// Begins one of at most `limit` bytes in `folder`, to be named by a digest of this
    /// algorithm.
    pub(super) fn begin(algorithm: Algorithm, folder: &Path, limit: u64) -> Result<Self, BlobError> {
        make(folder)?;
        let local = |source| BlobError::Local { folder: folder.to_owned(), source };
        // Open to nobody else, as these files always are.
        let file = NamedTempFile::with_prefix_in(INCOMING, folder).map_err(local)?;
        file.as_file().lock().map_err(local)?;
        Ok(Self { folder: folder.to_owned(), file, hasher: algorithm.hasher(), bytes: 0, limit })
    }

    /// Takes in more of it.
    pub(crate) fn take(&mut self, more: &[u8]) -> Result<(), BlobError> {
        self.bytes += more.len() as u64;
        if self.bytes > self.limit {
            return Err(BlobError::TooLarge { limit: self.limit });
        }
        self.hasher.update(more);
        self.file.write_all(more).map_err(|source| BlobError::Local { folder: self.folder.clone(), source })
    }

    /// It is whole.
    pub(crate) fn finish(self) -> Arrived {
        Arrived { file: self.file, digest: self.hasher.finish(), bytes: self.bytes }
    }
}

/// Makes the folder where it is missing.
pub(super) fn make(folder: &Path) -> Result<(), BlobError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| BlobError::Local { folder: folder.to_owned(), source })
}

/// Removes what was left of arrivals that were cut off by a crash.
pub(super) fn clear(folder: &Path) -> Result<(), BlobError> {
    let cleared =
        fs::read_dir(folder).and_then(|mut entries| entries.try_for_each(|entry| clear_one(&entry?)));
    cleared.map_err(|source| BlobError::Local { folder: folder.to_owned(), source })
}

fn clear_one(entry: &fs::DirEntry) -> io::Result<()> {
    if !entry.file_name().as_encoded_bytes().starts_with(INCOMING.as_bytes()) {
        return Ok(());
    }
    let file = match File::open(entry.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    match fs::remove_file(entry.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
