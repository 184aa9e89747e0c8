//! Why an image could not be read.

use std::io;

use congruent_protocol::digest::Digest;

use super::digest::BlobDigest;
use super::document::DocumentError;
use super::platform::Platform;
use super::registry::RegistryError;

/// Why an image could not be read. `what` names the part of it that an error is about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error("cannot read {what}")]
    Read {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("{what} is not there")]
    Missing { what: String },
    #[error("{what} is over {limit} bytes long, which is more than is read of its kind")]
    TooLong { what: String, limit: u64 },
    #[error("cannot use {what}")]
    Document {
        what: String,
        #[source]
        source: DocumentError,
    },
    #[error(
        "{what} is not what its digest names: it is to be {stated}, and is {found}; it was altered where it lies: \
         get the image anew"
    )]
    Digest { what: String, stated: Box<BlobDigest>, found: Box<BlobDigest> },
    #[error(
        "{what} is to be {stated} bytes long, and is {found}; it was altered where it lies: get the image anew"
    )]
    Size { what: String, stated: u64, found: u64 },
    #[error(
        "{what} unpacks to {found}, and the image's configuration names {stated}: the image was made so, and make it anew"
    )]
    DiffId { what: String, stated: Digest, found: Digest },
    #[error("{what} has more than the {stated} bytes that it is to have")]
    Longer { what: String, stated: u64 },
    #[error("{what} cannot be unpacked")]
    Unpack {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("{what} is said to be {said}, and begins like {found}")]
    Packing { what: String, said: &'static str, found: &'static str },
    #[error("{what} comes to more than {limit} bytes when it is unpacked, which is the limit")]
    Bomb { what: String, limit: u64 },
    #[error("{what} cannot be used: {why}")]
    Refused { what: String, why: String },
    #[error("there is no image here")]
    NoImage,
    #[error("there are several images here; say which one, as :TAG after the name: {}", .tags.join(", "))]
    Ambiguous { tags: Vec<String> },
    #[error("no image here has the tag {tag:?}; there are: {}", .tags.join(", "))]
    NoTag { tag: String, tags: Vec<String> },
    #[error("there is no image for {wanted} here, but for: {}", list(.there))]
    NoPlatform { wanted: Platform, there: Vec<Platform> },
    #[error("there are several images for {0} here")]
    SamePlatform(Platform),
    #[error("indexes name each other too deep, or name over {0} images")]
    TooDeep(usize),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl ImageError {
    pub(super) fn document(what: impl Into<String>) -> impl FnOnce(DocumentError) -> Self {
        let what = what.into();
        |source| Self::Document { what, source }
    }

    pub(super) fn digest(what: impl Into<String>, stated: BlobDigest, found: BlobDigest) -> Self {
        Self::Digest { what: what.into(), stated: Box::new(stated), found: Box::new(found) }
    }

    pub(super) fn read(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Read { what, source }
    }
}

fn list(platforms: &[Platform]) -> String {
    let told: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    told.join(", ")
}
