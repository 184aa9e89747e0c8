//! Requests to one repository of a registry, and their answers: who is let in, what
//! is tried again, and what is not sent on.

use std::error::Error;
use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use congruent_protocol::path::escape;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Method, Response, StatusCode, Url};
use rustls::InvalidMessage;
use serde::Deserialize;
use tokio::runtime::Runtime;

use super::authorization;
use super::credentials::{self, Credentials};
use super::{Options, RegistryError, challenge};
use crate::image::reference::RegistryReference;
use crate::regular;
use crate::retry::Retry;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a registry may be silent.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// The same where a whole blob is sent first.
const PUSH_TIMEOUT: Duration = Duration::from_mins(10);
const MAX_REDIRECTS: usize = 5;
/// How often a request is made that nobody could serve.
const MAX_TRIES: u32 = 4;
/// A longer pause is not waited for.
const MAX_PAUSE: Duration = Duration::from_mins(1);
/// The most that is read of an error's words.
const MAX_ERROR_BYTES: u64 = 64 << 10;
const MAX_TOLD_CHARS: usize = 300;

/// What may be done with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// The way to one repository.
pub(super) struct Client {
    runtime: Runtime,
    /// Follows redirects, and leaves credentials behind where they lead elsewhere.
    http: reqwest::Client,
    /// Follows none: for what is sent.
    direct: reqwest::Client,
    pub(super) reference: RegistryReference,
    access: Access,
    credentials: Option<Credentials>,
    authorization: Mutex<Option<HeaderValue>>,
    base: Url,
}

/// A request that may be made again.
pub(super) struct Request {
    /// What it is for, after "cannot".
    pub(super) action: String,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn new(action: impl Into<String>, method: Method, url: Url) -> Self {
        Self { action: action.into(), method, url, headers: HeaderMap::new(), body: Vec::new() }
    }

