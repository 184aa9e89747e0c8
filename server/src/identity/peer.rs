//! Who is at the other end: what a node's certificate says, once it has been
//! verified.

use congruent_protocol::enrolment::node_of_uri;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use super::certificates::time_of;
use super::proof::fingerprint;

/// A node, as its certificate has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The node's id.
    pub(crate) node: String,
    /// Its key's fingerprint.
    pub(crate) key: String,
    /// The certificate's serial number, in hexadecimal.
    pub(crate) serial: String,
    /// From when on the certificate is valid.
    pub(crate) not_before: Timestamp,
    /// Until when.
    pub(crate) not_after: Timestamp,
}

/// Why a certificate is no node's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("the certificate is damaged")]
    Shape,
    #[error("the certificate names no node")]
    NoNode,
}

impl Peer {
    /// Reads a certificate that is verified elsewhere.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Result<Self, PeerError> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| PeerError::Shape)?;
        let names = parsed.subject_alternative_name().map_err(|_| PeerError::Shape)?;
        let names = names.ok_or(PeerError::NoNode)?;
        // Exactly one name, so that nobody has to choose.
        let [GeneralName::URI(uri)] = names.value.general_names[..] else {
            return Err(PeerError::NoNode);
        };
        Ok(Self {
            node: node_of_uri(uri).ok_or(PeerError::NoNode)?,
            key: fingerprint(parsed.public_key().raw),
            serial: HEXLOWER.encode(parsed.raw_serial()),
            not_before: time_of(parsed.validity().not_before),
            not_after: time_of(parsed.validity().not_after),
        })
    }
}
