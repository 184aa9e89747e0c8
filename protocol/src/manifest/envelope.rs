//! The DSSE envelope: a payload and who signed it.
//!
//! Format: <https://github.com/secure-systems-lab/dsse/blob/master/envelope.md>.
//! It asks readers to ignore members that they do not know, to do without a
//! keyid, and to take either alphabet of base64; nothing of that is signed.

use data_encoding::{BASE64, BASE64URL, DecodeError};
use serde::{Deserialize, Serialize};

use crate::dsse::pre_authentication_encoding;
use crate::key::{KeyId, PublicKey, SecretKey};

/// The payload type of an in-toto statement.
pub(super) const IN_TOTO_PAYLOAD: &str = "application/vnd.in-toto+json";

/// A signed payload.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// What the payload is.
    payload_type: String,
    /// The payload in base64.
    payload: String,
    /// Empty where it is not signed.
    signatures: Vec<EnvelopeSignature>,
}

/// One signature over an envelope's payload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// The signing key's fingerprint: a hint, never believed.
    #[serde(default)]
    pub keyid: String,
    /// The signature in base64.
    pub sig: String,
}

/// Why an envelope cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// It is not a DSSE envelope.
    #[error("the manifest's envelope is not a DSSE envelope")]
    Json(#[source] serde_json::Error),
    /// The payload type is not in-toto's.
    #[error("the manifest's payload is {0:?}, expected {IN_TOTO_PAYLOAD:?}")]
    PayloadType(String),
    /// The payload is not base64.
    #[error("the manifest's payload is not base64")]
    Base64(#[source] DecodeError),
    /// A signature is not of this key over this payload.
    #[error(
        "this is not a signature of the key {0} over this manifest; sign what `congruent sign --export` writes"
    )]
    Signature(KeyId),
}

impl Envelope {
    /// Puts a statement into an envelope without signatures.
    pub fn new(payload: &[u8]) -> Self {
        Self {
            payload_type: IN_TOTO_PAYLOAD.to_owned(),
            payload: BASE64.encode(payload),
            signatures: Vec::new(),
        }
    }

    /// Adds a signature by `key`.
    ///
    /// # Errors
    /// When the payload is not base64.
    pub fn sign(&mut self, key: &SecretKey) -> Result<(), EnvelopeError> {
        let signature = key.sign(&self.message()?);
        self.push(&key.public(), &signature);
        Ok(())
    }

    /// Adds a signature that was made elsewhere, over [`Envelope::message`].
    ///
    /// # Errors
    /// When it is not the key's over this payload.
    pub fn add_signature(&mut self, key: &PublicKey, signature: &[u8]) -> Result<(), EnvelopeError> {
        if !key.verifies(&self.message()?, signature) {
            return Err(EnvelopeError::Signature(key.id()));
        }
        self.push(key, signature);
        Ok(())
    }

    /// What is signed: DSSE's pre-authentication encoding of type and payload.
    ///
    /// # Errors
    /// When the payload is not base64.
    pub fn message(&self) -> Result<Vec<u8>, EnvelopeError> {
        Ok(pre_authentication_encoding(&self.payload_type, &self.payload()?))
    }

    fn push(&mut self, key: &PublicKey, signature: &[u8]) {
        let sig = BASE64.encode(signature);
        self.signatures.push(EnvelopeSignature { keyid: key.id().to_string(), sig });
    }

    /// Reads an envelope's JSON.
    ///
    /// # Errors
    /// When it is not an envelope around an in-toto statement.
    pub fn from_json(json: &[u8]) -> Result<Self, EnvelopeError> {
        let envelope: Self = serde_json::from_slice(json).map_err(EnvelopeError::Json)?;
        if envelope.payload_type != IN_TOTO_PAYLOAD {
            return Err(EnvelopeError::PayloadType(envelope.payload_type));
        }
        Ok(envelope)
    }

    /// The envelope as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings always serialise")
    }

    /// The payload's bytes.
    ///
    /// # Errors
    /// When they are not base64.
    pub fn payload(&self) -> Result<Vec<u8>, EnvelopeError> {
        decode_base64(&self.payload).map_err(EnvelopeError::Base64)
    }

    /// What the signatures claim as their keys.
    pub fn claimed_keys(&self) -> Vec<String> {
        self.signatures.iter().map(|signature| signature.keyid.clone()).collect()
    }

    /// The keys among `trusted` that signed this payload.
    ///
    /// # Errors
    /// When the payload is not base64.
    pub fn signed_by(&self, trusted: &[PublicKey]) -> Result<Vec<KeyId>, EnvelopeError> {
        let message = self.message()?;
        let signatures: Vec<Vec<u8>> =
            self.signatures.iter().filter_map(|s| decode_base64(&s.sig).ok()).collect();
        let mut signers: Vec<KeyId> = trusted
            .iter()
            .filter(|key| signatures.iter().any(|signature| key.verifies(&message, signature)))
            .map(PublicKey::id)
            .collect();
        signers.sort();
        signers.dedup();
        Ok(signers)
    }
}

/// Base64 in either alphabet, since signers may use either.
fn decode_base64(text: &str) -> Result<Vec<u8>, DecodeError> {
    let alphabet = if text.contains(['-', '_']) { BASE64URL } else { BASE64 };
    alphabet.decode(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_keys_that_signed_are_named() {
        let keys = [1, 2, 3].map(|seed| SecretKey::from_seed([seed; 32]));
        let mut envelope = Envelope::new(b"{}");
        envelope.sign(&keys[0]).unwrap();
        envelope.sign(&keys[1]).unwrap();
        let envelope = Envelope::from_json(&envelope.to_json()).unwrap();
        let trusted = [keys[1].public(), keys[2].public()];
        assert_eq!(envelope.signed_by(&trusted).unwrap(), [keys[1].public().id()]);
    }

    #[test]
    fn what_dsse_leaves_to_signers_is_taken() {
        let key = SecretKey::from_seed([1; 32]);
        // In base64 it has a `+` and a `/`.
        let payload = "{\"a\":\"~~?~>\u{7ff}\"}".as_bytes();
        let mut envelope = Envelope::new(payload);
        envelope.sign(&key).unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&envelope.to_json()).unwrap();
        let url_safe =
            |value: &serde_json::Value| value.as_str().unwrap().replace('+', "-").replace('/', "_");
        assert_ne!(url_safe(&json["payload"]), json["payload"].as_str().unwrap());
        let sig = url_safe(&json["signatures"][0]["sig"]);
        json["payload"] = url_safe(&json["payload"]).into();
        json["signatures"] = serde_json::json!([{"sig": sig, "later": 1}]);
        json["later"] = 1.into();
        let envelope = Envelope::from_json(json.to_string().as_bytes()).unwrap();
        assert_eq!(envelope.payload().unwrap(), payload);
        assert_eq!(envelope.signed_by(&[key.public()]).unwrap(), [key.public().id()]);
        assert_eq!(envelope.claimed_keys(), [""]);
    }
}
