//! What stands in a route's path where the route has a name in braces.

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::answer::Problem;

/// The segment, decoded; or a tuple of all that have a name.
#[derive(Debug)]
pub(super) struct Segment<T = String>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let segment = Path::<T>::from_request_parts(parts, state).await;
        let Path(segment) = segment.map_err(|_| {
            let message = "the path does not decode to UTF-8";
            Problem::new(StatusCode::BAD_REQUEST, "bad-path", message)
        })?;
        Ok(Self(segment))
    }
}
