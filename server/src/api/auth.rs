//! Who asks. Tokens are hashed first, then looked up or compared.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Api;
use super::answer::Problem;
use crate::config::{Node, TokenHash};

/// Lets operators through and nobody else.
pub(super) async fn require_operator(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let is_operator = bearer(request.headers()).is_some_and(|token| token.matches(&api.config.operator));
    if !is_operator {
        let message = "this needs the operators' token: `Authorization: Bearer TOKEN`";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message));
    }
    Ok(next.run(request).await)
}

/// The node whose token a request carries.
pub(super) fn node<'a>(api: &'a Api, headers: &HeaderMap) -> Result<&'a Node, Problem> {
    bearer(headers).and_then(|token| api.config.node_of(&token)).ok_or_else(|| {
        let message = "this needs the token of a node: `Authorization: Bearer TOKEN`";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    })
}

fn bearer(headers: &HeaderMap) -> Option<TokenHash> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| TokenHash::of(token.trim()))
}
