//! What goes to the collector, and what comes back: small, and bounded.

use std::time::Duration;

use congruent_protocol::key::SecretKey;
use congruent_protocol::path::escape;
use congruent_protocol::report::Refusal;
use data_encoding::BASE64;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::EnrolError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The most that is read of an answer.
const MAX_ANSWER_BYTES: usize = 256 << 10;

/// A client for one request, over this TLS.
pub(super) fn client(tls: rustls::ClientConfig) -> Result<reqwest::Client, EnrolError> {
    builder(tls).timeout(REQUEST_TIMEOUT).build().map_err(EnrolError::Client)
}

/// What every client of the collector's has in common. Neither a redirect nor a
/// proxy of the environment is to see what is sent.
pub(super) fn builder(tls: rustls::ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("congruent/", env!("CARGO_PKG_VERSION")))
}

/// A certificate signing request of `key`, DER in base64. It asks for nothing: the
/// collector says what the certificate holds.
pub(super) fn signing_request(key: &SecretKey) -> Result<String, EnrolError> {
    let der = private_key(key)?;
    let pair = KeyPair::try_from(&der).map_err(EnrolError::Request)?;
    let request = CertificateParams::default().serialize_request(&pair).map_err(EnrolError::Request)?;
    Ok(BASE64.encode(request.der()))
}

/// The key as TLS takes it.
pub(super) fn private_key(key: &SecretKey) -> Result<PrivateKeyDer<'static>, EnrolError> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(key.to_pem().as_bytes());
    der.map(PrivateKeyDer::Pkcs8).map_err(|_| EnrolError::Request(rcgen::Error::CouldNotParseKeyPair))
}

/// Posts JSON to `url`, and takes JSON or a refusal.
pub(super) async fn post<T: DeserializeOwned>(
    client: &reqwest::Client,
    url: &str,
    request: &impl Serialize,
) -> Result<T, EnrolError> {
    let unreachable = |source| EnrolError::Unreachable { url: url.to_owned(), source };
    let mut response = client.post(url).json(request).send().await.map_err(unreachable)?;
    let status = response.status();
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        answer.extend_from_slice(&chunk);
        if answer.len() > MAX_ANSWER_BYTES {
            break;
        }
    }
    if status.is_success()
        && let Ok(value) = serde_json::from_slice(&answer)
    {
        return Ok(value);
    }
    match serde_json::from_slice::<Refusal>(&answer) {
        Ok(Refusal { code, message, server_time }) => {
            Err(EnrolError::Refused { code, message: escape(message.as_bytes()).into_owned(), server_time })
        }
        Err(_) => {
            let text = escape(&answer[..answer.len().min(200)]).into_owned();
            Err(EnrolError::Answer { url: url.to_owned(), status: status.as_u16(), text })
        }
    }
}
