//! Editing groups: from what an operator wants to a version that stands, while
//! the collector runs.
//!
//! A version is held to the rules before it is written, then written with its
//! audit, with what follows for the group's nodes, and with the new scope, in one
//! transaction. Every write after that finds the new version; reports and
//! judgements that were held to the old one are held again.

mod delete;

use std::collections::BTreeMap;
use std::sync::Arc;

use congruent_protocol::digest::Digest;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::blobs::{BlobError, BlobName, Blobs};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Group, GroupDescription, ManifestRef, Mode, TrustDescription};
use crate::identity::{Author, Role};
use crate::judge::{Signals, reconcile_group};
use crate::policy::Policy;
use crate::scope::Scope;
use crate::store::{GroupRow, Store, StoreError, Tx, View};

/// What a group is to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupRequest {
    /// The version that this was made from, so that nobody overwrites what they
    /// have not seen; 0 for a new group.
    version: u64,
    environment: String,
    #[serde(default)]
    mode: Mode,
    /// By root or, where several files have it, by the digest of one.
    #[serde(default)]
    manifests: Vec<Digest>,
    #[serde(default)]
    add_ons: Vec<Digest>,
    #[serde(default)]
    trust: TrustDescription,
    #[serde(default)]
    webhook: Option<String>,
}

/// Why a group is not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EditError {
    #[error(
        "the group {0:?} is declared in the configuration; change it there and restart the collector, or take it \
         out of there and create it here"
    )]
    Declared(String),
    #[error("there is no group {0:?} to change; version 0 makes a new one")]
    Missing(String),
    #[error(
        "there is a group {name:?} already, at version {at}; change it with `congruent-server group edit {name}`, \
         or take another name"
    )]
    Exists { name: String, at: u64 },
    #[error(
        "nodes are in the group {name:?}: {count}, such as {node:?}; revoke them first, or have them enrol in \
         another group"
    )]
    HasNodes { name: String, count: usize, node: String },
    #[error(
        "join tokens lead to the group {name:?}: {}, such as {}; revoke them first: `congruent-server token revoke {}`",
        .tokens.len(), .tokens[0], .tokens[0]
    )]
    HasTokens { name: String, tokens: Vec<String> },
    #[error("{}", no_such_group(.name, .known))]
    Unknown { name: String, known: Vec<String> },
    #[error("the group {name:?} is at version {at}, and this was made from version {from}; look at it again")]
    Conflict { name: String, at: u64, from: u64 },
    #[error("no manifest {0} was imported; import it, with its root or digest as given here")]
    UnknownManifest(Digest),
    #[error(
        "{} manifests have the root {root}; name one by its file's digest, such as {}", .digests.len(), .digests[0]
    )]
    Ambiguous { root: Digest, digests: Vec<Digest> },
    #[error("the manifest {0} was withdrawn; accept another, or import it again")]
    Withdrawn(Digest),
    #[error("the group cannot be so")]
    Refused(#[source] ConfigError),
    #[error("a manifest of the group {group:?} cannot be read")]
    Blob {
        group: String,
        #[source]
        source: BlobError,
    },
    #[error("this needs the role {0}")]
    Role(Role),
    #[error("cannot use the store")]
    Store(#[from] StoreError),
    #[error("the collector failed")]
    Failed,
}

/// How many names an error tells.
const NAMES_TOLD: usize = 20;

/// What to say where a group is asked for that there is not.
fn no_such_group(name: &str, known: &[String]) -> String {
    let told = known.iter().take(NAMES_TOLD).cloned().collect::<Vec<_>>().join(", ");
    match known.len() {
        0 => format!("there is no group {name:?}, nor any other; `congruent-server group create` makes one"),
        1..=NAMES_TOLD => format!("there is no group {name:?}; known are {told}"),
        more => format!("there is no group {name:?}; known are {told} and {} others", more - NAMES_TOLD),
    }
}

/// Edits groups.
pub(crate) struct GroupEditor {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) blobs: Blobs,
    pub(crate) clock: Clock,
    pub(crate) policy: Arc<Policy>,
    pub(crate) signals: Signals,
}

impl GroupEditor {
    /// The refusal for a group that there is not; it tells those that there are.
    pub(crate) fn unknown(&self, name: String) -> EditError {
        EditError::Unknown { name, known: self.config.groups.all().keys().cloned().collect() }
    }

