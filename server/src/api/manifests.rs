//! `GET /v1/manifests`; `PUT`, `GET` and `DELETE /v1/manifests/{root}`;
//! `GET /v1/manifests/{root}/content`.
//!
//! Enrolled nodes get the content of what their group accepts, on their own port.
//!
//! What is imported is known; whether nodes may be held to it is for groups to
//! say. Instead of a root, all but PUT take the digest of a file too.

use std::fs::File;
use std::future::poll_fn;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use congruent_protocol::digest::Digest;
use congruent_protocol::manifest::ManifestKind;
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::Api;
use super::answer::{API_SCHEMA, Problem};
use super::auth::Sender;
use super::description::Reason;
use super::list::{DEFAULT_LIMIT, check_limit, check_query, cut};
use super::refusals::{BadRequest, Conflict, Failed, NotFound, Timeout, TooLarge, Unfit};
use super::segment::Segment;
use crate::blobs::{BlobName, Blobs};
use crate::groups::accepting;
use crate::identity::Author;
use crate::ingest::{chain_of, shorten};
use crate::manifests::{ImportError, Incoming, MAX_MANIFEST_BYTES, Whole};
use crate::store::{ManifestRow, Tx};

/// How long a manifest may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_mins(15);
/// How long a piece of one may take.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of one that is refused is read and dropped, so that its sender comes
/// to read the answer.
const DROPPED_BYTES: usize = 256 << 20;
/// Pieces that wait to be written.
const PIECES_WAITING: usize = 8;
/// How much of a file is read at once.
const PIECE_BYTES: usize = 256 << 10;

#[derive(Serialize, ToSchema)]
pub(super) struct Manifests {
    schema_version: u32,
    manifests: Vec<ManifestRecord>,
    truncated: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OneManifest {
    schema_version: u32,
    #[serde(flatten)]
    manifest: ManifestRecord,
    /// The files with the same root and another contract or other signatures.
    others: Vec<Digest>,
}

/// An imported manifest.
#[derive(Serialize, ToSchema)]
struct ManifestRecord {
    root: Digest,
    /// Of the file.
    digest: Digest,
    name: String,
    version: String,
    kind: ManifestKind,
    bytes: u64,
    entries: u64,
    /// The keys that its signatures name. Nobody checked them: groups do.
    claimed: Vec<String>,
    baked_at: Timestamp,
    expires_at: Option<Timestamp>,
    imported_at: Timestamp,
    imported_by: String,
    withdrawn_at: Option<Timestamp>,
    withdrawn_by: Option<String>,
}

impl From<ManifestRow> for ManifestRecord {
    fn from(row: ManifestRow) -> Self {
        Self {
            root: row.root,
            digest: row.digest,
            name: row.name,
            version: row.version,
            kind: row.kind,
            bytes: row.bytes,
            entries: row.entries,
            claimed: row.claimed,
            baked_at: row.baked_at,
            expires_at: row.expires_at,
            imported_at: row.imported_at,
            imported_by: row.imported_by,
            withdrawn_at: row.withdrawn_at,
            withdrawn_by: row.withdrawn_by,
        }
    }
}

/// What of the manifests is asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ManifestsQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = json!(DEFAULT_LIMIT))]
    limit: Option<usize>,
}

/// The manifests that were imported, the newest first
#[utoipa::path(get, path = "/v1/manifests", operation_id = "list_manifests", tag = "manifests", params(ManifestsQuery),
    responses((status = 200, description = "The manifests.", body = Manifests), BadRequest))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ManifestsQuery>, QueryRejection>,
) -> Result<Json<Manifests>, Problem> {
    let limit = check_limit(check_query(query)?.limit)?;
    let mut rows = api.store.read("read the manifests", move |view| view.manifests(limit + 1)).await?;
    let truncated = cut(&mut rows, limit);
    let manifests = rows.into_iter().map(ManifestRecord::from).collect();
    Ok(Json(Manifests { schema_version: API_SCHEMA, manifests, truncated }))
}

