//! Blobs in a directory of this machine.

use std::fs::File;
use std::path::Path;

use object_store::local::LocalFileSystem;

use super::{Arrived, BlobError, BlobName, arrival};

/// The directory, made where it is missing, and without what a crash left.
pub(super) fn open(folder: &Path) -> Result<LocalFileSystem, BlobError> {
    arrival::make(folder)?;
    arrival::clear(folder)?;
    LocalFileSystem::new_with_prefix(folder)
        .map_err(|error| BlobError::of("open", folder.display().to_string(), error))
}

/// Puts a blob in its place: the file is synced, renamed, and then the folder synced.
///
/// Not by the library's put, which would write all of it a second time: the file that
/// it arrived in lies beside its place already.
pub(super) fn keep(folder: &Path, name: BlobName, arrived: Arrived) -> Result<(), BlobError> {
    let local = |source| BlobError::Local { folder: folder.to_owned(), source };
    arrived.file.as_file().sync_all().map_err(local)?;
    arrived.file.persist(folder.join(name.to_string())).map_err(|error| local(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(local)
}
