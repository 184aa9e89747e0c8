//! Joining: a token and a key for a certificate.

use std::net::IpAddr;
use std::sync::Arc;

use congruent_protocol::enrolment::{
    ENROLL_PATH, ENROLMENT_SCHEMA, EnrollRequest, Enrolled, Evidence, Secret,
};
use jiff::Timestamp;
use reqwest::Url;
use rustls::ClientConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};

use super::pinned::{Fault, Fingerprint, Pinned};
use super::request::{client, post, private_key, signing_request};
use super::{EnrolError, Enrolment, EnrolmentFiles, mutual};

/// What a node joins with.
pub(crate) struct Joining {
    server: String,
    fingerprint: Fingerprint,
    token: Secret,
    node: String,
}

impl Joining {
    /// Checks what was given. The server is an URL, the fingerprint that of its
    /// authority.
    pub(crate) fn new(
        server: &str,
        fingerprint: &str,
        token: Secret,
        node: String,
    ) -> Result<Self, EnrolError> {
        let server = check_server(server).ok_or_else(|| EnrolError::Url(server.to_owned()))?;
        let fingerprint =
            Fingerprint::parse(fingerprint).ok_or_else(|| EnrolError::Fingerprint(fingerprint.to_owned()))?;
        Ok(Self { server, fingerprint, token, node })
    }

    /// Where it joins.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The name that it wants.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }
}

/// Joins, and keeps in `files` what came of it.
pub(crate) async fn join(joining: &Joining, files: &EnrolmentFiles) -> Result<Enrolment, EnrolError> {
    let key = files.key().map_err(EnrolError::State)?;
    let request = EnrollRequest {
        schema_version: ENROLMENT_SCHEMA,
        evidence: Evidence::Token(joining.token.clone()),
        node: joining.node.clone(),
        csr: signing_request(&key)?,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        sent_at: Timestamp::now(),
    };
    let pinned = Arc::new(Pinned::new(joining.fingerprint.clone()));
    let client = client(trusting(Arc::clone(&pinned))?)?;
    let url = format!("{}{ENROLL_PATH}", joining.server);
    let joined: Enrolled = post(&client, &url, &request).await.map_err(|error| match pinned.fault() {
        Some(fault) => explain(fault, joining),
        None => error,
    })?;
    check(&joined, joining, &key)?;
    files.keep_joined(&joined, &joining.server, Timestamp::now()).map_err(EnrolError::State)
}

fn trusting(pinned: Arc<Pinned>) -> Result<ClientConfig, EnrolError> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(EnrolError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(pinned)
        .with_no_client_auth();
    Ok(config)
}

fn explain(fault: Fault, joining: &Joining) -> EnrolError {
    let url = joining.server.clone();
    match fault {
        Fault::OtherAuthority(shown) => EnrolError::OtherAuthority {
            url,
            expected: joining.fingerprint.as_str().to_owned(),
            shown: shown.as_str().to_owned(),
        },
        Fault::Time(why) => EnrolError::ServerTime { url, now: Timestamp::now(), why },
        Fault::Name(why) => EnrolError::ServerName { url, why },
    }
}

/// Holds what was given to what was asked for, before anything of it is kept.
fn check(
    joined: &Enrolled,
    joining: &Joining,
    key: &congruent_protocol::key::SecretKey,
) -> Result<(), EnrolError> {
    let wrong = |what: &str| EnrolError::Certificate(what.to_owned());
    if joined.schema_version != ENROLMENT_SCHEMA {
        return Err(wrong("it is of another schema version"));
    }
    if joined.node != joining.node {
        return Err(wrong("it is for another node"));
    }
    let authority = CertificateDer::from_pem_slice(joined.issued.ca.as_bytes());
    let authority = authority.map_err(|_| wrong("the authority's is no PEM"))?;
    if Fingerprint::of(&authority) != joining.fingerprint {
        return Err(wrong("it is of another authority than --ca-fingerprint says"));
    }
    if check_server(&joined.issued.agents_url).is_none() {
        return Err(wrong("where to report is no URL that begins with https://"));
    }
    let chain = CertificateDer::from_pem_slice(joined.issued.certificate.as_bytes());
    let chain = vec![chain.map_err(|_| wrong("it is no PEM"))?];
    // Refuses a certificate of another key.
    mutual::config(chain, authority, private_key(key)?).map(drop)
}

/// A collector's URL without a slash at its end; none where it is no such URL.
/// Plain HTTP is for loopback only.
fn check_server(text: &str) -> Option<String> {
    let url = Url::parse(text.trim()).ok()?;
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    let is_safe = match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(url.host_str()?),
        _ => false,
    };
    (is_bare && is_safe).then(|| url.as_str().trim_end_matches('/').to_owned())
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_only() {
        for (text, expected) in [
            ("https://collector.example:8440/", Some("https://collector.example:8440")),
            ("http://127.0.0.1:8440", Some("http://127.0.0.1:8440")),
            ("http://[::1]:8440", Some("http://[::1]:8440")),
            ("http://localhost:1", Some("http://localhost:1")),
            ("http://10.0.0.1:8440", None),
            ("http://collector.example", None),
            ("https://me:secret@collector.example", None),
            ("https://collector.example/path", None),
            ("ftp://127.0.0.1", None),
            ("collector.example", None),
        ] {
            assert_eq!(check_server(text).as_deref(), expected, "{text}");
        }
    }
}
