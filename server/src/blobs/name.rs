//! What a blob is called: the digest of its bytes, and what it is.

use std::fmt;

use congruent_protocol::digest::Digest;

const MANIFEST: &str = ".manifest";

/// The name of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlobName {
    digest: Digest,
    /// What it is, as files' names say it.
    ending: &'static str,
}

impl BlobName {
    /// The manifest whose file has this digest.
    pub(crate) fn manifest(digest: Digest) -> Self {
        Self { digest, ending: MANIFEST }
    }

    /// The digest of its bytes.
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Reads a name as it is written, and no other spelling of it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digest = text.strip_suffix(MANIFEST)?.replacen('-', ":", 1).parse().ok()?;
        let name = Self::manifest(digest);
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{}", self.digest.algorithm().name(), self.digest.to_hex(), self.ending)
    }
}
