//! `GET /v1/images/{digest}`: which manifests an enrolled node may hold the containers of an
//! image to.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use congruent_protocol::digest::Digest;
use congruent_protocol::report::{ImageManifests, REPORT_SCHEMA};

use super::Api;
use super::answer::Problem;
use super::auth::Sender;
use super::refusals::NotFound;
use super::segment::Segment;

/// The manifests that a node's group accepts for a container image
///
/// By the digest of the image's configuration; the files are got by their roots. Where
/// there is none, policy decides about the image's containers.
#[utoipa::path(get, path = "/v1/images/{digest}", operation_id = "get_image_manifests", tag = "manifests",
    params(("digest" = String, Path, description = "The digest of the image's configuration.",
        pattern = "^sha256:[0-9a-f]{64}$")),
    responses((status = 200, description = "Their roots.", body = ImageManifests), NotFound))]
pub(super) async fn manifests(
    State(api): State<Arc<Api>>,
    Extension(Sender(node)): Extension<Sender>,
    Segment(digest): Segment,
) -> Result<Json<ImageManifests>, Problem> {
    let digest: Digest = digest.parse().map_err(|_| Problem::not_found("image of this digest"))?;
    let group = api.config.group_of(&node.id);
    let roots = group.map(|group| group.manifests_of_image(&digest)).unwrap_or_default();
    Ok(Json(ImageManifests { schema_version: REPORT_SCHEMA, roots }))
}
