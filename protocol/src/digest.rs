//! Digests, with the algorithm that made them.
//!
//! Text form: `blake3:` or `sha256:` and 64 lower-case hexadecimal digits; of a
//! digest that is keyed per node, `keyed-blake3:` or `keyed-sha256:`.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The number of bytes in every digest.
pub const DIGEST_BYTES: usize = 32;
/// What stands before the algorithm's name where a digest is keyed.
const KEYED_PREFIX: &str = "keyed-";

/// What computes a digest. One is named in each manifest and serves content and
/// tree alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// BLAKE3 with 32 bytes of output.
    Blake3,
    /// SHA-256 of FIPS 180-4, where policy demands an approved function.
    Sha256,
}

impl Algorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 2] = [Self::Blake3, Self::Sha256];

    /// The name as it stands in text forms.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Sha256 => "sha256",
        }
    }

    /// An empty hasher.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Blake3 => Hasher::Blake3(Box::new(blake3::Hasher::new())),
            Self::Sha256 => Hasher::Sha256(Sha256::new()),
        }
    }

    /// The digest of `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let bytes = match self {
            Self::Blake3 => *blake3::hash(bytes).as_bytes(),
            Self::Sha256 => Sha256::digest(bytes).into(),
        };
        Digest::new(self, bytes)
    }
}

/// A digest under way.
#[derive(Clone)]
pub enum Hasher {
    /// Of BLAKE3; boxed, since its state is 2 KB.
    Blake3(Box<blake3::Hasher>),
    /// Of SHA-256.
    Sha256(Sha256),
}

impl Hasher {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(hasher) => drop(hasher.update(bytes)),
            Self::Sha256(hasher) => sha2::Digest::update(hasher, bytes),
        }
    }

    /// The digest of all bytes so far.
    pub fn finish(&self) -> Digest {
        match self {
            Self::Blake3(hasher) => Digest::new(Algorithm::Blake3, *hasher.finalize().as_bytes()),
            Self::Sha256(hasher) => Digest::new(Algorithm::Sha256, hasher.clone().finalize().into()),
        }
    }

    /// Begins again with no bytes.
    pub fn reset(&mut self) {
        match self {
            Self::Blake3(hasher) => drop(hasher.reset()),
            Self::Sha256(hasher) => sha2::Digest::reset(hasher),
        }
    }
}

/// The key of one node, under which the digests of sensitive content are
/// reported. It never leaves the node.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentKey([u8; DIGEST_BYTES]);

impl ContentKey {
    /// The key of these 32 random bytes.
    pub fn new(bytes: [u8; DIGEST_BYTES]) -> Self {
        Self(bytes)
    }
}

/// 32 bytes that stand for content, a tree, or a document.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    keyed: bool,
    bytes: [u8; DIGEST_BYTES],
}

/// Why text is not a [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a digest; expected \"blake3:\" or \"sha256:\" and 64 lower-case hexadecimal digits")]
pub struct DigestError(String);

impl Digest {
    /// A digest from its parts.
    pub fn new(algorithm: Algorithm, bytes: [u8; DIGEST_BYTES]) -> Self {
        Self { algorithm, keyed: false, bytes }
    }

    /// What computed it.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it says something only to whoever has the node's key.
    pub fn is_keyed(&self) -> bool {
        self.keyed
    }

    /// This digest under a node's key: BLAKE3's keyed mode, or HMAC-SHA-256
    /// (RFC 2104), over its 32 bytes.
    #[must_use]
    pub fn keyed(&self, key: &ContentKey) -> Self {
        let bytes = match self.algorithm {
            Algorithm::Blake3 => *blake3::keyed_hash(&key.0, &self.bytes).as_bytes(),
            Algorithm::Sha256 => {
                let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes a key of any length");
                mac.update(&self.bytes);
                mac.finalize().into_bytes().into()
            }
        };
        Self { algorithm: self.algorithm, keyed: true, bytes }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; DIGEST_BYTES] {
        &self.bytes
    }

    /// Its bytes in hexadecimal, without the algorithm.
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.bytes)
    }

    /// It as JSON has it. Put together by hand: reports hold many.
    fn text(&self) -> String {
        let mut text = String::with_capacity(KEYED_PREFIX.len() + "sha256:".len() + 2 * DIGEST_BYTES);
        text.push_str(if self.keyed { KEYED_PREFIX } else { "" });
        text.push_str(self.algorithm.name());
        text.push(':');
        HEXLOWER.encode_append(&self.bytes, &mut text);
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
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
        let (name, hex) = text.split_once(':').ok_or_else(error)?;
        let plain_name = name.strip_prefix(KEYED_PREFIX);
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == plain_name.unwrap_or(name))
            .ok_or_else(error)?;
        let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|_| error())?;
        let bytes = bytes.try_into().map_err(|_| error())?;
        Ok(Self { algorithm, keyed: plain_name.is_some(), bytes })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
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
    fn text_forms_are_frozen() {
        let key = ContentKey::new([7; 32]);
        for (algorithm, plain, keyed) in [
            (
                Algorithm::Blake3,
                "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
                "keyed-blake3:0c9b9033f7286917c19d27b99c737be76a4a267776721ae7ab2e53db1f4f55e4",
            ),
            (
                Algorithm::Sha256,
                "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "keyed-sha256:4cd4b2cfd63244688f30537f47811a9d9448145e4c51428a230248642f91dfd5",
            ),
        ] {
            let digest = algorithm.digest(b"");
            assert_eq!((digest.to_string().as_str(), plain.parse()), (plain, Ok(digest)));
            assert_eq!(algorithm.hasher().finish(), digest);
            let under_key = digest.keyed(&key);
            assert_eq!((under_key.to_string().as_str(), keyed.parse()), (keyed, Ok(under_key)));
            assert!(under_key.is_keyed() && under_key != digest);
        }
    }

    #[test]
    fn other_text_is_refused() {
        let upper = format!("blake3:{}", "A".repeat(64));
        let twice = format!("keyed-keyed-blake3:{}", "0".repeat(64));
        for bad in ["", "blake3:", "blake3:00", "md5:00", &upper, &twice] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?}");
        }
    }
}
