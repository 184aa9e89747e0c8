//! The way to the collector: requests and their answers, nothing of what they mean.

use std::time::Duration;

use congruent_protocol::path::escape;
use congruent_protocol::report::Refusal;
use reqwest::{Method, StatusCode, header};

use crate::config::Collector;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);
/// The most that is read of an answer.
const MAX_ANSWER_BYTES: usize = 64 << 20;
const ZSTD_LEVEL: i32 = 3;
/// A longer wait than this is not asked for in earnest.
const LONGEST_RETRY_AFTER: u64 = 24 * 60 * 60;

/// There was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("cannot compress a request")]
    Compress(#[source] std::io::Error),
    #[error("cannot reach the collector at {url}")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the answer of the collector at {url} is over {MAX_ANSWER_BYTES} bytes")]
    TooLong { url: String },
}

/// What the collector answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// How long it asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The word for programs and the message of a refusal; the message is safe to
    /// print.
    pub(crate) fn refusal(&self) -> (String, String) {
        let (code, message) = match serde_json::from_slice::<Refusal>(&self.body) {
            Ok(refusal) => (refusal.code, refusal.message),
            Err(_) => {
                let shown = &self.body[..self.body.len().min(200)];
                (String::new(), String::from_utf8_lossy(shown).into_owned())
            }
        };
        (code, escape(message.as_bytes()).into_owned())
    }
}

pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    pub(crate) fn new(collector: &Collector) -> Result<Self, RequestError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A token must not follow a redirect to somewhere else, nor go through
            // a proxy that the environment happens to name.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("congruent/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(RequestError::Client)?;
        let url = collector.url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http, url, token: collector.token.clone() })
    }

    /// Where it leads.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request with a body, compressed.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &[u8]) -> Result<Answer, RequestError> {
        let unreachable = |source| RequestError::Unreachable { url: self.url.clone(), source };
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .header(header::CONTENT_TYPE, "application/json");
        if !body.is_empty() {
            let packed = zstd::encode_all(body, ZSTD_LEVEL).map_err(RequestError::Compress)?;
            request = request.header(header::CONTENT_ENCODING, "zstd").body(packed);
        }
        let mut response = request.send().await.map_err(unreachable)?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(RequestError::TooLong { url: self.url.clone() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, retry_after, body })
    }
}

/// The seconds of `Retry-After`; its other form, a date, is not used by collectors.
fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(LONGEST_RETRY_AFTER)))
}
