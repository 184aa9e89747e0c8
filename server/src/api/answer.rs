//! Answers: JSON, also where something is wrong.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use congruent_protocol::enrolment::code;
use congruent_protocol::report::Refusal;
use tracing::error;

use crate::blobs::BlobError;
use crate::identity::EnrolError;
use crate::ingest::{Refused, chain_of, shorten};
use crate::store::StoreError;

/// The version of the JSON that the API gives.
pub(super) const API_SCHEMA: u32 = 1;

/// How long, in seconds, callers are asked to wait at most.
const LONGEST_RETRY_AFTER: u16 = 30;

/// What is wrong with a request, or with us.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    refusal: Refusal,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            refusal: Refusal { code: code.to_owned(), message: message.into(), server_time: None },
        }
    }

    /// Whether a node is unknown, as far as is known here.
    pub(super) fn is_not_enrolled(&self) -> bool {
        self.refusal.code == code::NOT_ENROLLED
    }

    /// There is no `what` of that name.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("there is no such {what}"))
    }
}

/// Takes a body of JSON, or says what is wrong with it.
pub(super) fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    let refuse = |rejection: JsonRejection| {
        // 422 is for what is of the right shape.
        let status = match rejection.status() {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            other => other,
        };
        Problem::new(status, "bad-body", shorten(&rejection.body_text()))
    };
    body.map(|Json(value)| value).map_err(refuse)
}

impl From<StoreError> for Problem {
    /// Operators get the short form; the log has the causes.
    fn from(error: StoreError) -> Self {
        error!("a request failed: {}", chain_of(&error));
        if error.is_lost_body() {
            // Which blob it is, and what is wrong with it, is what to mend.
            let message = shorten(&chain_of(&error));
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "evidence-unavailable", message);
        }
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", error.to_string())
    }
}

impl From<BlobError> for Problem {
    /// None of these is the caller's fault, nor a verdict. The log has the causes.
    fn from(error: BlobError) -> Self {
        error!("a blob cannot be had or kept: {}", chain_of(&error));
        let code = match error {
            BlobError::Missing { .. } | BlobError::Damaged { .. } => "manifest-unavailable",
            _ => "store-unavailable",
        };
        let message = match error {
            // What the disk says is what to mend.
            BlobError::Local { .. } => chain_of(&error),
            error => error.to_string(),
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, shorten(&message))
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Causes that are ours stay in our log; the caller's go back to the caller.
        let message = if status.is_client_error() { chain_of(&refused) } else { refused.to_string() };
        Self::new(status, refused.code(), shorten(&message))
    }
}

impl From<EnrolError> for Problem {
    fn from(refused: EnrolError) -> Self {
        let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let message = if status.is_client_error() { chain_of(&refused) } else { refused.to_string() };
        let mut problem = Self::new(status, refused.code(), shorten(&message));
        problem.refusal.server_time = refused.server_time();
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.refusal)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            // Not the same for all, or they would all come back at once.
            let seconds = LONGEST_RETRY_AFTER.min(1 + (crate::serve::random() * 30.0) as u16);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
