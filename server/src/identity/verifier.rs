//! Verifies nodes' certificates in the handshake.
//!
//! A certificate that is over is taken for a while longer, and so is one that is
//! not valid yet: everything about it is verified as of a time at which it was
//! valid. Whoever brings one may only renew it, or is told that clocks differ;
//! that is for the API to see to.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::{Authority, Peer, TlsError};

/// Takes the certificates that one authority issued to nodes.
pub(super) struct NodeVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    grace: SignedDuration,
}

impl NodeVerifier {
    /// Takes certificates of `authority`, up to `grace` beyond their end.
    pub(super) fn new(authority: &Authority, grace: SignedDuration) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).map_err(TlsError::Configure)?;
        let provider = Arc::new(default_provider());
        let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Self { inner: inner.map_err(TlsError::Verifier)?, grace })
    }

    /// The time as of which a certificate that is not valid `now` is to be
    /// verified; none where it is refused.
    fn other_time(&self, peer: &Peer, now: UnixTime) -> Option<UnixTime> {
        let now = Timestamp::from_second(i64::try_from(now.as_secs()).ok()?).ok()?;
        let then = if now > peer.not_after {
            (now.duration_since(peer.not_after) <= self.grace).then_some(peer.not_after)
        } else {
            (now < peer.not_before).then_some(peer.not_before)
        };
        let seconds = u64::try_from(then?.as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

impl ClientCertVerifier for NodeVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
        let refused = || Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let peer = Peer::of(end_entity).map_err(|_| refused())?;
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now);
        let time = Error::InvalidCertificate;
        match verified {
            Err(Error::InvalidCertificate(
                why @ (Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }),
            )) => match self.other_time(&peer, now) {
                Some(then) => self.inner.verify_client_cert(end_entity, intermediates, then),
                None => Err(time(why)),
            },
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl fmt::Debug for NodeVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeVerifier").field("grace", &self.grace).finish_non_exhaustive()
    }
}
