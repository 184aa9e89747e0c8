//! Trusts a collector by the fingerprint of its authority: before a node is
//! enrolled, that is all it has.
//!
//! The authority's certificate must be in the chain that the collector shows, and
//! the chain is then verified as any other, name and time included.

use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

/// What an authority's fingerprint begins with.
const PREFIX: &str = "sha256:";

/// The fingerprint of an authority: the SHA-256 of its certificate in DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint(String);

impl Fingerprint {
    /// Reads `sha256:` and 64 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hex = text.trim().strip_prefix(PREFIX)?;
        let bytes: [u8; 32] = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?.try_into().ok()?;
        Some(Self(format!("{PREFIX}{}", HEXLOWER.encode(&bytes))))
    }

    /// That of a certificate.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(format!("{PREFIX}{}", HEXLOWER.encode(&Sha256::digest(certificate))))
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was wrong with the collector's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is of another authority, which has this fingerprint.
    OtherAuthority(Fingerprint),
    /// It is not valid now.
    Time(String),
    /// It is not for the name by which the collector is reached.
    Name(String),
}

/// Verifies the collector's certificate by its authority's fingerprint.
#[derive(Debug)]
pub(crate) struct Pinned {
    fingerprint: Fingerprint,
    fault: Mutex<Option<Fault>>,
}

impl Pinned {
    /// Trusts the authority of this fingerprint.
    pub(crate) fn new(fingerprint: Fingerprint) -> Self {
        Self { fingerprint, fault: Mutex::default() }
    }

    /// What was wrong with the last certificate. TLS itself tells less.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authority) = intermediates.iter().find(|shown| Fingerprint::of(shown) == self.fingerprint)
        else {
            let shown = intermediates.last().unwrap_or(end_entity);
            self.note(Fault::OtherAuthority(Fingerprint::of(shown)));
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
        let verifier = verifier.build().map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).inspect_err(
            |error| {
                if let Some(fault) = fault_of(error) {
                    self.note(fault);
                }
            },
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &default_provider().signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &default_provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn fault_of(error: &Error) -> Option<Fault> {
    use CertificateError as E;
    let Error::InvalidCertificate(why) = error else { return None };
    match why {
        E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. } => {
            Some(Fault::Time(why.to_string()))
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => Some(Fault::Name(why.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_however_their_digits_are_written() {
        let hex = "ab".repeat(32);
        let check = |text: &str| Fingerprint::parse(text).map(|read| read.0);
        assert_eq!(check(&format!("sha256:{hex}")), Some(format!("sha256:{hex}")));
        assert_eq!(check(&format!(" sha256:{}\n", hex.to_uppercase())), Some(format!("sha256:{hex}")));
        for wrong in ["", &hex, "sha256:", &format!("sha256:{hex}00"), &format!("sha512:{hex}"), "sha256:zz"]
        {
            assert_eq!(check(wrong), None, "{wrong}");
        }
    }
}
