//! Whose clock is wrong, where TLS fails for the time that it is.
//!
//! The collector is asked for its time over TLS in which its certificate may be of
//! another time; it must be of the authority all the same. Nothing else is said on such
//! a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use congruent_protocol::report::{CLOCK_PATH, HeartbeatAnswer};
use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::EnrolmentFiles;
use super::mutual::{builder_of, parts};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// A certificate and its authority, each too early or too late.
const ATTEMPTS: usize = 4;

/// Whether a request failed since a certificate is not of this node's time.
pub(crate) fn is_about_time(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(is_time_error) {
            return true;
        }
        // An I/O error holds what it was made of, and gives only the cause of that.
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = within.map(|within| within as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    false
}

/// The collector's time, where it can be had.
pub(crate) async fn of_collector(files: &EnrolmentFiles, agents_url: &str) -> Option<Timestamp> {
    let (roots, chain, key) = parts(files).ok()?;
    let usual = WebPkiServerVerifier::builder(Arc::new(roots)).build().ok()?;
    let tls = builder_of()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AtAnyTime(usual)))
        .with_client_auth_cert(chain, key)
        .ok()?;
    let client = super::request::builder(tls).timeout(REQUEST_TIMEOUT).build().ok()?;
    let answer = client.get(format!("{}{CLOCK_PATH}", agents_url.trim_end_matches('/'))).send().await.ok()?;
    let answer: HeartbeatAnswer = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
    answer.advice.time
}

fn is_time_error(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(error) if time_within(error).is_some())
}

/// A time at which a certificate holds that does not at another.
fn time_within(error: &CertificateError) -> Option<UnixTime> {
    let at = |seconds| Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
    match error {
        CertificateError::ExpiredContext { not_after, .. } => at(not_after.as_secs().saturating_sub(1)),
        CertificateError::NotValidYetContext { not_before, .. } => at(not_before.as_secs() + 1),
        _ => None,
    }
}

/// Everything but the time is held to what it always is.
#[derive(Debug)]
struct AtAnyTime(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AtAnyTime {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        mut now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut verified = Err(Error::General("not verified".to_owned()));
        for _ in 0..ATTEMPTS {
            verified = self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
            match &verified {
                Err(Error::InvalidCertificate(error)) => match time_within(error) {
                    Some(time) => now = time,
                    None => break,
                },
                _ => break,
            }
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
