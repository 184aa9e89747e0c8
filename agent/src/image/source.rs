//! Where the bytes of an image's documents and blobs come from. What a source
//! gives is not checked; whoever reads it holds it to its digest.

use std::io::Read;

use super::digest::BlobDigest;
use super::document::Descriptor;
use super::error::ImageError;
use super::files::{Files, read_whole};

/// Where an image's parts are.
pub(crate) trait Source: Send + Sync {
    /// Opens an index or manifest.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, ImageError> {
        self.blob(&Place::Blob(descriptor.clone()))
    }

    /// Opens anything else.
    fn blob(&self, place: &Place) -> Result<Box<dyn Read + Send + '_>, ImageError>;
}

/// What a blob is known by.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Its digest.
    Blob(Descriptor),
    /// Its name in an archive, where nothing tells its digest.
    Member(String),
}

/// Checks that `bytes` are what `descriptor` names.
pub(super) fn check(bytes: &[u8], descriptor: &Descriptor, what: &str) -> Result<(), ImageError> {
    let found = bytes.len() as u64;
    if found != descriptor.size {
        return Err(ImageError::Size { what: what.to_owned(), stated: descriptor.size, found });
    }
    check_digest(bytes, descriptor.digest, what)
}

pub(super) fn check_digest(bytes: &[u8], stated: BlobDigest, what: &str) -> Result<(), ImageError> {
    stated.is_of(bytes).map_err(|found| ImageError::digest(what, stated, found))
}

/// Reads a document whole, and checks that it is the one that `descriptor` names.
pub(super) fn read_document(
    from: impl Read,
    descriptor: &Descriptor,
    what: &str,
    limit: u64,
) -> Result<Vec<u8>, ImageError> {
    if descriptor.size > limit {
        return Err(ImageError::TooLong { what: what.to_owned(), limit });
    }
    let bytes = read_whole(from, what, limit)?;
    check(&bytes, descriptor, what)?;
    Ok(bytes)
}

/// The blobs of an OCI layout, or of an archive that names members.
pub(super) struct Stored<F>(pub(super) F);

impl<F: Files> Source for Stored<F> {
    fn blob(&self, place: &Place) -> Result<Box<dyn Read + Send + '_>, ImageError> {
        let name = match place {
            Place::Blob(descriptor) => {
                format!("blobs/{}/{}", descriptor.digest.algorithm(), descriptor.digest.to_hex())
            }
            Place::Member(name) => name.clone(),
        };
        let opened = self.0.open(&name).map_err(ImageError::read(&name))?;
        opened.map(|file| file as Box<dyn Read + Send>).ok_or(ImageError::Missing { what: name })
    }
}
