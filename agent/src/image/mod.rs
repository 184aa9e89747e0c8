//! Images of containers, up to the uncompressed tar stream of each layer.
//!
//! `open` reads where an image is: a directory or archive in the OCI layout, what
//! `docker save` writes, or a registry. Nothing is extracted, and nothing that came from there is
//! believed before it was held to its digest.

mod choose;
pub mod digest;
mod docker_archive;
pub mod document;
mod error;
mod files;
mod layer;
mod layout;
pub mod media;
pub mod platform;
pub mod reference;
pub mod registry;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use congruent_protocol::digest::Digest;

pub(crate) use self::digest::BlobDigest;
use self::document::{Descriptor, ImageConfig};
pub(crate) use self::error::ImageError;
use self::files::{Archive, Directory};
use self::media::Packing;
pub(crate) use self::platform::Platform;
pub(crate) use self::reference::Reference;
use self::source::{Place, Source};

/// The most bytes of a layer that are unpacked, where nothing else is said.
pub(crate) const MAX_LAYER_BYTES: u64 = 64 << 30;

/// How an image is opened.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Only the image for this platform; otherwise all there are.
    pub(crate) platform: Option<Platform>,
    /// The most bytes of a layer that are unpacked.
    pub(crate) max_layer_bytes: u64,
    /// How a registry is spoken to.
    pub(crate) registry: registry::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self { platform: None, max_layer_bytes: MAX_LAYER_BYTES, registry: registry::Options::default() }
    }
}

/// One platform's image.
pub(crate) struct Image {
    /// What it is for.
    pub(crate) platform: Platform,
    /// What names its manifest; `docker save` writes none.
    pub(crate) manifest: Option<Descriptor>,
    /// The digest of its configuration.
    pub(crate) config_digest: Digest,
    /// The digests of its uncompressed layers, lowest first.
    pub(crate) diff_ids: Vec<Digest>,
    layers: Vec<Layer>,
    max_layer_bytes: u64,
    source: Arc<dyn Source>,
}

/// Where a layer is.
#[derive(Debug)]
struct Layer {
    place: Place,
    /// How it is packed; where nothing says so, its first bytes do.
    packing: Option<Packing>,
}

/// The images at `reference`, one for each platform. What an index names beside images, such as
/// attestations, is passed over.
pub(crate) fn open(reference: &Reference, options: &Options) -> Result<Vec<Image>, ImageError> {
    match reference {
        Reference::Layout { directory, tag } => {
            layout::open(Directory::open(directory)?, tag.as_deref(), options)
        }
        Reference::LayoutArchive { file, tag } => layout::open(Archive::open(file)?, tag.as_deref(), options),
        Reference::DockerArchive { file, tag } => {
            docker_archive::open(Archive::open(file)?, tag.as_deref(), options)
        }
        Reference::Registry(reference) => registry::open(reference, options),
    }
}

impl Image {
    /// The image of a configuration that was held to its digest.
    fn new(
        source: &Arc<dyn Source>,
        manifest: Option<Descriptor>,
        config_digest: BlobDigest,
        config: &[u8],
        layers: Vec<Layer>,
        options: &Options,
    ) -> Result<Self, ImageError> {
        let what = format!("the configuration {config_digest}");
        let config = ImageConfig::parse(config).map_err(ImageError::document(&what))?;
        let refused = |why: String| ImageError::Refused { what: what.clone(), why };
        let recorded = |digest: &BlobDigest| {
            digest.recorded().ok_or_else(|| {
                refused(format!("manifests record digests by sha256, and {digest} is another"))
            })
        };
        let diff_ids: Vec<Digest> = config.diff_ids().iter().map(recorded).collect::<Result<_, _>>()?;
        if diff_ids.len() != layers.len() {
            return Err(refused(format!(
                "it has {} diff_ids, and the image has {} layers",
                diff_ids.len(),
                layers.len()
            )));
        }
        // The index decides what runs where, so it has the last word.
        let named = manifest.as_ref().and_then(|manifest| manifest.platform.clone());
        Ok(Self {
            platform: named.filter(Platform::is_plain).unwrap_or(config.platform),
            manifest,
            config_digest: recorded(&config_digest)?,
            diff_ids,
            layers,
            max_layer_bytes: options.max_layer_bytes,
            source: Arc::clone(source),
        })
    }
}
