//! containers/storage, in which Podman, CRI-O and Buildah keep containers, for its
//! driver overlay.
//!
//! Three lists, each with a volatile one beside it: `overlay-containers` says what
//! a container is made of, `overlay-layers` which layers there are and what is
//! below each, `overlay-images` what images are called and where their configurations are.

use std::collections::{HashMap, HashSet};

use congruent_protocol::digest::Digest;
use data_encoding::BASE64;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::image::{self, MAX_CONFIG_BYTES, MAX_LAYERS};
use super::store::{StateError, Store, is_absent, is_id};
use super::{Container, ContainerState, LayerOnDisk, Runtime, chain, libpod};

/// The largest of the lists that is taken.
const MAX_LIST_BYTES: u64 = 256 << 20;

/// What is written when a container is made or removed.
const LISTS_WRITTEN: [&str; 4] = [
    "overlay-containers/containers.json",
    "overlay-containers/volatile-containers.json",
    "overlay-layers/layers.json",
    "overlay-layers/volatile-layers.json",
];

/// A container in `containers.json`.
#[derive(Debug, Deserialize)]
pub struct ContainerRecord {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: String,
    layer: String,
    /// JSON of whoever made it.
    #[serde(default)]
    metadata: String,
}

/// A layer in `layers.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LayerRecord {
    id: String,
    #[serde(default)]
    parent: String,
    #[serde(default)]
    diff_digest: Option<String>,
}

/// An image in `images.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageRecord {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    names_history: Option<Vec<String>>,
    #[serde(default)]
    big_data_digests: Option<HashMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata {
    #[serde(default)]
    image_name: String,
    #[serde(default)]
    name: String,
    /// Only CRI-O has pods here.
    #[serde(default)]
    pod_id: Option<String>,
    #[serde(default)]
    container_name: Option<String>,
}

/// Why a container's layers cannot be told.
#[derive(Debug, thiserror::Error)]
enum LayerError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the layer {0:?} is in no list")]
    Missing(String),
    #[error("the layer {0:?} says no digest of its archive")]
    NoDigest(String),
    #[error("it has over {MAX_LAYERS} layers")]
    TooMany,
}

/// What the lists say together.
struct Lists {
    layers: HashMap<String, LayerRecord>,
    images: HashMap<String, ImageRecord>,
}

/// One of the lists, each record on its own, so that a broken one costs only itself.
///
/// # Errors
/// When it is no list.
pub fn parse<T: DeserializeOwned>(
    list: &[u8],
) -> Result<Vec<Result<T, serde_json::Error>>, serde_json::Error> {
    let records: Option<Vec<&serde_json::value::RawValue>> = serde_json::from_slice(list)?;
    Ok(records.unwrap_or_default().into_iter().map(|record| serde_json::from_str(record.get())).collect())
}

/// Whether `store` looks like a root of containers/storage.
pub(super) fn is_root(store: &Store) -> bool {
    store.has("overlay-containers") || store.has("overlay-layers")
}

/// Every container in a root of containers/storage, and what of the lists could
/// not be read.
pub(super) fn read(store: &Store) -> (Vec<Container>, Vec<StateError>) {
    let mut errors = Vec::new();
    let mut records = Vec::new();
    for name in ["containers", "volatile-containers"] {
        let file = format!("overlay-containers/{name}.json");
        records.extend(list::<ContainerRecord>(store, &file, &mut errors));
    }
    let mut layers = HashMap::new();
    for name in ["layers", "volatile-layers"] {
        let found = list::<LayerRecord>(store, &format!("overlay-layers/{name}.json"), &mut errors);
        layers.extend(found.into_iter().map(|layer| (layer.id.clone(), layer)));
    }
    let images = list::<ImageRecord>(store, "overlay-images/images.json", &mut errors);
    let images = images.into_iter().map(|image| (image.id.clone(), image)).collect();
    let lists = Lists { layers, images };
    let mut seen = HashSet::new();
    records.retain(|record| seen.insert(record.id.clone()));
    let mut containers: Vec<_> = records.iter().map(|record| container(store, &lists, record)).collect();
    // One list may be of before what another is of.
    let is_changing = LISTS_WRITTEN.iter().any(|list| store.has(list) && store.changed_lately(list));
    for container in containers.iter_mut().filter(|container| !container.gaps.is_empty()) {
        container.is_changing = is_changing;
    }
    errors.extend(libpod::note_restarts(store, &mut containers).err());
    (containers, errors)
}

fn list<T: DeserializeOwned>(store: &Store, file: &str, errors: &mut Vec<StateError>) -> Vec<T> {
    let malformed = |source| StateError::Json { path: store.path(file), source };
    let read = store.read(file, MAX_LIST_BYTES).and_then(|bytes| parse(&bytes).map_err(malformed));
    let records = match read {
        Ok(records) => records,
        Err(error) if is_absent(&error) => return Vec::new(),
        Err(error) => {
            errors.push(error);
            return Vec::new();
        }
    };
    records
        .into_iter()
        .filter_map(|record| record.map_err(|error| errors.push(malformed(error))).ok())
        .collect()
}

