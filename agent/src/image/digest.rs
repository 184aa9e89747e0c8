//! Digests as images have them: `sha256:` or `sha512:`, and lower-case hexadecimal
//! digits. Others are refused by name, since what cannot be checked is not read.

use std::fmt;
use std::str::FromStr;

use congruent_protocol::digest::{Algorithm, Digest};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// The digest of a blob, a manifest or a configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobDigest {
    /// SHA-256, which nearly all images use.
    Sha256([u8; 32]),
    /// SHA-512.
    Sha512([u8; 64]),
}

/// Why text is not a [`BlobDigest`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobDigestError {
    /// It names what we do not compute.
    #[error("the digest algorithm {0:?} is unknown; images are checked by sha256 and sha512")]
    Algorithm(String),
    /// Not an algorithm and its digits.
    #[error("{0:?} is not a digest; expected \"sha256:\" or \"sha512:\" and lower-case hexadecimal digits")]
    Malformed(String),
}

impl BlobDigest {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::Sha256(Sha256::digest(bytes).into())
    }

    /// The algorithm's name.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }

    /// Its hexadecimal digits.
    pub fn to_hex(self) -> String {
        match self {
            Self::Sha256(bytes) => HEXLOWER.encode(&bytes),
            Self::Sha512(bytes) => HEXLOWER.encode(&bytes),
        }
    }

    /// An empty hasher of the same algorithm.
    pub(crate) fn hasher(&self) -> BlobHasher {
        match self {
            Self::Sha256(_) => BlobHasher::Sha256(Sha256::new()),
            Self::Sha512(_) => BlobHasher::Sha512(Sha512::new()),
        }
    }

    /// Whether it is the digest of `bytes`.
    pub(crate) fn is_of(&self, bytes: &[u8]) -> Result<(), Self> {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        match hasher.finish() {
            found if found == *self => Ok(()),
            found => Err(found),
        }
    }

    /// The same as manifests record it, where it is a SHA-256.
    pub(crate) fn recorded(&self) -> Option<Digest> {
        match self {
            Self::Sha256(bytes) => Some(Digest::new(Algorithm::Sha256, *bytes)),
            Self::Sha512(_) => None,
        }
    }
}

/// A digest under way.
pub(crate) enum BlobHasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl BlobHasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> BlobDigest {
        match self {
            Self::Sha256(hasher) => BlobDigest::Sha256(hasher.finalize().into()),
            Self::Sha512(hasher) => BlobDigest::Sha512(hasher.finalize().into()),
        }
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.to_hex())
    }
}

impl fmt::Debug for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlobDigest {
    type Err = BlobDigestError;

    fn from_str(text: &str) -> Result<Self, BlobDigestError> {
        let shown = || text.chars().take(150).collect();
        let malformed = || BlobDigestError::Malformed(shown());
        let (algorithm, hex) = text.split_once(':').ok_or_else(malformed)?;
        let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|_| malformed());
        match algorithm {
            "sha256" => bytes?.try_into().map(Self::Sha256).map_err(|_| malformed()),
            "sha512" => bytes?.try_into().map(Self::Sha512).map_err(|_| malformed()),
            _ => Err(BlobDigestError::Algorithm(algorithm.chars().take(150).collect())),
        }
    }
}

impl Serialize for BlobDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_digest_or_is_refused_by_name() {
        let sha256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256.parse(), Ok(BlobDigest::of(b"")));
        assert_eq!(BlobDigest::of(b"").to_string(), sha256);
        let sha512 = format!("sha512:{}", HEXLOWER.encode(&Sha512::digest(b"")));
        let parsed: BlobDigest = sha512.parse().expect("a digest");
        assert_eq!(
            (parsed.to_string(), parsed.is_of(b""), parsed.recorded()),
            (sha512.clone(), Ok(()), None)
        );
        for (bad, is_unknown) in [
            ("", false),
            ("sha256:", false),
            ("sha256:e3b0", false),
            (&sha256.to_uppercase().replace("SHA", "sha"), false),
            (&sha512.replace("sha512", "sha256"), false),
            ("blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262", true),
            ("md5:d41d8cd98f00b204e9800998ecf8427e", true),
            ("sha256/../x:00", true),
        ] {
            let error = bad.parse::<BlobDigest>().expect_err(bad);
            assert_eq!(matches!(error, BlobDigestError::Algorithm(_)), is_unknown, "{bad}");
        }
    }
}