/// A manifest
#[utoipa::path(get, path = "/v1/manifests/{root}", operation_id = "show_manifest", tag = "manifests",
    params(("root" = String, Path, description = "The manifest's root, or its file's digest.", pattern = "^(blake3|sha256):[0-9a-f]{64}$")),
    responses((status = 200, description = "The manifest.", body = OneManifest), NotFound))]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<Json<OneManifest>, Problem> {
    Ok(Json(find(&api, &id).await?.show()))
}

/// The manifest of this digest or, of those with this root, the newest.
async fn find(api: &Api, id: &str) -> Result<Found, Problem> {
    let id = parse(id)?;
    let looking = api.store.read("look up a manifest", move |view| {
        let rows = view.manifests_named(&id)?;
        let exact = rows.iter().find(|row| row.digest == id).or(rows.first()).cloned();
        let Some(row) = exact else { return Ok(None) };
        let mut others = view.manifests_named(&row.root)?;
        others.retain(|other| other.digest != row.digest);
        Ok(Some(Found { row, others }))
    });
    looking.await?.ok_or_else(|| Problem::not_found("manifest"))
}

/// A manifest, and the others with its root.
struct Found {
    row: ManifestRow,
    others: Vec<ManifestRow>,
}

impl Found {
    fn show(self) -> OneManifest {
        let others = self.others.iter().map(|row| row.digest).collect();
        OneManifest { schema_version: API_SCHEMA, manifest: self.row.into(), others }
    }
}

fn parse(id: &str) -> Result<Digest, Problem> {
    let refuse = |why: &dyn std::fmt::Display| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-digest", shorten(&why.to_string()))
    };
    let digest: Digest = id.parse().map_err(|error| refuse(&error))?;
    if digest.is_keyed() { Err(refuse(&"a root is no keyed digest")) } else { Ok(digest) }
}

/// Imports a manifest
///
/// Twice is as once; one that was withdrawn stands again.
#[utoipa::path(put, path = "/v1/manifests/{root}", operation_id = "import_manifest", tag = "manifests",
    params(("root" = String, Path, description = "The manifest's root.", pattern = "^(blake3|sha256):[0-9a-f]{64}$"), Reason),
    request_body(content = [u8], content_type = "application/octet-stream", description = "The file."),
    responses((status = 200, description = "It was imported before.", body = OneManifest),
        (status = 201, description = "It is imported.", body = OneManifest), Timeout, TooLarge, Unfit, Failed))]
pub(super) async fn import(
    State(api): State<Arc<Api>>,
    author: Author,
    Segment(root): Segment,
    body: Body,
) -> Result<(StatusCode, Json<OneManifest>), Problem> {
    let root = parse(&root)?;
    let Ok(_room) = api.imports.acquire().await else {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the collector is stopping"));
    };
    let blobs = api.groups.blobs.clone();
    let (send, pieces) = mpsc::channel(PIECES_WAITING);
    let receiving = tokio::task::spawn_blocking(move || receive(&blobs, &root, pieces));
    let arrived = timeout(BODY_TIMEOUT, pass_on(body, send)).await;
    let whole = receiving.await.map_err(|_| failed())?;
    if !matches!(arrived, Ok(Some(()))) {
        let message = "the manifest did not arrive whole; send it again";
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "incomplete-body", message));
    }
    let whole = whole?;
    let row = row(&whole, &author, (api.clock)());
    let digest = row.digest;
    api.groups.blobs.put(BlobName::manifest(digest), whole.blob).await?;
    let importing = api.store.write("import a manifest", move |tx| record(tx, &author, &row));
    let status = if importing.await? { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(find(&api, &digest.to_string()).await?.show())))
}

