//! A report as it is kept and sent: one line of JSON that says who signed and
//! sealed it, and then its payload, byte for byte.
//!
//! The signature is DSSE's, over [`REPORT_PAYLOAD`] and the payload. DSSE's own
//! envelope would hold the payload in base64, which compresses badly;
//! [`Sealed::to_envelope`] makes one for other tools.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::digest::{Algorithm, Digest};
use crate::dsse::pre_authentication_encoding;
use crate::key::{KeyId, PublicKey, SecretKey};
use crate::seal::{SealKey, SealTag};

/// The payload type of a report.
pub const REPORT_PAYLOAD: &str = "application/vnd.congruent.report+json";
/// The longest first line, in bytes.
const MAX_HEAD_BYTES: usize = 1024;

/// A report with its signature and its seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed<'a> {
    payload: &'a [u8],
    key: String,
    signature: Vec<u8>,
    seal: SealTag,
}

/// Why bytes are no sealed report, or not the one that they claim to be.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// There is no first line of a permissible length.
    #[error("the report does not begin with a line of at most {MAX_HEAD_BYTES} bytes about its signature")]
    NoHead,
    /// The first line is not JSON of its shape.
    #[error("the report's first line is not about its signature")]
    Head(#[source] serde_json::Error),
    /// It is of another type.
    #[error("the report's payload is {0:?}, expected {REPORT_PAYLOAD:?}")]
    PayloadType(String),
    /// Signature or seal are not base64 of the right length.
    #[error("the report's {0} is malformed")]
    Malformed(&'static str),
    /// The signature is not the node's.
    #[error("the report was not signed by the key {0} as it stands")]
    Signature(KeyId),
    /// The seal is not that of its number.
    #[error("the report's seal is broken: it is not the one of number {0}")]
    Seal(u64),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    payload_type: String,
    keyid: String,
    sig: String,
    seal: String,
}

/// Signs and seals a payload.
pub fn seal(payload: &[u8], key: &SecretKey, seal: &SealKey) -> Vec<u8> {
    let head = Head {
        payload_type: REPORT_PAYLOAD.to_owned(),
        keyid: key.public().id().to_string(),
        sig: BASE64.encode(&key.sign(&pre_authentication_encoding(REPORT_PAYLOAD, payload))),
        seal: BASE64.encode(&seal.tag(payload)),
    };
    let mut bytes = serde_json::to_vec(&head).expect("strings always serialise");
    bytes.push(b'\n');
    bytes.extend_from_slice(payload);
    bytes
}

/// The digest by which a report is named in the next one and in answers: that of
/// its payload.
pub fn report_digest(payload: &[u8]) -> Digest {
    Algorithm::Blake3.digest(payload)
}

impl<'a> Sealed<'a> {
    /// Takes the parts of a report's bytes; nothing is checked of them yet.
    ///
    /// # Errors
    /// When it is not of this form.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SealedError> {
        let longest = &bytes[..bytes.len().min(MAX_HEAD_BYTES)];
        let end = longest.iter().position(|byte| *byte == b'\n').ok_or(SealedError::NoHead)?;
        let head: Head = serde_json::from_slice(&bytes[..end]).map_err(SealedError::Head)?;
        if head.payload_type != REPORT_PAYLOAD {
            return Err(SealedError::PayloadType(head.payload_type));
        }
        let decode =
            |what, text: &str| BASE64.decode(text.as_bytes()).map_err(|_| SealedError::Malformed(what));
        Ok(Self {
            payload: &bytes[end + 1..],
            key: head.keyid,
            signature: decode("signature", &head.sig)?,
            seal: decode("seal", &head.seal)?.try_into().map_err(|_| SealedError::Malformed("seal"))?,
        })
    }

    /// The report's JSON, as it was signed.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Holds the signature to a node's key.
    ///
    /// # Errors
    /// When it is not that key's over this payload.
    pub fn check_signature(&self, key: &PublicKey) -> Result<(), SealedError> {
        let message = pre_authentication_encoding(REPORT_PAYLOAD, self.payload);
        if key.verifies(&message, &self.signature) { Ok(()) } else { Err(SealedError::Signature(key.id())) }
    }

    /// Holds the seal to the key of the report's number.
    ///
    /// # Errors
    /// When it is broken.
    pub fn check_seal(&self, key: &SealKey) -> Result<(), SealedError> {
        if key.fits(self.payload, &self.seal) { Ok(()) } else { Err(SealedError::Seal(key.number())) }
    }

    /// The same as a DSSE envelope, without the seal.
    pub fn to_envelope(&self) -> Vec<u8> {
        let envelope = serde_json::json!({
            "payloadType": REPORT_PAYLOAD,
            "payload": BASE64.encode(self.payload),
            "signatures": [{"keyid": self.key, "sig": BASE64.encode(&self.signature)}],
        });
        envelope.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (SecretKey, SealKey) {
        (SecretKey::from_seed([1; 32]), SealKey::new(4, [2; 32]))
    }

    #[test]
    fn what_is_sealed_is_read_and_holds() {
        let (key, seal_key) = keys();
        let bytes = seal(b"{\"a\":\n1}", &key, &seal_key);
        let sealed = Sealed::parse(&bytes).unwrap();
        assert_eq!(sealed.payload(), b"{\"a\":\n1}");
        sealed.check_signature(&key.public()).unwrap();
        sealed.check_seal(&seal_key).unwrap();
    }

    #[test]
    fn no_byte_can_be_altered() {
        let (key, seal_key) = keys();
        let bytes = seal(b"{}", &key, &seal_key);
        let key_id = bytes.windows(5).position(|window| window == b"keyid").unwrap();
        let hint = key_id..key_id + 90;
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            let holds = Sealed::parse(&altered).is_ok_and(|sealed| {
                sealed.check_signature(&key.public()).is_ok() && sealed.check_seal(&seal_key).is_ok()
            });
            // Who is said to have signed is a hint, and not believed.
            assert!(!holds || hint.contains(&at), "byte {at}");
        }
    }

    #[test]
    fn others_are_refused() {
        let (key, mut seal_key) = keys();
        let bytes = seal(b"{}", &key, &seal_key);
        let sealed = Sealed::parse(&bytes).unwrap();
        let stranger = SecretKey::from_seed([9; 32]).public();
        let error = sealed.check_signature(&stranger).unwrap_err().to_string();
        assert!(error.contains(&stranger.id().to_string()), "{error}");
        seal_key.advance();
        assert!(sealed.check_seal(&seal_key).unwrap_err().to_string().contains("number 5"));
        for (bytes, says) in [
            (&b""[..], "does not begin with a line"),
            (&[b'{'; 5000], "does not begin with a line"),
            (b"{}\n{}", "first line"),
            (
                br#"{"payloadType":"x","keyid":"","sig":"","seal":""}
"#,
                "expected \"application/",
            ),
        ] {
            let error = Sealed::parse(bytes).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn other_tools_get_an_envelope() {
        let (key, seal_key) = keys();
        let bytes = seal(b"{}", &key, &seal_key);
        let envelope: serde_json::Value =
            serde_json::from_slice(&Sealed::parse(&bytes).unwrap().to_envelope()).unwrap();
        assert_eq!(envelope["payload"], "e30=");
        assert_eq!(envelope["signatures"][0]["keyid"], key.public().id().to_string());
    }
}
