//! `GET /v1/groups`, `GET`, `PUT` and `DELETE /v1/groups/{name}`,
//! `GET /v1/groups/{name}/history`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use congruent_protocol::digest::Digest;
use congruent_protocol::verification::ManifestId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem, body};
use super::auth::refuse;
use super::description::Reason;
use super::list::{DEFAULT_LIMIT, check_limit, check_query, cut};
use super::refusals::{Conflict, Failed, NotFound, OtherMediaType, TooLarge, Unfit};
use super::segment::Segment;
use crate::config::{Config, Group, GroupDescription, ManifestRef, Mode, TrustDescription};
use crate::groups::{EditError, GroupRequest, stored};
use crate::identity::Author;
use crate::ingest::{chain_of, shorten};
use crate::store::GroupRow;

#[derive(Serialize, ToSchema)]
pub(super) struct Groups {
    schema_version: u32,
    groups: Vec<GroupRecord>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OneGroup {
    schema_version: u32,
    #[serde(flatten)]
    group: GroupRecord,
}

/// A group as it stands.
#[derive(Serialize, ToSchema)]
struct GroupRecord {
    name: String,
    /// `configuration` or `store`.
    declared_in: &'static str,
    environment: String,
    mode: Mode,
    manifests: Vec<AcceptedRecord>,
    add_ons: Vec<AcceptedRecord>,
    webhook: Option<String>,
    /// How many nodes are in it.
    nodes: usize,
    /// Null where the configuration declares the group, and has it.
    trust: Option<TrustDescription>,
    /// Its version in the store, and who made it, when and why; else null.
    version: Option<u64>,
    at: Option<Timestamp>,
    operator: Option<String>,
    reason: Option<String>,
}

/// A manifest that a group accepts.
#[derive(Serialize, ToSchema)]
struct AcceptedRecord {
    name: String,
    version: String,
    root: Digest,
    /// Of the file; null where the configuration names it.
    digest: Option<Digest>,
}

impl From<ManifestRef> for AcceptedRecord {
    fn from(of: ManifestRef) -> Self {
        Self { name: of.name, version: of.version, root: of.root, digest: Some(of.digest) }
    }
}

impl From<ManifestId> for AcceptedRecord {
    fn from(of: ManifestId) -> Self {
        Self { name: of.name, version: of.version, root: of.root, digest: None }
    }
}

impl GroupRecord {
    fn declared(group: &Group, config: &Config) -> Self {
        Self {
            name: group.name.clone(),
            declared_in: "configuration",
            environment: group.environment.clone(),
            mode: group.mode,
            manifests: group.manifests.iter().map(|accepted| accepted.id().into()).collect(),
            add_ons: group.add_ons.iter().map(|verified| verified.id().into()).collect(),
            webhook: group.webhook.clone(),
            nodes: nodes_in(&group.name, config),
            trust: None,
            version: None,
            at: None,
            operator: None,
            reason: None,
        }
    }

    fn stored(row: GroupRow, config: &Config) -> Self {
        let GroupRow { name, version, at, operator, reason, description, .. } = row;
        let GroupDescription { environment, mode, manifests, add_ons, trust, webhook } = description;
        Self {
            nodes: nodes_in(&name, config),
            name,
            declared_in: "store",
            environment,
            mode,
            manifests: manifests.into_iter().map(AcceptedRecord::from).collect(),
            add_ons: add_ons.into_iter().map(AcceptedRecord::from).collect(),
            webhook,
            trust: Some(trust),
            version: Some(version),
            at: Some(at),
            operator: Some(operator),
            reason: Some(reason),
        }
    }
}

fn nodes_in(group: &str, config: &Config) -> usize {
    config.nodes.all().iter().filter(|node| node.group == group).count()
}

/// The groups, in the order of their names
#[utoipa::path(get, path = "/v1/groups", operation_id = "list_groups", tag = "groups",
    responses((status = 200, description = "The groups.", body = Groups)))]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<Groups>, Problem> {
    let rows = api.store.read("read the groups", stored).await?;
    let all = api.config.groups.all();
    let declared = all.values().filter(|group| group.version.is_none());
    let declared = declared.map(|group| GroupRecord::declared(group, &api.config));
    let stored = rows.into_iter().map(|row| GroupRecord::stored(row, &api.config));
    let mut groups: Vec<_> = declared.chain(stored).collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(Groups { schema_version: API_SCHEMA, groups }))
}

/// A group as it stands
#[utoipa::path(get, path = "/v1/groups/{name}", operation_id = "show_group", tag = "groups", params(("name" = String, Path, description = "The group.")),
    responses((status = 200, description = "The group.", body = OneGroup), NotFound))]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Segment(name): Segment,
) -> Result<Json<OneGroup>, Problem> {
    let declared = api.config.groups.get(&name).filter(|group| group.version.is_none());
    let group = match declared {
        Some(group) => GroupRecord::declared(&group, &api.config),
        None => {
            let wanted = name.clone();
            let row = api.store.read("read a group", move |view| view.group(&wanted)).await?;
            GroupRecord::stored(row.ok_or_else(|| api.groups.unknown(name))?, &api.config)
        }
    };
    Ok(Json(OneGroup { schema_version: API_SCHEMA, group }))
}

