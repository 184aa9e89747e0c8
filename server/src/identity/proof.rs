//! Certificate signing requests: a key, and the proof that its holder asks.
//!
//! Nothing else in a request counts, whatever it asks for.

use congruent_protocol::enrolment::MAX_ENROLMENT_BYTES;
use data_encoding::{BASE64, HEXLOWER};
use rcgen::SubjectPublicKeyInfo;
use sha2::{Digest, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::FromDer;

/// The largest request taken, in bytes of DER; one with nothing in it has 200.
const MAX_REQUEST_BYTES: usize = 8 << 10;

/// Why a request proves nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProofError {
    #[error("the certificate signing request is not DER in base64 of at most {MAX_REQUEST_BYTES} bytes")]
    Encoding,
    #[error("the certificate signing request is damaged")]
    Shape,
    #[error("the certificate signing request is for a key of another algorithm; nodes have Ed25519 keys")]
    Algorithm,
    #[error("the certificate signing request is not signed with its own key")]
    Signature,
}

/// A key whose holder has proven to hold it.
#[derive(Debug, Clone)]
pub(crate) struct ProvenKey {
    spki: SubjectPublicKeyInfo,
    der: Vec<u8>,
    fingerprint: String,
}

impl ProvenKey {
    /// Takes the key from a request in base64.
    pub(crate) fn of_request(text: &str) -> Result<Self, ProofError> {
        if text.len() > MAX_ENROLMENT_BYTES {
            return Err(ProofError::Encoding);
        }
        let request = BASE64.decode(text.as_bytes()).map_err(|_| ProofError::Encoding)?;
        if request.len() > MAX_REQUEST_BYTES {
            return Err(ProofError::Encoding);
        }
        let (rest, parsed) = X509CertificationRequest::from_der(&request).map_err(|_| ProofError::Shape)?;
        if !rest.is_empty() {
            return Err(ProofError::Shape);
        }
        let key = &parsed.certification_request_info.subject_pki;
        if key.algorithm.algorithm != OID_SIG_ED25519 {
            return Err(ProofError::Algorithm);
        }
        parsed.verify_signature().map_err(|_| ProofError::Signature)?;
        let spki = SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| ProofError::Algorithm)?;
        Ok(Self { spki, der: key.raw.to_vec(), fingerprint: fingerprint(key.raw) })
    }

    /// The key, as certificates hold it.
    pub(super) fn spki(&self) -> &SubjectPublicKeyInfo {
        &self.spki
    }

    /// The key, as SPKI in DER.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its fingerprint, as [`KeyId`](congruent_protocol::key::KeyId) has it.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// The fingerprint of a key, of its SPKI in DER.
pub(super) fn fingerprint(spki: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(spki)))
}
