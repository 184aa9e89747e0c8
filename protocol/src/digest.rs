//! Digests, with the algorithm that made them.
//!
//! Text form: `blake3:` and 64 lower-case hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The number of bytes in every digest.
pub const DIGEST_BYTES: usize = 32;

/// What computes a digest. One is named in each manifest and serves content and
/// tree alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// BLAKE3 with 32 bytes of output.
    Blake3,
}

impl Algorithm {
    /// The name as it stands in text forms.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
        }
    }

    /// An empty hasher.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Blake3 => Hasher(Box::new(blake3::Hasher::new())),
        }
    }

    /// The digest of `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        match self {
            Self::Blake3 => Digest { algorithm: self, bytes: *blake3::hash(bytes).as_bytes() },
        }
    }
}

/// A digest under way.
#[derive(Clone)]
pub struct Hasher(Box<blake3::Hasher>);

impl Hasher {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes so far.
    pub fn finish(&self) -> Digest {
        Digest { algorithm: Algorithm::Blake3, bytes: *self.0.finalize().as_bytes() }
    }

    /// Begins again with no bytes.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

/// 32 bytes that stand for content, a tree, or a document.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    bytes: [u8; DIGEST_BYTES],
}

/// Why text is not a [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a digest; expected \"blake3:\" and 64 lower-case hexadecimal digits")]
pub struct DigestError(String);

impl Digest {
    /// A digest from its parts.
    pub fn new(algorithm: Algorithm, bytes: [u8; DIGEST_BYTES]) -> Self {
        Self { algorithm, bytes }
    }

    /// What computed it.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; DIGEST_BYTES] {
        &self.bytes
    }

    /// Its bytes in hexadecimal, without the algorithm.
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let error = || DigestError(text.chars().take(100).collect());
        let hex = text.strip_prefix("blake3:").ok_or_else(error)?;
        let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|_| error())?;
        let bytes = bytes.try_into().map_err(|_| error())?;
        Ok(Self { algorithm: Algorithm::Blake3, bytes })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_frozen() {
        let digest = Algorithm::Blake3.digest(b"");
        let text = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
    }

    #[test]
    fn other_text_is_refused() {
        let upper = format!("blake3:{}", "A".repeat(64));
        for bad in ["", "blake3:", "blake3:00", "md5:00", &upper] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?}");
        }
    }
}
