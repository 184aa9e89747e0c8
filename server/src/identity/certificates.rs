//! The certificates that the authority issues: to nodes, and to the collector's
//! own ports.

use std::net::IpAddr;
use std::time::Duration;

use congruent_protocol::enrolment::{MAX_SKEW_SECONDS, node_uri};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::time::ASN1Time;

use super::Authority;
use super::proof::ProvenKey;

/// How far certificates are dated back, for nodes whose clocks are behind.
pub(super) const BACKDATED: SignedDuration = SignedDuration::from_secs(MAX_SKEW_SECONDS);
/// How long a certificate of the collector's own ports lasts.
const SERVER_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A node's certificate, in PEM, and its time.
pub(super) struct NodeCertificate {
    pub(super) pem: String,
    pub(super) renew_at: Timestamp,
    pub(super) not_after: Timestamp,
}

/// What the collector's own ports show, and until when it serves.
pub(super) struct ServerKey {
    pub(super) certified: CertifiedKey,
    pub(super) renew_at: Timestamp,
}

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    #[error("cannot issue a certificate")]
    Sign(#[source] rcgen::Error),
    #[error("cannot use the key of a certificate")]
    Key(#[source] rustls::Error),
}

impl Authority {
    /// A certificate for `node` and its key, for `life` from `now` on.
    pub(super) fn issue_to_node(
        &self,
        node: &str,
        key: &ProvenKey,
        now: Timestamp,
        life: SignedDuration,
    ) -> Result<NodeCertificate, IssueError> {
        // Certificates have whole seconds; told is what stands in them.
        let not_after = whole_seconds(now + life);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "congruent node");
        params.subject_alt_names.push(SanType::URI(node_uri(node).try_into().map_err(IssueError::Sign)?));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now - BACKDATED, not_after);
        let certificate = params.signed_by(key.spki(), &self.issuer).map_err(IssueError::Sign)?;
        Ok(NodeCertificate { pem: certificate.pem(), renew_at: now + life / 2, not_after })
    }

    /// A certificate and key for the collector's own ports.
    pub(super) fn issue_to_server(&self, names: &[String], now: Timestamp) -> Result<ServerKey, IssueError> {
        // ECDSA, since not everything that operators use takes Ed25519.
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IssueError::Sign)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "congruent collector");
        params.subject_alt_names = names.iter().map(|name| san(name)).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now - BACKDATED, now + SERVER_LIFE);
        let certificate = params.signed_by(&key, &self.issuer).map_err(IssueError::Sign)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = any_supported_type(&key).map_err(IssueError::Key)?;
        // With the authority's own, which a node that knows its fingerprint needs.
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        Ok(ServerKey { certified: CertifiedKey::new(chain, key), renew_at: now + SERVER_LIFE / 2 })
    }
}

fn san(name: &str) -> Result<SanType, IssueError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(name.try_into().map_err(IssueError::Sign)?)),
    }
}

/// From when to when a certificate is valid.
pub(super) fn set_validity(params: &mut CertificateParams, from: Timestamp, to: Timestamp) {
    // Before 1970 there were no certificates.
    let since_1970 = |time: Timestamp| Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0));
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970(from);
    params.not_after = epoch + since_1970(to);
}

/// The time in a certificate.
pub(super) fn time_of(time: ASN1Time) -> Timestamp {
    Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
