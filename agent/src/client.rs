//! The way to the collector.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, bail};
use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::enrolment::code;
use congruent_protocol::path::escape;
use congruent_protocol::report::{Acknowledgement, MANIFESTS_PATH, REPORTS_PATH, Refusal};
use reqwest::StatusCode;

use crate::config::Collector;
use crate::enrolment::{self, EnrolError, Enrolment, EnrolmentFiles};
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
    #[error("cannot use the node's certificate")]
    Certificate(#[source] EnrolError),
    #[error("the collector at {url} refuses this node: {message}")]
    Refused { url: String, message: String },
    #[error("the collector at {url} wants the node's certificate renewed: {message}")]
    Expired { url: String, message: String },
    #[error("cannot reach the collector at {url}")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the collector at {url} answered {status}: {message}")]
    NotNow { url: String, status: StatusCode, message: String },
}

/// The way to the collector. For an enrolled node it changes while the agent runs,
/// whenever its certificate is renewed.
pub(crate) struct Client {
    way: RwLock<Way>,
    token: Option<String>,
}

#[derive(Clone)]
struct Way {
    http: reqwest::Client,
    /// The collector's address, without a slash at its end.
    base: String,
}

impl Client {
    pub(crate) fn new(collector: &Collector, files: &EnrolmentFiles) -> Result<Self, DeliveryError> {
        let (url, token) = match collector {
            Collector::Token { url, token } => (url, token.clone()),
            Collector::Enrolled(enrolment) => {
                let way = mutual(files, enrolment).map_err(DeliveryError::Certificate)?;
                return Ok(Self { way: RwLock::new(way), token: None });
            }
        };
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
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { way: RwLock::new(Way { http, base }), token: Some(token) })
    }

    /// Shows the certificate that is in `files` now, from the next request on. What
    /// is under way comes to its end as it began.
    pub(crate) fn show(&self, files: &EnrolmentFiles, enrolment: &Enrolment) -> Result<(), EnrolError> {
        let way = mutual(files, enrolment)?;
        *self.way.write().unwrap_or_else(PoisonError::into_inner) = way;
        Ok(())
    }

    fn way(&self) -> Way {
        self.way.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for the manifest with this root, and gives it to `take` piece by piece.
    pub(crate) async fn manifest(
        &self,
        root: &Digest,
        mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Way { http, base } = self.way();
        let url = format!("{base}{MANIFESTS_PATH}/{root}/content");
        let unreachable = || format!("cannot reach the collector at {url}");
        let mut response = http.get(&url).send().await.with_context(unreachable)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(piece) = response.chunk().await.with_context(unreachable)? {
            if status == StatusCode::OK {
                take(&piece)?;
            } else if answer.len() <= MAX_ANSWER_BYTES {
                answer.extend_from_slice(&piece);
            }
        }
        if status == StatusCode::OK {
            return Ok(());
        }
        let message = serde_json::from_slice::<Refusal>(&answer).map(|refusal| refusal.message);
        let message = message.unwrap_or_default();
        bail!("the collector at {url} answered {status}: {}", escape(message.as_bytes()))
    }

    /// Sends a report's bytes.
    pub(crate) async fn deliver(
        &self,
        spooled: &Spooled,
        report: Vec<u8>,
    ) -> Result<Delivery, DeliveryError> {
        let Way { http, base } = self.way();
        let url = format!("{base}{REPORTS_PATH}");
        let unreachable = |source| DeliveryError::Unreachable { url: url.clone(), source };
        let digest = Algorithm::Blake3.digest(&report);
        let mut request = http.post(&url).header("content-type", "application/json").body(report);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
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
        Err(match code.as_str() {
            code::REVOKED | code::NOT_ENROLLED => DeliveryError::Refused { url, message },
            code::CERTIFICATE_EXPIRED => DeliveryError::Expired { url, message },
            _ => DeliveryError::NotNow { url, status, message },
        })
    }
}

/// The way of an enrolled node.
fn mutual(files: &EnrolmentFiles, enrolment: &Enrolment) -> Result<Way, EnrolError> {
    let http = enrolment::mutual_client(files, |builder| builder.timeout(REQUEST_TIMEOUT))?;
    Ok(Way { http, base: enrolment.agents_url.trim_end_matches('/').to_owned() })
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