    /// Makes a group what `request` says, or makes a new one. What it already is
    /// changes nothing. Gives the version that stands then.
    pub(crate) async fn put(
        &self,
        author: Author,
        name: String,
        request: GroupRequest,
    ) -> Result<GroupRow, EditError> {
        if self.config.groups.get(&name).is_some_and(|group| group.version.is_none()) {
            return Err(EditError::Declared(name));
        }
        let (from, known, now) = (request.version, name.clone(), (self.clock)());
        let reading = self.store.read("read a group to change", move |view| {
            let newest = view.newest_group_version(&known)?;
            let last = newest.as_ref().map_or(0, |row| row.version);
            let current = newest.filter(|row| !row.is_deleted);
            let description = describe(view, request.clone(), current.as_ref(), now)?;
            Ok((last, current, description))
        });
        let (last, current, description) = reading.await?;
        // Before what is wrong with it: whoever makes a new one may mean another.
        check_version(&name, current.as_ref(), from)?;
        let description = description?;
        check_role(&author, current.as_ref(), &description)?;
        match current {
            Some(current) if current.description == description => Ok(current),
            current => {
                let row = GroupRow {
                    name,
                    // One that was deleted is made again with the next number.
                    version: last + 1,
                    at: now,
                    operator: author.operator.name.clone(),
                    reason: author.reason.clone(),
                    description,
                    is_deleted: false,
                };
                let detail = changes(current.as_ref(), &row);
                self.put_version(author, (from, row), detail).await
            }
        }
    }

    async fn put_version(
        &self,
        author: Author,
        (from, row): (u64, GroupRow),
        detail: Value,
    ) -> Result<GroupRow, EditError> {
        let group = Arc::new(build(&row, &self.config, &self.blobs).await?);
        let (config, policy) = (Arc::clone(&self.config), Arc::clone(&self.policy));
        let (written, standing) = (row.clone(), Arc::clone(&group));
        let work = move |tx: &Tx<'_>| {
            if let Err(error) = check_again(tx, from, &written)? {
                return Ok(Err(error));
            }
            let action = if from == 0 { "group-created" } else { "group-edited" };
            let object = format!("group {}", written.name);
            tx.insert_group_version(&written)?;
            tx.audit_change(&author, written.at, action, &object, &detail)?;
            let mut groups = (*config.groups.all()).clone();
            groups.insert(written.name.clone(), Arc::clone(&group));
            tx.record_scope(written.at, &Scope::of(&config, &groups, &policy))?;
            reconcile_group(tx, &config, &group, written.at)?;
            Ok(Ok(()))
        };
        let config = Arc::clone(&self.config);
        let then = move |outcome: &Result<(), EditError>| {
            if outcome.is_ok() {
                let name = standing.name.clone();
                config.groups.put(standing);
                // Last: the judge takes the mark, and has to find what it stands for.
                config.groups.mark_changed(&name);
            }
        };
        self.store.write_then("change a group", work, then).await??;
        self.signals.group.notify_one();
        Ok(row)
    }
}

/// The groups of the store as they stand.
pub(crate) fn stored(view: &View<'_>) -> Result<Vec<GroupRow>, StoreError> {
    view.groups()
}

/// At start: puts the groups of the store beside those of the configuration.
pub(crate) async fn load(rows: &[GroupRow], config: &Arc<Config>, blobs: &Blobs) -> Result<(), EditError> {
    for row in rows {
        if config.groups.get(&row.name).is_some() {
            return Err(EditError::Refused(ConfigError::DeclaredTwice(row.name.clone())));
        }
        config.groups.put(Arc::new(build(row, config, blobs).await?));
    }
    Ok(())
}

/// A version of a group, with the manifests that it accepts.
pub(crate) async fn build(row: &GroupRow, config: &Arc<Config>, blobs: &Blobs) -> Result<Group, EditError> {
    let mut files = BTreeMap::new();
    for digest in row.description.files(&row.name).map_err(EditError::Refused)? {
        let file = blobs.get(BlobName::manifest(digest)).await;
        let failed = |source| EditError::Blob { group: row.name.clone(), source };
        files.insert(digest, file.map_err(failed)?);
    }
    let (config, row) = (Arc::clone(config), row.clone());
    // Reading manifests of megabytes would hold up other requests.
    let building = tokio::task::spawn_blocking(move || {
        let file_of = |digest: &Digest| Arc::clone(&files[digest]);
        row.description.build((&row.name, row.version), &config.webhooks, file_of)
    });
    building.await.map_err(|_| EditError::Failed)?.map_err(EditError::Refused)
}

