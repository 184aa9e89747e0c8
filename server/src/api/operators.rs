//! `GET` and `POST /v1/operators`, `DELETE /v1/operators/{name}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem, body};
use super::description::Reason;
use super::refusals::{Conflict, NotFound, OtherMediaType, TooLarge, Unfit};
use super::segment::Segment;
use crate::config::{TokenHash, check_name};
use crate::identity::{Author, CONFIGURED, Role, new_token};
use crate::store::{OperatorRow, Tx};

/// An operator to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOperator {
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^/\u0000-\u001f\u007f-\u009f]+$")]
    name: String,
    role: Role,
    /// From when on the token lets nobody in; never, unless said otherwise.
    expires_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Operators {
    schema_version: u32,
    operators: Vec<OperatorRecord>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OneOperator {
    schema_version: u32,
    #[serde(flatten)]
    operator: OperatorRecord,
    /// Given once, to whoever created it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// An operator, as JSON has it. Times and names are null for the one that the
/// configuration names.
#[derive(Serialize, ToSchema)]
struct OperatorRecord {
    name: String,
    role: Role,
    created_at: Option<Timestamp>,
    created_by: Option<String>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    revoked_by: Option<String>,
}

impl OperatorRecord {
    fn configured() -> Self {
        Self {
            name: CONFIGURED.to_owned(),
            role: Role::Admin,
            created_at: None,
            created_by: None,
            expires_at: None,
            revoked_at: None,
            revoked_by: None,
        }
    }
}

impl From<OperatorRow> for OperatorRecord {
    fn from(row: OperatorRow) -> Self {
        let OperatorRow { name, role, created_at, created_by, expires_at, revoked_at, revoked_by, .. } = row;
        Self {
            name,
            role,
            created_at: Some(created_at),
            created_by: Some(created_by),
            expires_at,
            revoked_at,
            revoked_by,
        }
    }
}

/// The operators that there are and were
#[utoipa::path(get, path = "/v1/operators", operation_id = "list_operators", tag = "operators",
    responses((status = 200, description = "The operators.", body = Operators)))]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<Operators>, Problem> {
    let reading = api.store.read("read the operators", |view| {
        let stored = OperatorRow::all(view)?.into_iter().map(OperatorRecord::from);
        Ok([OperatorRecord::configured()].into_iter().chain(stored).collect())
    });
    let operators = reading.await?;
    Ok(Json(Operators { schema_version: API_SCHEMA, operators }))
}

/// Makes an operator, and gives the token once
#[utoipa::path(post, path = "/v1/operators", operation_id = "create_operator", tag = "operators", params(Reason),
    request_body = NewOperator,
    responses((status = 201, description = "The operator, with the token, which is never shown again.",
        body = OneOperator), Conflict, TooLarge, OtherMediaType, Unfit))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    author: Author,
    new: Result<Json<NewOperator>, JsonRejection>,
) -> Result<(StatusCode, Json<OneOperator>), Problem> {
    let NewOperator { name, role, expires_at } = body(new)?;
    let bad = |message: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "operator-refused", message);
    let name = check_name("operator", name).map_err(|error| bad(error.to_string()))?;
    let now = (api.clock)();
    if let Some(past) = expires_at.filter(|at| *at <= now) {
        return Err(bad(format!("the operator would have expired at {past}; give a time after {now}")));
    }
    if name == CONFIGURED {
        return Err(declared());
    }
    let token = new_token().map_err(|_| {
        let message = "the kernel gives no random numbers; try again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no-randomness", message)
    })?;
    let row = OperatorRow {
        name,
        role,
        token: TokenHash::of(&token),
        created_at: now,
        created_by: author.operator.name.clone(),
        expires_at,
        revoked_at: None,
        revoked_by: None,
    };
    let new = row.clone();
    let work = move |tx: &Tx<'_>| {
        if tx.operator(&new.name)?.is_some() {
            return Ok(false);
        }
        tx.insert_operator(&new)?;
        let detail = json!({ "role": new.role, "expires_at": new.expires_at });
        tx.audit_change(&author, now, "operator-created", &object(&new.name), &detail)?;
        Ok(true)
    };
    let (registry, new) = (Arc::clone(&api), row.clone());
    let then = move |created: &bool| {
        if *created {
            registry.operators.put(new);
        }
    };
    if !api.store.write_then("create an operator", work, then).await? {
        let message =
            format!("there is or was an operator {:?}; names are not used again, so take another", row.name);
        return Err(Problem::new(StatusCode::CONFLICT, "operator-exists", message));
    }
    let created = OneOperator { schema_version: API_SCHEMA, operator: row.into(), token: Some(token) };
    Ok((StatusCode::CREATED, Json(created)))
}

/// Revokes an operator's token, from the next request on. Twice is as once.
#[utoipa::path(delete, path = "/v1/operators/{name}", operation_id = "revoke_operator", tag = "operators",
    params(("name" = String, Path, description = "The operator."), Reason),
    responses((status = 200, description = "The operator is revoked.", body = OneOperator), NotFound, Conflict))]
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    author: Author,
    Segment(name): Segment,
) -> Result<Json<OneOperator>, Problem> {
    if name == CONFIGURED {
        return Err(declared());
    }
    let now = (api.clock)();
    let work = move |tx: &Tx<'_>| {
        let Some(known) = tx.operator(&name)? else { return Ok(None) };
        if known.revoked_at.is_none() {
            tx.revoke_operator(&name, now, &author.operator.name)?;
            tx.audit_change(&author, now, "operator-revoked", &object(&name), &json!({}))?;
        }
        tx.operator(&name)
    };
    let registry = Arc::clone(&api);
    let then = move |revoked: &Option<OperatorRow>| {
        if let Some(row) = revoked {
            registry.operators.put(row.clone());
        }
    };
    let revoked = api.store.write_then("revoke an operator", work, then).await?;
    let operator = revoked.ok_or_else(|| Problem::not_found("operator"))?.into();
    Ok(Json(OneOperator { schema_version: API_SCHEMA, operator, token: None }))
}

fn object(name: &str) -> String {
    format!("operator {name}")
}

fn declared() -> Problem {
    let message = format!(
        "the operator {CONFIGURED:?} is the one whose token the configuration names; change \
         `operator-token-file` and restart the collector"
    );
    Problem::new(StatusCode::CONFLICT, "declared-in-configuration", message)
}