/// Writes down what arrives, and checks it once it is whole.
fn receive(blobs: &Blobs, root: &Digest, mut pieces: mpsc::Receiver<Bytes>) -> Result<Whole, ImportError> {
    let mut incoming = Incoming::begin(blobs, MAX_MANIFEST_BYTES)?;
    while let Some(piece) = pieces.blocking_recv() {
        incoming.take(&piece)?;
    }
    incoming.finish(root)
}

/// Passes a body on piece by piece, until nobody takes any more; none where it
/// did not come whole.
async fn pass_on(mut body: Body, send: mpsc::Sender<Bytes>) -> Option<()> {
    let mut dropped = 0;
    loop {
        let next = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let Some(frame) = timeout(PIECE_TIMEOUT, next).await.ok()? else { return Some(()) };
        let Ok(piece) = frame.ok()?.into_data() else { continue };
        let bytes = piece.len();
        if send.send(piece).await.is_err() {
            dropped += bytes;
            if dropped > DROPPED_BYTES {
                return Some(());
            }
        }
    }
}

fn row(whole: &Whole, author: &Author, now: Timestamp) -> ManifestRow {
    let predicate = whole.manifest.predicate();
    ManifestRow {
        digest: whole.blob.digest,
        root: predicate.root,
        name: predicate.name.clone(),
        version: predicate.version.clone(),
        kind: predicate.kind,
        bytes: whole.blob.bytes,
        entries: predicate.entries.count,
        claimed: whole.manifest.signed_by().claimed.clone(),
        baked_at: predicate.baked.at,
        expires_at: predicate.expires,
        imported_at: now,
        imported_by: author.operator.name.clone(),
        withdrawn_at: None,
        withdrawn_by: None,
    }
}

/// Records an import; says whether it changed anything.
fn record(tx: &Tx<'_>, author: &Author, row: &ManifestRow) -> Result<bool, crate::store::StoreError> {
    let detail = json!({ "digest": row.digest, "name": row.name, "version": row.version });
    let action = match tx.manifest(&row.digest)? {
        None => {
            tx.insert_manifest(row)?;
            "manifest-imported"
        }
        Some(known) if known.withdrawn_at.is_some() => {
            tx.set_withdrawn(&row.digest, None)?;
            "manifest-restored"
        }
        Some(_) => return Ok(false),
    };
    tx.audit_change(author, row.imported_at, action, &object(row), &detail)?;
    Ok(true)
}

/// Withdraws a manifest
///
/// No group may accept it from then on. Its file stays, as evidence. Twice is as once.
#[utoipa::path(delete, path = "/v1/manifests/{root}", operation_id = "withdraw_manifest", tag = "manifests",
    params(("root" = String, Path, description = "The manifest's root, or its file's digest.", pattern = "^(blake3|sha256):[0-9a-f]{64}$"), Reason),
    responses((status = 200, description = "It is withdrawn.", body = OneManifest), NotFound, Conflict))]
pub(super) async fn withdraw(
    State(api): State<Arc<Api>>,
    author: Author,
    Segment(id): Segment,
) -> Result<Json<OneManifest>, Problem> {
    let Found { row, others } = find(&api, &id).await?;
    let others_stand = others.iter().any(|other| other.withdrawn_at.is_none());
    if others_stand && row.digest.to_string() != id {
        let message = "several manifests have this root; name one by its file's digest";
        return Err(Problem::new(StatusCode::CONFLICT, "manifest-ambiguous", message));
    }
    let (digest, now) = (row.digest, (api.clock)());
    let withdrawing = api.store.write("withdraw a manifest", move |tx| {
        let groups = accepting(tx, &digest)?;
        if groups.is_empty() && tx.manifest(&digest)?.is_some_and(|known| known.withdrawn_at.is_none()) {
            tx.set_withdrawn(&digest, Some((now, &author.operator.name)))?;
            let detail = json!({ "digest": row.digest, "name": row.name, "version": row.version });
            tx.audit_change(&author, now, "manifest-withdrawn", &object(&row), &detail)?;
        }
        Ok(groups)
    });
    let groups = withdrawing.await?;
    if !groups.is_empty() {
        let message = format!("it is accepted by the group {}; edit that first", groups.join(", "));
        return Err(Problem::new(StatusCode::CONFLICT, "manifest-in-use", message));
    }
    Ok(Json(find(&api, &digest.to_string()).await?.show()))
}

