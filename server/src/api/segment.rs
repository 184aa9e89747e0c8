//! What stands in a route's path where the route has a name in braces.

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::answer::Problem;

/// The segment, decoded.
#[derive(Debug)]
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let segment = Path::<String>::from_request_parts(parts, state).await;
        let Path(segment) = segment.map_err(|_| {
            let message = "the path does not decode to UTF-8";
            Problem::new(StatusCode::BAD_REQUEST, "bad-path", message)
        })?;
        Ok(Self(segment))
    }
}
