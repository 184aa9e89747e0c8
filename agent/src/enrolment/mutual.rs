//! TLS in which both sides show certificates: how an enrolled node talks to its
//! collector.

use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use super::request::{builder, private_key};
use super::{EnrolError, EnrolmentFiles, StateError};

/// What is spoken, in the order of preference.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A client that shows the certificate in `files`, and trusts the authority there
/// and no other.
pub(crate) fn client(
    files: &EnrolmentFiles,
    finish: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, EnrolError> {
    finish(builder(tls(files)?)).build().map_err(EnrolError::Client)
}

fn tls(files: &EnrolmentFiles) -> Result<ClientConfig, EnrolError> {
    let (roots, chain, key) = parts(files)?;
    finish(roots, chain, key)
}

/// Whom to trust, and what to show.
pub(super) fn parts(
    files: &EnrolmentFiles,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), EnrolError> {
    let (certificate, authority) = files.certificates().map_err(EnrolError::State)?;
    let damaged = |path| EnrolError::State(StateError::Certificate(path));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| damaged(files.certificate_path()))?;
    let authority =
        CertificateDer::from_pem_slice(&authority).map_err(|_| damaged(files.authority_path()))?;
    let key = private_key(&files.key().map_err(EnrolError::State)?)?;
    Ok((roots(authority)?, chain, key))
}

fn roots(authority: CertificateDer<'static>) -> Result<RootCertStore, EnrolError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority).map_err(EnrolError::Tls)?;
    Ok(roots)
}

/// TLS with this certificate and key, to who is of this authority.
pub(super) fn config(
    chain: Vec<CertificateDer<'static>>,
    authority: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, EnrolError> {
    finish(roots(authority)?, chain, key)
}

/// TLS as the agents' port speaks it.
pub(super) fn builder_of() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, EnrolError> {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(EnrolError::Tls)
}

fn finish(
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, EnrolError> {
    let builder = builder_of()?.with_root_certificates(roots);
    let mut config = builder.with_client_auth_cert(chain, key).map_err(EnrolError::Tls)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}
