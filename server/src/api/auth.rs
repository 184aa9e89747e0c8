//! Who asks, and whether they may. Tokens are hashed first, then looked up or
//! compared. Each route states the role that it needs; who has less is refused,
//! and that is put on record.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Api;
use super::answer::Problem;
use crate::config::{Node, TokenHash};
use crate::identity::{Author, Operator, ReasonError, Role};

/// The header that says why something is changed.
const REASON: &str = "congruent-reason";

/// A route's state: the API, and the role that the route needs.
pub(super) type Needs = (Arc<Api>, Role);

/// Lets operators through who have the role that a route needs. Handlers find
/// the [`Operator`] in the request's extensions.
pub(super) async fn require(
    State((api, needed)): State<Needs>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let operator = operator(&api, request.headers())?;
    if operator.role < needed {
        let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let route = format!("{} {route}", request.method());
        return Err(refuse(&api, &operator, route, needed).await);
    }
    request.extensions_mut().insert(operator);
    Ok(next.run(request).await)
}

/// Puts on record that an operator's role does not suffice; gives the answer.
pub(super) async fn refuse(api: &Api, operator: &Operator, route: String, needed: Role) -> Problem {
    let message = format!(
        "this needs the role {needed}, and operator {:?} has the role {}; ask an admin",
        operator.name, operator.role
    );
    let (operator, now) = (operator.clone(), (api.clock)());
    let recording =
        api.store.write("record a refused call", move |tx| tx.audit_refusal(&operator, now, &route, needed));
    match recording.await {
        Ok(()) => Problem::new(StatusCode::FORBIDDEN, "role-too-low", message),
        Err(error) => error.into(),
    }
}

/// The operator whose token a request carries.
fn operator(api: &Api, headers: &HeaderMap) -> Result<Operator, Problem> {
    let refuse = |message: String| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
    let unknown = || refuse("this needs the token of an operator: `Authorization: Bearer TOKEN`".to_owned());
    let token = bearer(headers).ok_or_else(unknown)?;
    if token.matches(&api.config.operator) {
        return Ok(Operator::configured());
    }
    let known = api.operators.admit(&token, (api.clock)()).ok_or_else(unknown)?;
    known.map_err(|lapsed| refuse(lapsed.to_string()))
}

/// Who makes a change, and why: the operator, and the reason in the header.
impl FromRequestParts<Arc<Api>> for Author {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Problem> {
        let operator = parts.extensions.get::<Operator>().cloned().ok_or_else(|| {
            let message = "the route states no role; this is a bug";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", message)
        })?;
        let reason = parts.headers.get(REASON).map(HeaderValue::as_bytes);
        Self::new(operator, reason).map_err(|error| {
            let code = match error {
                ReasonError::Missing => "reason-missing",
                ReasonError::Unfit => "reason-unfit",
            };
            Problem::new(StatusCode::BAD_REQUEST, code, error.to_string())
        })
    }
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
