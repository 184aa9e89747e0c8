//! `POST /v1/tokens`, which gives a join token once; `GET /v1/tokens`, which never
//! does; and `DELETE /v1/tokens/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::{info, warn};
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem, body};
use super::description::Reason;
use super::list::{ListQuery, cut};
use super::refusals::{BadRequest, Failed, NotFound, OtherMediaType, TooLarge, Unfit};
use super::segment::Segment;
use crate::identity::{Author, Networks, NewToken, new_join_token};
use crate::store::JoinTokenRow;

/// How long a token is good unless said otherwise, and at most.
const DEFAULT_LIFE: SignedDuration = SignedDuration::from_mins(15);
const MAX_LIFE: SignedDuration = SignedDuration::from_hours(366 * 24);

/// A token that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewToken)]
pub(super) struct Wanted {
    group: String,
    /// How long it is good, 15 minutes unless said otherwise. At most a year; what
    /// the pattern does not show, such as `1h 30m`, is taken too.
    #[schema(value_type = Option<String>, pattern = "^([1-9][0-9]{0,2}h|[1-9][0-9]{0,4}m|[1-9][0-9]{0,6}s)$")]
    ttl: Option<SignedDuration>,
    #[serde(default)]
    reusable: bool,
    max_per_minute: Option<u32>,
    #[serde(default)]
    from: Networks,
}

/// A token as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JoinToken)]
pub(super) struct Shown {
    id: String,
    group: String,
    created_at: Timestamp,
    created_by: String,
    reason: String,
    expires_at: Timestamp,
    reusable: bool,
    max_per_minute: Option<u32>,
    /// The networks that it is bound to, each with the length of its prefix.
    #[schema(value_type = Vec<String>)]
    from: Networks,
    revoked_at: Option<Timestamp>,
    uses: u64,
    refused: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CreatedToken)]
pub(super) struct Created {
    schema_version: u32,
    /// The token itself: never shown again.
    token: String,
    #[serde(flatten)]
    shown: Shown,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JoinTokens)]
pub(super) struct Listed {
    schema_version: u32,
    tokens: Vec<Shown>,
    truncated: bool,
}

impl Shown {
    fn of(row: JoinTokenRow, uses: u64) -> Self {
        Self {
            id: row.id,
            group: row.group,
            created_at: row.created_at,
            created_by: row.created_by,
            reason: row.reason,
            expires_at: row.expires_at,
            reusable: row.is_reusable,
            max_per_minute: row.max_per_minute,
            from: row.networks,
            revoked_at: row.revoked_at,
            uses,
            refused: row.refused,
        }
    }
}

/// Makes a join token, and gives it once
#[utoipa::path(post, path = "/v1/tokens", operation_id = "create_token", tag = "tokens", params(Reason),
    request_body = Wanted,
    responses((status = 201, description = "The token, which is never shown again.", body = Created), TooLarge,
        OtherMediaType, Unfit, Failed))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    author: Author,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Created>), Problem> {
    let token = check(&api, &author, body(wanted)?)?;
    let failed = |_| {
        let message = "the kernel gives no random numbers";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", message)
    };
    let now = (api.clock)();
    let (token, row) = new_join_token(token, now).map_err(failed)?;
    let kept = row.clone();
    let config = Arc::clone(&api.config);
    let keeping = api.store.write("keep a join token", move |tx| {
        // It may have been deleted since it was looked for.
        if config.groups.get(&kept.group).is_none() {
            return Ok(false);
        }
        tx.insert_join_token(&kept)?;
        let detail = json!({
            "group": kept.group, "expires_at": kept.expires_at, "reusable": kept.is_reusable,
            "max_per_minute": kept.max_per_minute, "from": kept.networks
        });
        tx.audit_change(&author, now, "join-token-created", &object(&kept.id), &detail)?;
        Ok(true)
    });
    if !keeping.await? {
        return Err(no_group(&api, row.group));
    }
    info!(token = row.id, group = row.group, by = row.created_by, "made a join token");
    let token = token.reveal().to_owned();
    Ok((StatusCode::CREATED, Json(Created { schema_version: API_SCHEMA, token, shown: Shown::of(row, 0) })))
}

fn check(api: &Api, author: &Author, wanted: Wanted) -> Result<NewToken, Problem> {
    let refuse = |code: &str, message: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, message);
    if api.config.groups.get(&wanted.group).is_none() {
        return Err(no_group(api, wanted.group));
    }
    let life = wanted.ttl.unwrap_or(DEFAULT_LIFE);
    if !life.is_positive() || life > MAX_LIFE {
        return Err(refuse("bad-ttl", "`ttl` is a time from 1s to a year, such as \"15m\"".to_owned()));
    }
    if wanted.max_per_minute.is_some() && !wanted.reusable {
        let message = "`max_per_minute` is for reusable tokens; a token that is not serves one node";
        return Err(refuse("bad-token", message.to_owned()));
    }
    Ok(NewToken {
        group: wanted.group,
        life,
        is_reusable: wanted.reusable,
        max_per_minute: wanted.max_per_minute,
        networks: wanted.from,
        by: author.operator.name.clone(),
        reason: author.reason.clone(),
    })
}

fn no_group(api: &Api, name: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "group-unknown", api.groups.unknown(name).to_string())
}

/// The join tokens that there are and were, the newest first
#[utoipa::path(get, path = "/v1/tokens", operation_id = "list_tokens", tag = "tokens", params(ListQuery),
    responses((status = 200, description = "The tokens.", body = Listed), BadRequest))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Listed>, Problem> {
    let (_, limit) = ListQuery::check(query)?;
    let reading = api.store.read("read the join tokens", move |view| view.join_tokens(limit + 1));
    let mut tokens: Vec<Shown> = reading.await?.into_iter().map(|(row, uses)| Shown::of(row, uses)).collect();
    let truncated = cut(&mut tokens, limit);
    Ok(Json(Listed { schema_version: API_SCHEMA, tokens, truncated }))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RevokedToken)]
pub(super) struct Revoked {
    schema_version: u32,
    id: String,
    revoked_at: Timestamp,
}

/// Ends a join token
///
/// Nodes that have joined with it stay.
#[utoipa::path(delete, path = "/v1/tokens/{id}", operation_id = "revoke_token", tag = "tokens",
    params(("id" = String, Path, description = "The token's id."), Reason),
    responses((status = 200, description = "The token is revoked.", body = Revoked), NotFound))]
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    author: Author,
    Segment(id): Segment,
) -> Result<Json<Revoked>, Problem> {
    let (token, now) = (id.clone(), (api.clock)());
    let revoking = api.store.write("revoke a join token", move |tx| {
        let was_good = tx.revoke_join_token(&token, now)?;
        if was_good {
            tx.audit_change(&author, now, "join-token-revoked", &object(&token), &json!({}))?;
        }
        Ok(was_good)
    });
    if !revoking.await? {
        return Err(Problem::not_found("join token that is not revoked"));
    }
    warn!(token = id, "the join token is revoked");
    Ok(Json(Revoked { schema_version: API_SCHEMA, id, revoked_at: now }))
}

fn object(id: &str) -> String {
    format!("join-token {id}")
}