fn container(store: &Store, lists: &Lists, record: &ContainerRecord) -> Container {
    let metadata: Metadata = serde_json::from_str(&record.metadata).unwrap_or_default();
    let runtime = if metadata.pod_id.is_some() { Runtime::Crio } else { Runtime::Podman };
    let mut container = Container::new(runtime, &record.id);
    let own = metadata.container_name.filter(|name| !name.is_empty());
    let name = own.or(Some(metadata.name).filter(|name| !name.is_empty()));
    container.name = name.or_else(|| record.names.iter().flatten().next().cloned());
    if !is_id(&record.id) {
        container.lacks(&store.malformed("overlay-containers/containers.json", "an id is no id"));
        return container;
    }
    // A runtime writes it when it has the container started.
    let begun = store.has(&format!("overlay-containers/{}/userdata/config.json", record.id));
    container.state = if begun { ContainerState::Stopped } else { ContainerState::Created };
    name_image(store, lists, record, &metadata.image_name, &mut container);
    let laid = lay(store, lists, record, &mut container);
    if let Some(()) = container.or_lacks(laid) {
        hold_to_image(store, record, &mut container);
    }
    container
}

/// Names the image and the digest of its configuration; nothing where it has none.
fn name_image(
    store: &Store,
    lists: &Lists,
    record: &ContainerRecord,
    called: &str,
    container: &mut Container,
) {
    if record.image.is_empty() {
        return;
    }
    let image = lists.images.get(&record.image);
    let names = image.iter().flat_map(|image| image.names.iter().chain(&image.names_history).flatten());
    let called = Some(called).filter(|name| !name.is_empty());
    container.image = called.or(names.map(String::as_str).next()).map(str::to_owned);
    container.config_digest = chain::sha256(&format!("sha256:{}", record.image));
    let Some(digest) = container.config_digest else {
        container.lacks(&store.malformed("overlay-containers/containers.json", "an image is no digest"));
        return;
    };
    // What they say of it is held to its content later; here, that they know it.
    let kept = image.and_then(|image| image.big_data_digests.as_ref());
    if !kept.is_some_and(|kept| kept.contains_key(&digest.to_string())) {
        let why = format!("the configuration {digest} is not in the list");
        container.lacks(&store.malformed("overlay-images/images.json", why));
    }
}

/// Finds what a container wrote, and the layers beneath.
fn lay(
    store: &Store,
    lists: &Lists,
    record: &ContainerRecord,
    container: &mut Container,
) -> Result<(), LayerError> {
    let own = find(lists, &record.layer)?;
    container.upper = Some(store.directory(&format!("overlay/{}/diff", own.id))?);
    let mut next = own.parent.as_str();
    while !next.is_empty() {
        let layer = find(lists, next)?;
        container.layers.push(layer_on_disk(store, layer)?);
        if container.layers.len() > MAX_LAYERS {
            return Err(LayerError::TooMany);
        }
        next = &layer.parent;
    }
    container.layers.reverse();
    let mut below = None;
    for layer in &mut container.layers {
        below = layer.diff_id.map(|diff_id| chain::above(below, diff_id));
        layer.chain_id = below;
    }
    Ok(())
}

fn find<'a>(lists: &'a Lists, id: &str) -> Result<&'a LayerRecord, LayerError> {
    lists.layers.get(id).filter(|layer| is_id(&layer.id)).ok_or_else(|| LayerError::Missing(id.to_owned()))
}

fn layer_on_disk(store: &Store, layer: &LayerRecord) -> Result<LayerOnDisk, LayerError> {
    let id = &layer.id;
    let digest = layer.diff_digest.as_deref().and_then(chain::sha256);
    let recording = format!("overlay-layers/{id}.tar-split.gz");
    Ok(LayerOnDisk {
        diff_id: Some(digest.ok_or_else(|| LayerError::NoDigest(id.clone()))?),
        chain_id: None,
        directory: store.layer(&format!("overlay/{id}/diff"))?,
        tar_split: store.has(&recording).then(|| store.path(&recording)),
    })
}

/// Holds the layers to what the image's configuration says.
fn hold_to_image(store: &Store, record: &ContainerRecord, container: &mut Container) {
    let Some(digest) = container.config_digest else { return };
    let config = store.read(&config_file(&record.image, digest), MAX_CONFIG_BYTES);
    if let Some(config) = container.or_lacks(config) {
        image::hold(container, digest, &config);
    }
}

/// Where the configuration lies: under its digest, in base64 since that has a colon.
fn config_file(image: &str, digest: Digest) -> String {
    format!("overlay-images/{image}/={}", BASE64.encode(digest.to_string().as_bytes()))
}
