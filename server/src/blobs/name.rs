//! What a blob is called: the digest of its bytes, and what it is.
//!
//! Equal manifests are one blob. No two reports are, even of equal bytes: each name has a
//! number that is made for it, so that whoever removes a report's blob by its name removes
//! nothing that was put since.

use std::fmt;

use congruent_protocol::digest::Digest;

const MANIFEST: &str = ".manifest";
const REPORT: &str = ".report";

/// The name of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlobName {
    digest: Digest,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Manifest,
    Report { number: u64 },
}

impl BlobName {
    /// The manifest whose file has this digest.
    pub(crate) fn manifest(digest: Digest) -> Self {
        Self { digest, kind: Kind::Manifest }
    }

    /// The body of a report that has this digest as it is kept; the number was never used
    /// before.
    pub(crate) fn report(digest: Digest, number: u64) -> Self {
        Self { digest, kind: Kind::Report { number } }
    }

    /// The digest of its bytes.
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Reads a name as it is written, and no other spelling of it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digest = |text: &str| text.replacen('-', ":", 1).parse().ok();
        let name = match text.strip_suffix(REPORT) {
            None => Self::manifest(digest(text.strip_suffix(MANIFEST)?)?),
            Some(rest) => {
                let (named, number) = rest.split_once('.')?;
                Self::report(digest(named)?, u64::from_str_radix(number, 16).ok()?)
            }
        };
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.digest.algorithm().name(), self.digest.to_hex())?;
        match self.kind {
            Kind::Manifest => f.write_str(MANIFEST),
            Kind::Report { number } => write!(f, ".{number:016x}{REPORT}"),
        }
    }
}

/// What to do where the blob that is shown so is missing or damaged.
pub(super) fn mend(shown: &str) -> &'static str {
    if shown.ends_with(REPORT) {
        "restore it from a backup"
    } else {
        "restore it from a backup, or import the manifest again"
    }
}
