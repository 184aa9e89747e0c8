//! The way to the collector.

use std::time::Duration;

use congruent_protocol::digest::Algorithm;
use congruent_protocol::path::escape;
use congruent_protocol::report::{Acknowledgement, REPORTS_PATH, Refusal};
use reqwest::StatusCode;

use crate::config::Collector;
use crate::spool::Spooled;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);
/// The most that is read of an answer.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// What the collector made of a report.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// It is durable there.
    Acknowledged(Acknowledgement),
    /// It will never be taken, and why.
    Refused(String),
    /// It is larger than the collector takes, and so will the next one be.
    TooLarge(String),
}

/// The report is not delivered, and may be later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliveryError {
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("cannot reach the collector at {url}")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the collector at {url} answered {status}: {message}")]
    NotNow { url: String, status: StatusCode, message: String },
}

pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    pub(crate) fn new(collector: &Collector) -> Result<Self, DeliveryError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A token must not follow a redirect to somewhere else, nor go through
            // a proxy that the environment happens to name.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("congruent/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(DeliveryError::Client)?;
        let url = format!("{}{REPORTS_PATH}", collector.url.as_str().trim_end_matches('/'));
        Ok(Self { http, url, token: collector.token.clone() })
    }

    /// Sends a report's bytes.
    pub(crate) async fn deliver(
        &self,
        spooled: &Spooled,
        report: Vec<u8>,
    ) -> Result<Delivery, DeliveryError> {
        let unreachable = |source| DeliveryError::Unreachable { url: self.url.clone(), source };
        let digest = Algorithm::Blake3.digest(&report);
        let request = self
            .http
            .post(&self.url)
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .body(report);
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            answer.extend_from_slice(&chunk);
            if answer.len() > MAX_ANSWER_BYTES {
                break;
            }
        }
        if status == StatusCode::OK
            && let Ok(acknowledgement) = serde_json::from_slice::<Acknowledgement>(&answer)
            // Only what was sent may be forgotten.
            && (acknowledgement.sequence, acknowledgement.digest) == (spooled.sequence, digest)
        {
            return Ok(Delivery::Acknowledged(acknowledgement));
        }
        let (code, message) = match serde_json::from_slice::<Refusal>(&answer) {
            Ok(refusal) => (refusal.code, refusal.message),
            Err(_) => (String::new(), String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned()),
        };
        let message = escape(message.as_bytes()).into_owned();
        if status == StatusCode::PAYLOAD_TOO_LARGE && !code.is_empty() {
            return Ok(Delivery::TooLarge(message));
        }
        if is_final(status, &code) {
            return Ok(Delivery::Refused(message));
        }
        Err(DeliveryError::NotNow { url: self.url.clone(), status, message })
    }
}

/// Whether these bytes will never be taken, however often they are sent. A wrong
/// token or address can be mended; a collector that is too old can be upgraded.
fn is_final(status: StatusCode, code: &str) -> bool {
    match status {
        StatusCode::BAD_REQUEST => code == "malformed",
        StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => !code.is_empty(),
        _ => false,
    }
}
