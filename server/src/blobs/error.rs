//! Why a blob cannot be had or kept. Each names the thing and the mend; none is a
//! verdict.

use std::path::PathBuf;

use congruent_protocol::digest::Digest;

use super::name::mend;

/// Why a blob cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    #[error("cannot use the bucket; look at `[blobs]` in the configuration")]
    Settings(#[source] Box<object_store::Error>),
    #[error("cannot {action} {blob}; try again when its store is reached")]
    Unreachable {
        action: &'static str,
        blob: String,
        #[source]
        source: Box<object_store::Error>,
    },
    #[error(
        "the store does not let this collector {action} {blob}; look at `access-key-id`, \
         `secret-access-key-file`, `region` and at what the key may do"
    )]
    Denied {
        action: &'static str,
        blob: String,
        #[source]
        source: Box<object_store::Error>,
    },
    #[error(
        "cannot {action} {blob}: there is no such bucket; make it, or mend `url` and `endpoint` in `[blobs]`"
    )]
    NoBucket {
        action: &'static str,
        blob: String,
        #[source]
        source: Box<object_store::Error>,
    },
    #[error("{blob} is missing; {}", mend(.blob))]
    Missing { blob: String },
    #[error(
        "{blob} is not what its name says: it was cut or changed, and has the digest {found}; it is not used; {}",
        mend(.blob)
    )]
    Damaged { blob: String, found: Digest },
    #[error("the blob is over {limit} bytes, the limit of this collector")]
    TooLarge { limit: u64 },
    #[error("cannot keep or read files in {}", .folder.display())]
    Local {
        folder: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the collector failed")]
    Ended,
}

impl BlobError {
    /// Whether nobody has the blob, as far as its store says; what is only away comes back.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Damaged { .. })
    }

    /// Whether there was no room on this machine's disk.
    pub(crate) fn is_full(&self) -> bool {
        let Self::Local { source, .. } = self else { return false };
        matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
    }

    /// What it means that the store refused or failed to `action` this blob.
    pub(super) fn of(action: &'static str, blob: String, error: object_store::Error) -> Self {
        let source = Box::new(error);
        match &*source {
            object_store::Error::NotFound { .. } if action == "read" => Self::Missing { blob },
            object_store::Error::NotFound { .. } => Self::NoBucket { action, blob, source },
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Self::Denied { action, blob, source }
            }
            // What a listing is refused for, the library gives as text alone.
            error if error.to_string().contains("403 Forbidden") => Self::Denied { action, blob, source },
            error if error.to_string().contains("404 Not Found") => Self::NoBucket { action, blob, source },
            _ => Self::Unreachable { action, blob, source },
        }
    }
}

/// Why a file did not get to its store.
pub(super) enum SendError {
    File(std::io::Error),
    Store(object_store::Error),
}

impl SendError {
    pub(super) fn during(self, action: &'static str, blob: impl Fn() -> String) -> BlobError {
        match self {
            Self::File(source) => BlobError::Local { folder: PathBuf::from(blob()), source },
            Self::Store(error) => BlobError::of(action, blob(), error),
        }
    }
}