/// Makes a group what the request says, or makes a new one
///
/// A new group, and a change of environment, trust or webhook, needs the role `admin`.
#[utoipa::path(put, path = "/v1/groups/{name}", operation_id = "put_group", tag = "groups",
    params(("name" = String, Path, description = "The group."), Reason), request_body = GroupRequest,
    responses((status = 200, description = "The group as it stands now.", body = OneGroup), NotFound, Conflict,
        TooLarge, OtherMediaType, Unfit, Failed))]
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    author: Author,
    Segment(name): Segment,
    request: Result<Json<GroupRequest>, JsonRejection>,
) -> Result<Json<OneGroup>, Problem> {
    let request = body(request)?;
    let operator = author.operator.clone();
    match api.groups.put(author, name, request).await {
        Ok(row) => {
            let group = GroupRecord::stored(row, &api.config);
            Ok(Json(OneGroup { schema_version: API_SCHEMA, group }))
        }
        Err(EditError::Role(needed)) => {
            Err(refuse(&api, &operator, "PUT /v1/groups/{name}".to_owned(), needed).await)
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = DeletedGroup)]
pub(super) struct Deleted {
    schema_version: u32,
    name: String,
    version: u64,
    deleted_at: Timestamp,
}

/// Deletes a group that nobody needs any more
///
/// Its history stays.
#[utoipa::path(delete, path = "/v1/groups/{name}", operation_id = "delete_group", tag = "groups",
    params(("name" = String, Path, description = "The group."), Reason),
    responses((status = 200, description = "It is deleted.", body = Deleted), NotFound, Conflict, Failed))]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    author: Author,
    Segment(name): Segment,
) -> Result<Json<Deleted>, Problem> {
    let GroupRow { name, version, at, .. } = api.groups.delete(author, name).await?;
    Ok(Json(Deleted { schema_version: API_SCHEMA, name, version, deleted_at: at }))
}

impl From<EditError> for Problem {
    fn from(error: EditError) -> Self {
        let (status, code) = match error {
            EditError::Store(error) => return error.into(),
            EditError::Blob { source, .. } => return source.into(),
            EditError::Declared(_) => (StatusCode::CONFLICT, "declared-in-configuration"),
            EditError::Missing(_) | EditError::Unknown { .. } => (StatusCode::NOT_FOUND, "not-found"),
            EditError::Exists { .. } => (StatusCode::CONFLICT, "group-exists"),
            EditError::HasNodes { .. } | EditError::HasTokens { .. } => {
                (StatusCode::CONFLICT, "group-in-use")
            }
            EditError::Conflict { .. } => (StatusCode::CONFLICT, "version-conflict"),
            EditError::UnknownManifest(_) => (StatusCode::UNPROCESSABLE_ENTITY, "manifest-unknown"),
            EditError::Ambiguous { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "manifest-ambiguous"),
            EditError::Withdrawn(_) => (StatusCode::UNPROCESSABLE_ENTITY, "manifest-withdrawn"),
            EditError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "group-refused"),
            EditError::Role(_) => (StatusCode::FORBIDDEN, "role-too-low"),
            EditError::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "internal-error"),
        };
        Self::new(status, code, shorten(&chain_of(&error)))
    }
}

/// What of a history is asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = json!(DEFAULT_LIMIT))]
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = GroupHistory)]
pub(super) struct History {
    schema_version: u32,
    name: String,
    versions: Vec<VersionRecord>,
    truncated: bool,
}

/// A version of a group, and who made it so and why.
#[derive(Serialize, ToSchema)]
struct VersionRecord {
    version: u64,
    /// Whether it ended the group, which was last as it says.
    deleted: bool,
    at: Timestamp,
    operator: String,
    reason: String,
    #[serde(flatten)]
    description: GroupDescription,
}

/// The newest versions of a group, the newest first
#[utoipa::path(get, path = "/v1/groups/{name}/history", operation_id = "list_group_versions", tag = "groups",
    params(("name" = String, Path, description = "The group."), HistoryQuery),
    responses((status = 200, description = "The versions.", body = History), NotFound, Conflict))]
pub(super) async fn history(
    State(api): State<Arc<Api>>,
    Segment(name): Segment,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<History>, Problem> {
    let limit = check_limit(check_query(query)?.limit)?;
    if api.config.groups.get(&name).is_some_and(|group| group.version.is_none()) {
        return Err(EditError::Declared(name).into());
    }
    let group = name.clone();
    let reading =
        api.store.read("read a group's history", move |view| view.group_versions(&group, limit + 1));
    let mut rows = reading.await?;
    if rows.is_empty() {
        return Err(api.groups.unknown(name).into());
    }
    let truncated = cut(&mut rows, limit);
    let version = |row: GroupRow| {
        let GroupRow { version, at, operator, reason, description, is_deleted, .. } = row;
        VersionRecord { version, deleted: is_deleted, at, operator, reason, description }
    };
    let versions = rows.into_iter().map(version).collect();
    Ok(Json(History { schema_version: API_SCHEMA, name, versions, truncated }))
}