    pub(super) fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        // Values are our own words, digests and media types that were read as JSON.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl Client {
    pub(super) fn new(
        reference: &RegistryReference,
        access: Access,
        options: &Options,
    ) -> Result<Self, RegistryError> {
        // Fails only where a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let scheme = if options.plain_http { "http" } else { "https" };
        let base = format!("{scheme}://{}/v2/{}/", reference.host(), reference.repository);
        let base = Url::parse(&base).map_err(|_| RegistryError::Address(base))?;
        let build = |policy, timeout| build(options, policy, timeout);
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(RegistryError::Runtime)?,
            http: build(Policy::limited(MAX_REDIRECTS), READ_TIMEOUT)?,
            direct: build(Policy::none(), PUSH_TIMEOUT)?,
            reference: reference.clone(),
            access,
            credentials: credentials::find(options.auth_file.as_deref(), reference)?,
            authorization: Mutex::new(None),
            base,
        })
    }

    /// An address in the repository.
    pub(super) fn url(&self, path: &str) -> Result<Url, RegistryError> {
        // A digest's colon must not make a scheme of what stands before it.
        self.resolve(&format!("./{path}"))
    }

    /// An address that the registry named, as it may be relative.
    pub(super) fn resolve(&self, address: &str) -> Result<Url, RegistryError> {
        let unusable = || RegistryError::Address(address.chars().take(MAX_TOLD_CHARS).collect());
        let url = self.base.join(address).map_err(|_| unusable())?;
        let is_secure = url.scheme() == "https" || (url.scheme() == "http" && self.base.scheme() == "http");
        if is_secure { Ok(url) } else { Err(unusable()) }
    }

    /// Sends a request, with what opens the registry where it asks for that, again
    /// where it could not be served for now.
    pub(super) fn send(&self, request: &Request) -> Result<Response, RegistryError> {
        let (mut retry, mut tries, mut may_authorize) = (Retry::default(), 1, true);
        loop {
            let pause = match self.send_once(request) {
                Ok(answer)
                    if answer.status() == StatusCode::UNAUTHORIZED
                        && may_authorize
                        && self.is_ours(answer.url()) =>
                {
                    may_authorize = false;
                    self.authorize(&answer)?;
                    continue;
                }
                Ok(answer) if is_passing(answer.status()) && tries < MAX_TRIES => {
                    retry.after(retry_after(answer.headers()))
                }
                Err(error)
                    if !error.is_connect()
                        && !error.is_redirect()
                        && !error.is_builder()
                        && tries < MAX_TRIES =>
                {
                    retry.next()
                }
                Ok(answer) => return Ok(answer),
                Err(error) => return Err(self.failed(&request.action, error)),
            };
            tries += 1;
            thread::sleep(pause.min(MAX_PAUSE));
        }
    }

    fn send_once(&self, request: &Request) -> Result<Response, reqwest::Error> {
        let is_asking = matches!(request.method, Method::GET | Method::HEAD);
        let http = if is_asking { &self.http } else { &self.direct };
        let mut made =
            http.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        let authorization = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // What opens the registry is nothing for whoever else it sends us to.
        if let Some(authorization) = authorization.filter(|_| self.is_ours(&request.url)) {
            made = made.header(header::AUTHORIZATION, authorization);
        }
        if !is_asking {
            made = made.body(request.body.clone());
        }
        // Its timers need the runtime when they are made, not only when they run.
        self.runtime.block_on(async { made.send().await })
    }

    fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Gets what the registry asks for in `answer`.
    fn authorize(&self, answer: &Response) -> Result<(), RegistryError> {
        let challenges: Vec<challenge::Challenge> = answer
            .headers()
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        let authorization = authorization::answer(&challenges, self)?;
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(authorization);
        Ok(())
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// What a token is asked for.
    pub(super) fn scope(&self) -> String {
        let actions = if self.access == Access::Push { "pull,push" } else { "pull" };
        format!("repository:{}:{actions}", self.reference.repository)
    }

    /// Asks an authority, which is another host, and follows no redirect from there.
    pub(super) fn ask_authority(&self, request: reqwest::Request) -> Result<Vec<u8>, RegistryError> {
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let action = format!("get a token for {}", self.reference.repository);
        let answer =
            self.runtime.block_on(async { self.direct.execute(request).await }).map_err(|error| {
                RegistryError::Request {
                    action: action.clone(),
                    host: host.clone(),
                    source: error.without_url(),
                }
            })?;
        let status = answer.status();
        let body = self.body(answer, &action, MAX_ERROR_BYTES)?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        Err(RegistryError::Status { action, host, status, told: told(&body) })
    }

    pub(super) fn build(&self, method: Method, url: Url) -> reqwest::RequestBuilder {
        self.direct.request(method, url)
    }

    /// The next piece of an answer.
    pub(super) fn piece(
        &self,
        answer: &mut Response,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, reqwest::Error> {
        self.runtime.block_on(async { answer.chunk().await })
    }

    /// An answer's body, up to `limit` bytes.
    pub(super) fn body(
        &self,
        mut answer: Response,
        action: &str,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&mut answer).map_err(|error| self.failed(action, error))? {
            body.extend_from_slice(piece.as_ref());
            if body.len() as u64 > limit {
                return Err(RegistryError::TooLong { action: action.to_owned(), host: self.host(), limit });
            }
        }
        Ok(body)
    }

    /// Why an answer is none of those that were expected.
    pub(super) fn refused(&self, action: &str, answer: Response) -> RegistryError {
        let (action, host, status) = (action.to_owned(), self.host(), answer.status());
        if status == StatusCode::NOT_FOUND {
            return RegistryError::NotFound { action, host };
        }
        let body = self.body(answer, &action, MAX_ERROR_BYTES).unwrap_or_default();
        RegistryError::Status { action, host, status, told: told(&body) }
    }

    pub(super) fn failed(&self, action: &str, error: reqwest::Error) -> RegistryError {
        let (action, host) = (action.to_owned(), self.host());
        if is_of_no_tls(&error) {
            return RegistryError::NoTls { action, host };
        }
        RegistryError::Request { action, host, source: error.without_url() }
    }

    pub(super) fn host(&self) -> String {
        self.reference.host().to_owned()
    }
}

/// Whether what answered the first words of TLS was something else.
fn is_of_no_tls(error: &reqwest::Error) -> bool {
    std::iter::successors(error.source(), |&cause| cause.source())
        .filter_map(of_tls)
        .any(|error| matches!(error, rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

/// What TLS said, of an error that may have been put into others, which their sources pass over.
fn of_tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    error.downcast_ref().or_else(|| of_tls(error.downcast_ref::<io::Error>()?.get_ref()?))
}

fn build(
    options: &Options,
    policy: Policy,
    read_timeout: Duration,
) -> Result<reqwest::Client, RegistryError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("congruent/", env!("CARGO_PKG_VERSION")))
        .https_only(!options.plain_http)
        .redirect(policy)
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(read_timeout);
    if let Some(path) = &options.ca {
        let pem = regular::read(path, regular::MAX_TEXT_BYTES)
            .map_err(|source| RegistryError::ReadAuthority { path: path.clone(), source })?;
        let authorities = Certificate::from_pem_bundle(&pem);
        let authorities =
            authorities.map_err(|source| RegistryError::Authority { path: path.clone(), source })?;
        builder = builder.tls_certs_merge(authorities);
    }
    builder.build().map_err(RegistryError::Prepare)
}

/// Whether another try may be served. Docker's registry answers 500 to one of several who
/// write at once.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_PAUSE))
}

/// A registry's words for an error, as they can be told.
fn told(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Error>,
    }
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(Errors { errors }) = serde_json::from_slice(body) else { return String::new() };
    let words: Vec<String> =
        errors.iter().map(|error| format!("{}: {}", error.code, error.message)).collect();
    let words: String = words.join("; ").chars().take(MAX_TOLD_CHARS).collect();
    if words.is_empty() { words } else { format!(" ({})", escape(words.as_bytes())) }
}