fn object(row: &ManifestRow) -> String {
    format!("manifest {}", row.root)
}

/// The file, byte for byte.
#[utoipa::path(get, path = "/v1/manifests/{root}/content", operation_id = "get_manifest_content", tag = "manifests",
    params(("root" = String, Path, description = "The manifest's root, or its file's digest.", pattern = "^(blake3|sha256):[0-9a-f]{64}$")),
    responses((status = 200, description = "The file, byte for byte.", body = [u8],
        content_type = "application/octet-stream", headers(("ETag" = String))), NotFound, Failed))]
pub(super) async fn content(State(api): State<Arc<Api>>, Segment(id): Segment) -> Result<Response, Problem> {
    let Found { row, .. } = find(&api, &id).await?;
    let file = api.groups.blobs.get(BlobName::manifest(row.digest)).await?;
    stream_file(file, &row.digest.to_string()).await
}

/// The file of a manifest that the group of the node accepts
///
/// Byte for byte as it was verified. Nodes get no others: a manifest says much of an
/// image.
#[utoipa::path(get, path = "/v1/manifests/{root}/content", operation_id = "get_accepted_manifest", tag = "manifests",
    params(("root" = String, Path, description = "The manifest's root.", pattern = "^(blake3|sha256):[0-9a-f]{64}$")),
    responses((status = 200, description = "The file, byte for byte.", body = [u8],
        content_type = "application/octet-stream", headers(("ETag" = String))), NotFound, Failed))]
pub(super) async fn content_for_node(
    State(api): State<Arc<Api>>,
    Extension(Sender(node)): Extension<Sender>,
    Segment(root): Segment,
) -> Result<Response, Problem> {
    let root = parse(&root)?;
    let file = api.config.group_of(&node.id).and_then(|group| group.file_of(&root)).ok_or_else(|| {
        let message = format!("the group {} accepts no manifest with the root {root}", node.group);
        Problem::new(StatusCode::NOT_FOUND, "manifest-not-accepted", message)
    })?;
    stream_file(file, &root.to_string()).await
}

async fn stream_file(file: Arc<File>, tag: &str) -> Result<Response, Problem> {
    let measured = Arc::clone(&file);
    let length = tokio::task::spawn_blocking(move || measured.metadata().map(|about| about.len()));
    let length = length.await.map_err(|_| failed())?.map_err(|_| failed())?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ETAG, format!("\"{tag}\"")),
    ];
    Ok((headers, Body::from_stream(pieces_of(file))).into_response())
}

/// Reads a file piece by piece, away from the tasks that answer others, and from
/// a position of its own.
fn pieces_of(file: Arc<File>) -> impl Stream<Item = std::io::Result<Vec<u8>>> {
    stream::try_unfold(0, move |position| {
        let file = Arc::clone(&file);
        async move {
            let reading = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; PIECE_BYTES];
                let read = file.read_at(&mut piece, position)?;
                piece.truncate(read);
                Ok::<_, std::io::Error>(piece)
            });
            let piece = reading.await.map_err(std::io::Error::other)??;
            let next = position + piece.len() as u64;
            Ok((!piece.is_empty()).then_some((piece, next)))
        }
    })
}

fn failed() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", "the collector failed")
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        let (status, code) = match error {
            ImportError::Keep(error) => return error.into(),
            ImportError::Read(_) => (StatusCode::SERVICE_UNAVAILABLE, "store-unavailable"),
            ImportError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
            ImportError::Manifest(_) => (StatusCode::UNPROCESSABLE_ENTITY, "manifest-refused"),
            ImportError::OtherRoot { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "root-mismatch"),
        };
        Self::new(status, code, shorten(&chain_of(&error)))
    }
}
