//! An image's configuration: which layers it is made of. Pure.

use congruent_protocol::digest::{Algorithm, Digest};
use serde::Deserialize;

use super::{Container, chain};

/// The largest configuration or manifest taken; registries refuse larger ones.
pub(super) const MAX_CONFIG_BYTES: u64 = 4 << 20;
/// The most layers taken of one image.
pub(super) const MAX_LAYERS: usize = 1_000;

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

/// Why a configuration does not say what layers there are.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImageError {
    #[error("the image's configuration does not have its digest {0}")]
    Digest(Digest),
    #[error("the image's configuration {digest} is malformed")]
    Malformed {
        digest: Digest,
        #[source]
        source: serde_json::Error,
    },
    #[error("the image's configuration {0} names a layer by what is no SHA-256, or too many")]
    Layers(Digest),
    #[error("the container's layers are not those of the image's configuration {0}")]
    Others(Digest),
}

/// The layers that the configuration `digest`, whose bytes are `config`, names.
pub(super) fn diff_ids(digest: Digest, config: &[u8]) -> Result<Vec<Digest>, ImageError> {
    if Algorithm::Sha256.digest(config) != digest {
        return Err(ImageError::Digest(digest));
    }
    let parsed: Config =
        serde_json::from_slice(config).map_err(|source| ImageError::Malformed { digest, source })?;
    let named = parsed.rootfs.diff_ids.unwrap_or_default();
    let ids: Option<Vec<_>> = named.iter().map(|id| chain::sha256(id)).collect();
    ids.filter(|ids| ids.len() <= MAX_LAYERS).ok_or(ImageError::Layers(digest))
}

/// Holds a container's layers to the configuration of its image.
pub(super) fn hold(container: &mut Container, digest: Digest, config: &[u8]) {
    let Some(named) = container.or_lacks(diff_ids(digest, config)) else { return };
    if container.layers.iter().map(|layer| layer.diff_id).ne(named.into_iter().map(Some)) {
        container.lacks(&ImageError::Others(digest));
    }
}
