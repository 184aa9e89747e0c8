//! The way to the collector: requests and their answers, nothing of what they mean.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, bail};
use congruent_protocol::digest::Digest;
use congruent_protocol::path::escape;
use congruent_protocol::report::{IMAGES_PATH, ImageManifests, MANIFESTS_PATH, Refusal};
use jiff::Timestamp;
use reqwest::{Method, StatusCode, header};

use crate::enrolment::{self, EnrolError, Enrolment, EnrolmentFiles};

const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);
/// The most that is read of an answer: the largest ledger.
const MAX_ANSWER_BYTES: usize = 256 << 20;
const ZSTD_LEVEL: i32 = 3;
/// A longer wait than this is not asked for in earnest.
const LONGEST_RETRY_AFTER: u64 = 24 * 60 * 60;

/// There was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("cannot use the node's certificate")]
    Certificate(#[source] EnrolError),
    #[error("cannot compress a request")]
    Compress(#[source] std::io::Error),
    #[error("cannot reach the collector at {url}")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error(
        "this node's clock is wrong: it says {here}, and the collector at {url} says {there}; set it (the node stays \
         enrolled, and what waits is sent then)"
    )]
    Clock { url: String, here: Timestamp, there: Timestamp },
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

/// The way to the collector. It changes while the agent runs, whenever the node's
/// certificate is renewed.
pub(crate) struct Client {
    way: RwLock<Way>,
    files: EnrolmentFiles,
}

#[derive(Clone)]
struct Way {
    http: reqwest::Client,
    /// The collector's address, without a slash at its end.
    url: String,
}

impl Client {
    pub(crate) fn new(files: &EnrolmentFiles, enrolment: &Enrolment) -> Result<Self, RequestError> {
        let way = way(files, enrolment).map_err(RequestError::Certificate)?;
        Ok(Self { way: RwLock::new(way), files: files.clone() })
    }

    /// Shows the certificate that is in `files` now, from the next request on. What
    /// is under way comes to its end as it began.
    pub(crate) fn show(&self, files: &EnrolmentFiles, enrolment: &Enrolment) -> Result<(), EnrolError> {
        let way = way(files, enrolment)?;
        *self.way.write().unwrap_or_else(PoisonError::into_inner) = way;
        Ok(())
    }

    /// Where it leads.
    pub(crate) fn url(&self) -> String {
        self.way().url
    }

    fn way(&self) -> Way {
        self.way.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong, where it is the time.
    async fn clock_error(&self, url: &str, error: &reqwest::Error) -> Option<RequestError> {
        if !enrolment::is_about_time(error) {
            return None;
        }
        let there = enrolment::collectors_time(&self.files, url).await?;
        let url = url.to_owned();
        Some(RequestError::Clock { url, here: Timestamp::now(), there })
    }

    /// Asks for the manifest with this root, and gives it to `take` piece by piece.
    pub(crate) async fn manifest(
        &self,
        root: &Digest,
        mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Way { http, url: base } = self.way();
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

    /// Asks to which manifests the containers of an image may be held, that of the newest
    /// first. None where the collector knows of none, or of no such question.
    pub(crate) async fn image_manifests(&self, config_digest: &Digest) -> anyhow::Result<Vec<Digest>> {
        let answer = self.send(Method::GET, &format!("{IMAGES_PATH}/{config_digest}"), &[]).await?;
        match answer.status {
            StatusCode::OK => {
                let known: Result<ImageManifests, _> = serde_json::from_slice(&answer.body);
                Ok(known.with_context(|| format!("the answer of {} is malformed", self.url()))?.roots)
            }
            StatusCode::NOT_FOUND => Ok(Vec::new()),
            status => bail!("the collector at {} answered {status}: {}", self.url(), answer.refusal().1),
        }
    }

    /// Sends a request, its body compressed.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &[u8]) -> Result<Answer, RequestError> {
        let Way { http, url } = self.way();
        let unreachable = |source| RequestError::Unreachable { url: url.clone(), source };
        let mut request = http.request(method, format!("{url}{path}"));
        if !body.is_empty() {
            let packed = zstd::encode_all(body, ZSTD_LEVEL).map_err(RequestError::Compress)?;
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::CONTENT_ENCODING, "zstd")
                .body(packed);
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                return Err(self.clock_error(&url, &error).await.unwrap_or_else(|| unreachable(error)));
            }
        };
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(RequestError::TooLong { url });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, retry_after, body })
    }
}

fn way(files: &EnrolmentFiles, enrolment: &Enrolment) -> Result<Way, EnrolError> {
    let http = enrolment::mutual_client(files, |builder| builder.timeout(REQUEST_TIMEOUT))?;
    Ok(Way { http, url: enrolment.agents_url.trim_end_matches('/').to_owned() })
}

/// The seconds of `Retry-After`; its other form, a date, is not used by collectors.
fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(LONGEST_RETRY_AFTER)))
}
