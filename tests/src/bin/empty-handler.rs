//! The least that a collector could cost: mutual TLS 1.3 by the same framework, and a
//! handler that reads a body and answers 200 with nothing.
//!
//! `empty-handler AUTHORITY KEY`: the certificate and the key of the collector's
//! authority, each a file in PEM. It makes itself a certificate of it, takes those of
//! nodes, and says where it listens.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use congruent_protocol::report::HEARTBEAT_PATH;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

fn main() -> Result<()> {
    let mut words = env::args_os().skip(1).map(PathBuf::from);
    let (authority, key) = words.next().zip(words.next()).context("usage: empty-handler AUTHORITY KEY")?;
    let acceptor = TlsAcceptor::from(Arc::new(tls(&authority, &key)?));
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen")?;
        println!("listening on {}", listener.local_addr().context("no address")?);
        loop {
            let (stream, _) = listener.accept().await.context("cannot accept")?;
            tokio::spawn(serve(stream, acceptor.clone()));
        }
    })
}

fn tls(authority: &Path, key: &Path) -> Result<ServerConfig> {
    let authority = CertificateDer::from_pem_file(authority).context("no authority")?;
    let (certificate, key) = issue(&authority, key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier.build().context("no verifier")?)
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A certificate for the loopback.
fn issue(
    authority: &CertificateDer<'static>,
    key: &Path,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
    let pem = fs::read_to_string(key).with_context(|| format!("cannot read {}", key.display()))?;
    let issuer = Issuer::from_ca_cert_der(authority, KeyPair::from_pem(&pem)?)?;
    let own = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&own, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der()));
    Ok((certificate.der().clone(), key))
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = acceptor.accept(stream).await else { return };
    #[expect(
        clippy::disallowed_methods,
        reason = "it is measured beside the collector, and described nowhere"
    )]
    let router = Router::new().route(HEARTBEAT_PATH, post(async |_: Bytes| ()));
    let builder = auto::Builder::new(TokioExecutor::new());
    // Whoever went away is not missed.
    let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
}