/// Finds the manifests of a request. What the group accepts already it has
/// accepted since then.
fn describe(
    view: &View<'_>,
    request: GroupRequest,
    current: Option<&GroupRow>,
    now: Timestamp,
) -> Result<Result<GroupDescription, EditError>, StoreError> {
    let GroupRequest { environment, mode, manifests, add_ons, trust, webhook, .. } = request;
    let find = |ids: &[Digest]| {
        ids.iter().map(|id| find(view, id, current, now)).collect::<Result<Result<Vec<_>, _>, _>>()
    };
    let (manifests, add_ons) = match (find(&manifests)?, find(&add_ons)?) {
        (Ok(manifests), Ok(add_ons)) => (manifests, add_ons),
        (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
    };
    Ok(Ok(GroupDescription { environment, mode, manifests, add_ons, trust, webhook }))
}

/// Finds a manifest by its root or its file's digest.
fn find(
    view: &View<'_>,
    id: &Digest,
    current: Option<&GroupRow>,
    now: Timestamp,
) -> Result<Result<ManifestRef, EditError>, StoreError> {
    let rows = view.manifests_named(id)?;
    if rows.is_empty() {
        return Ok(Err(EditError::UnknownManifest(*id)));
    }
    let exact = rows.iter().any(|row| row.digest == *id);
    let mut standing =
        rows.into_iter().filter(|row| row.withdrawn_at.is_none() && (!exact || row.digest == *id));
    let Some(row) = standing.next() else { return Ok(Err(EditError::Withdrawn(*id))) };
    let others: Vec<Digest> = standing.map(|row| row.digest).collect();
    if !others.is_empty() {
        let digests = [row.digest].into_iter().chain(others).collect();
        return Ok(Err(EditError::Ambiguous { root: *id, digests }));
    }
    let known = current.iter().flat_map(|current| accepted(&current.description));
    let accepted_at =
        known.into_iter().find(|known| known.digest == row.digest).map(|known| known.accepted_at);
    Ok(Ok(ManifestRef {
        root: row.root,
        digest: row.digest,
        name: row.name,
        version: row.version,
        accepted_at: accepted_at.unwrap_or(now),
    }))
}

fn check_version(name: &str, current: Option<&GroupRow>, from: u64) -> Result<(), EditError> {
    let name = name.to_owned();
    match current.map_or(0, |current| current.version) {
        at if at == from => Ok(()),
        0 => Err(EditError::Missing(name)),
        at if from == 0 => Err(EditError::Exists { name, at }),
        at => Err(EditError::Conflict { name, at, from }),
    }
}

/// Operators say which manifests a group accepts, and whether it orders. Whom it
/// trusts, how strict policy is with it and who takes its orders is for admins.
fn check_role(
    author: &Author,
    current: Option<&GroupRow>,
    wanted: &GroupDescription,
) -> Result<(), EditError> {
    let same = current.is_some_and(|GroupRow { description: now, .. }| {
        (&now.environment, &now.trust, &now.webhook) == (&wanted.environment, &wanted.trust, &wanted.webhook)
    });
    let needed = if same { Role::Operator } else { Role::Admin };
    if author.operator.role >= needed { Ok(()) } else { Err(EditError::Role(needed)) }
}

/// What may have come in between: another edit, or a withdrawal.
fn check_again(tx: &Tx<'_>, from: u64, row: &GroupRow) -> Result<Result<(), EditError>, StoreError> {
    let newest = tx.newest_group_version(&row.name)?;
    let last = newest.as_ref().map_or(0, |newest| newest.version);
    let current = newest.filter(|newest| !newest.is_deleted);
    if let Err(error) = check_version(&row.name, current.as_ref(), from) {
        return Ok(Err(error));
    }
    // Made and deleted in between.
    if last + 1 != row.version {
        return Ok(Err(EditError::Conflict { name: row.name.clone(), at: last, from }));
    }
    for manifest in accepted(&row.description) {
        if tx.manifest(&manifest.digest)?.is_none_or(|known| known.withdrawn_at.is_some()) {
            return Ok(Err(EditError::Withdrawn(manifest.digest)));
        }
    }
    Ok(Ok(()))
}

/// What an edit changes, for the audit. Whom a group trusts is long; its history
/// has it whole.
fn changes(before: Option<&GroupRow>, after: &GroupRow) -> Value {
    let parts = |description: &GroupDescription| {
        let roots = |of: &[ManifestRef]| of.iter().map(|of| of.root.to_string()).collect::<Vec<_>>();
        [
            ("environment", json!(description.environment)),
            ("mode", json!(description.mode)),
            ("manifests", json!(roots(&description.manifests))),
            ("add_ons", json!(roots(&description.add_ons))),
            ("webhook", json!(description.webhook)),
        ]
    };
    let mut detail = json!({ "version": after.version });
    let old = before.map(|before| parts(&before.description));
    for (at, (key, value)) in parts(&after.description).into_iter().enumerate() {
        let was = old.as_ref().map_or(&Value::Null, |old| &old[at].1);
        if *was != value {
            detail[key] = json!({ "was": was, "is": value });
        }
    }
    if before.is_none_or(|before| before.description.trust != after.description.trust) {
        detail["trust"] = json!("changed");
    }
    detail
}

/// Every manifest and add-on that a group accepts.
fn accepted(description: &GroupDescription) -> impl Iterator<Item = &ManifestRef> {
    description.manifests.iter().chain(&description.add_ons)
}

/// The groups of the store that accept the manifest with this file.
pub(crate) fn accepting(view: &View<'_>, digest: &Digest) -> Result<Vec<String>, StoreError> {
    let accepts = |GroupRow { name, description, .. }: GroupRow| {
        accepted(&description).any(|manifest| manifest.digest == *digest).then_some(name)
    };
    Ok(view.groups()?.into_iter().filter_map(accepts).collect())
}
