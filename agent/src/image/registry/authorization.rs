//! From a registry's challenge to the header that answers it: the password itself, or
//! a token that the registry's authority gives for it.
//!
//! Format: <https://distribution.github.io/distribution/spec/auth/>.

use data_encoding::BASE64;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{self, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::RegistryError;
use super::challenge::Challenge;
use super::client::Client;
use super::credentials::Credentials;

/// What authorities know us as.
const CLIENT_ID: &str = "congruent";

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// What answers the best of `challenges`.
pub(super) fn answer(challenges: &[Challenge], client: &Client) -> Result<HeaderValue, RegistryError> {
    let with = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
    if let Some(Credentials::Token(token)) = client.credentials() {
        return secret(&format!("Bearer {token}"), client);
    }
    if let Some(challenge) = with("bearer") {
        let token = token(challenge, client)?;
        return secret(&format!("Bearer {token}"), client);
    }
    match (with("basic"), client.credentials()) {
        (Some(_), Some(Credentials::Password { user, password })) => secret(&basic(user, password), client),
        (Some(_), _) => Err(RegistryError::NoCredentials {
            host: client.host(),
            repository: client.reference.repository.clone(),
        }),
        (None, _) => {
            let told: Vec<&str> = challenges.iter().map(|challenge| challenge.scheme.as_str()).collect();
            Err(RegistryError::Challenge { host: client.host(), told: told.join(", ") })
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
}

/// A header's value that no log tells.
fn secret(text: &str, client: &Client) -> Result<HeaderValue, RegistryError> {
    let value = HeaderValue::from_str(text);
    let mut value = value.map_err(|_| RegistryError::Token { host: client.host() })?;
    value.set_sensitive(true);
    Ok(value)
}

fn token(challenge: &Challenge, client: &Client) -> Result<String, RegistryError> {
    let unknown =
        || RegistryError::Challenge { host: client.host(), told: "bearer without a realm".to_owned() };
    let realm = client.resolve(challenge.parameter("realm").ok_or_else(unknown)?)?;
    let service = challenge.parameter("service").unwrap_or_default();
    let host = realm.host_str().unwrap_or_default().to_owned();
    let body = client.ask_authority(request(realm, service, client)?)?;
    let answer: Option<TokenAnswer> = serde_json::from_slice(&body).ok();
    let token = answer.and_then(|answer| answer.token.or(answer.access_token));
    token.filter(|token| !token.is_empty()).ok_or(RegistryError::Token { host })
}

/// With an identity, as OAuth 2 has it; otherwise with name and password, or as nobody.
fn request(mut realm: Url, service: &str, client: &Client) -> Result<reqwest::Request, RegistryError> {
    let scope = client.scope();
    let built = match client.credentials() {
        Some(Credentials::Identity(identity)) => {
            let fields = [
                ("grant_type", "refresh_token"),
                ("service", service),
                ("client_id", CLIENT_ID),
                ("scope", &scope),
                ("refresh_token", identity),
            ];
            let encode = |(key, value): (&str, &str)| {
                format!("{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
            };
            client
                .build(Method::POST, realm)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(fields.map(encode).join("&"))
        }
        credentials => {
            if !service.is_empty() {
                realm.query_pairs_mut().append_pair("service", service);
            }
            realm.query_pairs_mut().append_pair("scope", &scope);
            let request = client.build(Method::GET, realm);
            match credentials {
                Some(Credentials::Password { user, password }) => {
                    request.header(header::AUTHORIZATION, secret(&basic(user, password), client)?)
                }
                _ => request,
            }
        }
    };
    built.build().map_err(|error| client.failed("ask for a token", error))
}
