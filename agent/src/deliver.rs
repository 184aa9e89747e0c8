//! Delivering one spooled report: its pages ahead of it, the whole set where the
//! collector cannot do with the difference, and what its answer means.

use std::time::Duration;

use congruent_protocol::digest::Digest;
use congruent_protocol::enrolment::code;
use congruent_protocol::report::{
    Acknowledgement, Advice, HEARTBEAT_PATH, Heartbeat, HeartbeatAnswer, LEDGER_PATH, PAGES_PATH,
    REPORTS_PATH,
};
use reqwest::{Method, StatusCode};

use crate::client::{Answer, Client, RequestError};
use crate::spool::{Parcel, Spool, Spooled};

/// How often a report is sent at once, with what the collector missed in between.
const ATTEMPTS: usize = 3;

/// What the collector made of a report.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// It is durable there.
    Acknowledged(Box<Acknowledgement>),
    /// It will never be taken, and why.
    Refused(String),
    /// It is larger than the collector takes, and so will the next one be.
    TooLarge(String),
}

/// It is not delivered, and may be later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliveryError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the collector at {url} refuses this node: {message}")]
    Revoked { url: String, message: String },
    #[error("the collector at {url} wants the node's certificate renewed: {message}")]
    Expired { url: String, message: String },
    #[error("the collector at {url} answered {status}: {message}")]
    NotNow { url: String, status: StatusCode, message: String, retry_after: Option<Duration> },
}

impl DeliveryError {
    /// How long the collector asks to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Request(_) | Self::Revoked { .. } | Self::Expired { .. } => None,
            Self::NotNow { retry_after, .. } => *retry_after,
        }
    }
}

/// Sends a report.
pub(crate) async fn deliver(
    client: &Client,
    spool: &Spool,
    spooled: &Spooled,
    parcel: &Parcel,
) -> Result<Delivery, DeliveryError> {
    let mut sent = send_with_pages(client, spool, parcel).await?;
    for _ in 1..ATTEMPTS {
        let Sent::Answered(answer) = &sent else { break };
        match missing(answer) {
            Some(Missing::Base) => match spool.whole_set(parcel) {
                Some((name, json)) => {
                    if let Some(too_large) = put_page(client, &name, &json).await? {
                        return Ok(too_large);
                    }
                    // Whole, it needs no pages.
                    sent = Sent::Answered(client.send(Method::POST, REPORTS_PATH, &parcel.bytes).await?);
                    continue;
                }
                None => break,
            },
            Some(Missing::Pages) => {}
            None => break,
        }
        sent = send_with_pages(client, spool, parcel).await?;
    }
    match sent {
        Sent::Answered(answer) if missing(&answer).is_some() => {
            let (_, message) = answer.refusal();
            let why = "the collector cannot put the report's findings together";
            Ok(Delivery::TooLarge(format!("{why}: {message}")))
        }
        Sent::Answered(answer) => settle(client, &answer, spooled.sequence, parcel),
        Sent::Not(delivery) => Ok(delivery),
    }
}

/// Tells the collector that the node is there.
pub(crate) async fn beat(client: &Client, heartbeat: &Heartbeat) -> Result<Advice, DeliveryError> {
    let body = serde_json::to_vec(heartbeat).expect("words and numbers always serialise");
    let answer = client.send(Method::POST, HEARTBEAT_PATH, &body).await?;
    match serde_json::from_slice::<HeartbeatAnswer>(&answer.body) {
        Ok(HeartbeatAnswer { advice }) if answer.status == StatusCode::OK => Ok(advice),
        _ => Err(not_now(client, &answer)),
    }
}

/// Gets the node's ledger, as it runs now; none where the collector has none.
pub(crate) async fn fetch_ledger(client: &Client) -> Result<Option<Vec<u8>>, DeliveryError> {
    let answer = client.send(Method::GET, LEDGER_PATH, &[]).await?;
    match answer.status {
        StatusCode::OK => Ok(Some(answer.body)),
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(not_now(client, &answer)),
    }
}

/// Whether a report was sent at all.
enum Sent {
    Answered(Answer),
    /// One of its pages was not taken.
    Not(Delivery),
}

async fn send_with_pages(client: &Client, spool: &Spool, parcel: &Parcel) -> Result<Sent, DeliveryError> {
    for page in spool.pages(parcel) {
        if let Some(too_large) = put_page(client, &page.id.digest, &page.json).await? {
            return Ok(Sent::Not(too_large));
        }
    }
    Ok(Sent::Answered(client.send(Method::POST, REPORTS_PATH, &parcel.bytes).await?))
}

/// Sends a page; gives what is to become of its report where it is never taken.
async fn put_page(client: &Client, name: &Digest, json: &[u8]) -> Result<Option<Delivery>, DeliveryError> {
    let answer = client.send(Method::PUT, &format!("{PAGES_PATH}/{name}"), json).await?;
    match answer.status {
        status if status.is_success() => Ok(None),
        StatusCode::PAYLOAD_TOO_LARGE => Ok(Some(Delivery::TooLarge(answer.refusal().1))),
        _ => Err(not_now(client, &answer)),
    }
}

/// What the collector lacks to take a report.
enum Missing {
    Base,
    Pages,
}

fn missing(answer: &Answer) -> Option<Missing> {
    if answer.status != StatusCode::CONFLICT {
        return None;
    }
    match answer.refusal().0.as_str() {
        "unknown-base" => Some(Missing::Base),
        "missing-pages" => Some(Missing::Pages),
        _ => None,
    }
}

fn settle(
    client: &Client,
    answer: &Answer,
    sequence: u64,
    parcel: &Parcel,
) -> Result<Delivery, DeliveryError> {
    if answer.status == StatusCode::OK
        && let Ok(acknowledgement) = serde_json::from_slice::<Acknowledgement>(&answer.body)
        // Only what was sent may be forgotten.
        && (acknowledgement.sequence, acknowledgement.digest) == (sequence, parcel.digest)
    {
        return Ok(Delivery::Acknowledged(Box::new(acknowledgement)));
    }
    let (code, message) = answer.refusal();
    if answer.status == StatusCode::PAYLOAD_TOO_LARGE && !code.is_empty() {
        return Ok(Delivery::TooLarge(message));
    }
    if is_final(answer.status, &code) {
        return Ok(Delivery::Refused(message));
    }
    Err(not_now(client, answer))
}

fn not_now(client: &Client, answer: &Answer) -> DeliveryError {
    let (code, message) = answer.refusal();
    let (url, status) = (client.url(), answer.status);
    match code.as_str() {
        code::REVOKED | code::NOT_ENROLLED => DeliveryError::Revoked { url, message },
        code::CERTIFICATE_EXPIRED => DeliveryError::Expired { url, message },
        _ => DeliveryError::NotNow { url, status, message, retry_after: answer.retry_after },
    }
}

/// Whether these bytes will never be taken, however often they are sent. A wrong
/// certificate or address can be mended; a collector that is too old can be upgraded.
fn is_final(status: StatusCode, code: &str) -> bool {
    match status {
        StatusCode::BAD_REQUEST => code == "malformed",
        StatusCode::CONFLICT => !matches!(code, "" | "unknown-base" | "missing-pages"),
        StatusCode::UNPROCESSABLE_ENTITY => !code.is_empty(),
        _ => false,
    }
}
