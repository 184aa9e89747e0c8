//! Who asks, and whether they may. Tokens are hashed first, then looked up or
//! compared. Each route states the role that it needs; who has less is refused,
//! and that is put on record.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use congruent_protocol::enrolment::{RENEW_PATH, code};
use tokio::time::timeout;

use super::Api;
use super::answer::Problem;
use super::routes::Certificate;
use crate::config::{Node, Standing, TokenHash};
use crate::identity::{Author, EnrolError, Operator, Peer, ReasonError, Role};
use crate::listener::Connection;

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

/// The node that sends a request, by its certificate.
#[derive(Debug, Clone)]
pub(super) struct Sender(pub(super) Arc<Node>);

/// How much of the body of a refused request is read and dropped, and for how
/// long: over HTTP/2 some clients lose an answer that comes before they have sent.
const DROPPED_BYTES: usize = 64 << 10;
const DROPPED_FOR: Duration = Duration::from_secs(2);

/// Gives the answer, once what is under way has arrived.
async fn turn_away(request: Request, refusal: Problem) -> Problem {
    let _ = timeout(DROPPED_FOR, to_bytes(request.into_body(), DROPPED_BYTES)).await;
    refusal
}

/// Lets nodes through whose enrolment stands, by their certificates. Asked at each
/// request, so that whoever is revoked is out at once, connected or not.
pub(super) async fn require_certificate(
    State((api, needed)): State<(Arc<Api>, Certificate)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let mut identified = identify(&api, &request);
    if api.store.is_shared() && identified.as_ref().is_err_and(Problem::is_not_enrolled) {
        // It may have joined at another collector, a moment ago. Whoever asks has a
        // certificate of the authority: strangers keep nothing busy.
        api.store.take_in_others().await?;
        identified = identify(&api, &request);
    }
    let identified =
        identified.and_then(|(peer, node)| check_end(&api, needed, &peer).map(|()| (peer, node)));
    match identified {
        Ok((peer, node)) => {
            request.extensions_mut().insert(Sender(node));
            request.extensions_mut().insert(peer);
            Ok(next.run(request).await)
        }
        Err(refusal) => Err(turn_away(request, refusal).await),
    }
}

/// Refuses a certificate that is over, where one that is not is needed.
fn check_end(api: &Api, needed: Certificate, peer: &Peer) -> Result<(), Problem> {
    if needed == Certificate::Enrolled || (api.clock)() <= peer.not_after {
        return Ok(());
    }
    let message = format!("the node's certificate is over and serves for POST {RENEW_PATH} only; renew it");
    Err(Problem::new(StatusCode::FORBIDDEN, code::CERTIFICATE_EXPIRED, message))
}

/// Who sends a request, by the certificate that its connection was made with.
fn identify(api: &Api, request: &Request) -> Result<(Arc<Peer>, Arc<Node>), Problem> {
    let peer = request.extensions().get::<Connection>().and_then(|connection| connection.peer.clone());
    let peer = peer.ok_or_else(|| {
        let message = "this needs the certificate of an enrolled node; `congruent enroll` gets one";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    })?;
    let forbidden = |code, message| Problem::new(StatusCode::FORBIDDEN, code, message);
    let node = match api.config.nodes.standing(&peer.node, &peer.key) {
        Standing::Enrolled(node) => node,
        Standing::Revoked => {
            let message = format!(
                "the enrolment of the node {} was revoked; to let it join again, remove its state directory and \
                 use a new token",
                peer.node
            );
            return Err(forbidden(code::REVOKED, message));
        }
        Standing::Unknown => {
            let message = format!(
                "the certificate of the node {} is genuine, but the collector knows no such enrolment; was its \
                 database restored from a time before?",
                peer.node
            );
            return Err(forbidden(code::NOT_ENROLLED, message));
        }
    };
    let now = (api.clock)();
    if now < peer.not_before {
        return Err(EnrolError::NotYet { from: peer.not_before, server: now }.into());
    }
    Ok((peer, node))
}

fn bearer(headers: &HeaderMap) -> Option<TokenHash> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| TokenHash::of(token.trim()))
}
