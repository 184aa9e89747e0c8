//! Ed25519 keys in PKCS#8 and SPKI PEM, as OpenSSL writes them.

use std::fmt;

use data_encoding::HEXLOWER;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
    spki::der::pem::LineEnding,
};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::path::escape;

/// A key's fingerprint: `sha256:` and the digest, in hexadecimal, of its SPKI in DER.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why text is not a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a private key.
    #[error(
        "{0}, not an Ed25519 private key in PKCS#8 PEM; `congruent keygen` and `openssl genpkey -algorithm ed25519` make one"
    )]
    Secret(String),
    /// Not a public key.
    #[error(
        "{0}, not an Ed25519 public key in PEM; `openssl pkey -in KEY.pem -pubout` writes one from a private key"
    )]
    Public(String),
}

/// What a text is instead of the key that was asked for, by its PEM label.
fn describe(text: &str, wanted: &str) -> String {
    let label = text.split("-----BEGIN ").nth(1).and_then(|rest| rest.split("-----").next());
    match label {
        None => "this is not PEM".to_owned(),
        Some(label) if label == wanted && text.matches("-----BEGIN ").count() > 1 => {
            "this holds more than one key".to_owned()
        }
        Some(label) if label == wanted => "this is a key of another algorithm, or damaged".to_owned(),
        Some(label) => format!("this is a PEM of {:?}", escape(&label.as_bytes()[..label.len().min(60)])),
    }
}

/// A key that signs.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key whose seed is 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads PKCS#8 PEM.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(pem).map(Self).map_err(|_| KeyError::Secret(describe(pem, "PRIVATE KEY")))
    }

    /// Writes PKCS#8 PEM, the same bytes that OpenSSL writes for this key: the
    /// version without the public half, which older OpenSSL cannot read.
    pub fn to_pem(&self) -> String {
        let bytes = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        bytes.to_pkcs8_pem(LineEnding::LF).expect("32 bytes always encode").to_string()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// A key that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads SPKI PEM.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        VerifyingKey::from_public_key_pem(pem)
            .map(Self)
            .map_err(|_| KeyError::Public(describe(pem, "PUBLIC KEY")))
    }

    /// Reads SPKI in DER.
    ///
    /// # Errors
    /// When the bytes are anything else.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        VerifyingKey::from_public_key_der(der)
            .map(Self)
            .map_err(|_| KeyError::Public("other bytes".to_owned()))
    }

    /// Writes SPKI in DER.
    pub fn to_spki(&self) -> Vec<u8> {
        self.0.to_public_key_der().expect("32 bytes always encode").into_vec()
    }

    /// Writes SPKI PEM.
    pub fn to_pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).expect("32 bytes always encode")
    }

    /// Its fingerprint.
    pub fn id(&self) -> KeyId {
        let spki = self.0.to_public_key_der().expect("32 bytes always encode");
        KeyId(format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(spki.as_bytes()))))
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|s| self.0.verify_strict(message, &s).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Written by `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`.
    const OPENSSL_SECRET: &str = include_str!("../vectors/openssl-ed25519.pem");
    const OPENSSL_PUBLIC: &str = include_str!("../vectors/openssl-ed25519.pub.pem");

    #[test]
    fn openssl_keys_round_trip_to_the_byte() {
        let secret = SecretKey::from_pem(OPENSSL_SECRET).unwrap();
        let public = PublicKey::from_pem(OPENSSL_PUBLIC).unwrap();
        assert_eq!(secret.public(), public);
        assert_eq!(secret.to_pem(), OPENSSL_SECRET);
        assert_eq!(public.to_pem(), OPENSSL_PUBLIC);
        assert!(public.verifies(b"m", &secret.sign(b"m")) && !public.verifies(b"n", &secret.sign(b"m")));
    }

    #[test]
    fn other_text_is_refused_with_the_mend() {
        let error = SecretKey::from_pem(OPENSSL_PUBLIC).err().unwrap().to_string();
        assert!(error.starts_with("this is a PEM of \"PUBLIC KEY\"") && error.contains("congruent keygen"));
        let two = [OPENSSL_PUBLIC, OPENSSL_PUBLIC].concat();
        for (text, says) in
            [("nonsense", "not PEM"), (&two, "more than one key"), (OPENSSL_SECRET, "PRIVATE KEY")]
        {
            let error = PublicKey::from_pem(text).err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
