//! TLS of the collector's ports: operators and enrolment on one, enrolled nodes
//! on the other.

use std::sync::Arc;

use jiff::SignedDuration;
use rustls::crypto::ring::default_provider;
use rustls::server::VerifierBuilderError;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::Authority;
use super::certificates::IssueError;
use super::server_certificate::ServerCertificate;
use super::verifier::NodeVerifier;
use crate::clock::Clock;

/// What is spoken over TLS.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot issue the collector's own certificate; is one of `names` no host name?")]
    Certificate(#[source] IssueError),
    #[error("cannot set up TLS")]
    Configure(#[source] rustls::Error),
    #[error("cannot set up what verifies nodes")]
    Verifier(#[source] VerifierBuilderError),
}

/// TLS for each of the ports.
pub(crate) struct Tls {
    /// For operators and enrolment: TLS 1.2 or 1.3, no client certificates.
    pub(crate) operators: Arc<ServerConfig>,
    /// For enrolled nodes: TLS 1.3 and client certificates only.
    pub(crate) agents: Arc<ServerConfig>,
}

impl Tls {
    /// Sets it up for these names of the collector.
    pub(crate) fn new(
        authority: &Arc<Authority>,
        names: Vec<String>,
        grace: SignedDuration,
        clock: Clock,
    ) -> Result<Self, TlsError> {
        let certificate = ServerCertificate::new(Arc::clone(authority), names, clock);
        let certificate = Arc::new(certificate.map_err(TlsError::Certificate)?);
        let builder = |versions: &[&'static SupportedProtocolVersion]| {
            let provider = Arc::new(default_provider());
            ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(versions)
                .map_err(TlsError::Configure)
        };
        let operators = builder(&[&TLS13, &TLS12])?.with_no_client_auth();
        let verifier = Arc::new(NodeVerifier::new(authority, grace)?);
        let agents = builder(&[&TLS13])?.with_client_cert_verifier(verifier);
        let finish = |mut config: ServerConfig| {
            config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
            Arc::new(config)
        };
        Ok(Self {
            operators: finish(operators.with_cert_resolver(certificate.clone())),
            agents: finish(agents.with_cert_resolver(certificate)),
        })
    }
}
