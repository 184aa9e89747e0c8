//! Docker's own state, as dockerd keeps it in its data root: for its storage driver
//! overlay2, and for the image store of containerd, its default since version 29.
//!
//! `containers/<id>/config.v2.json` says what a container is made of,
//! `image/overlay2/layerdb` which layers it has and where they lie unpacked, and
//! `image/overlay2/imagedb` what the image is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use congruent_protocol::digest::Digest;
use serde::Deserialize;

use super::containerd::Containerd;
use super::image::{self, MAX_CONFIG_BYTES, MAX_LAYERS};
use super::store::{StateError, Store, is_absent, is_id};
use super::{Container, ContainerState, LayerOnDisk, MountKind, MountSurface, Runtime, chain};

const CONTAINERS: &str = "containers";
const LAYERS: &str = "image/overlay2/layerdb";
/// The largest state of a container that is taken.
const MAX_STATE_BYTES: u64 = 16 << 20;
/// When what never happened is said to have happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    name: String,
    /// The image's configuration, by its digest; with containerd's store its manifest.
    #[serde(default)]
    image: String,
    #[serde(default)]
    driver: String,
    state: State,
    #[serde(default, rename = "Config")]
    asked: Asked,
    #[serde(default)]
    mount_points: Option<BTreeMap<String, MountPoint>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    running: bool,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    started_at: String,
}

/// What was asked for when it was made.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    #[serde(default)]
    image: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MountPoint {
    #[serde(default)]
    source: PathBuf,
    destination: PathBuf,
    #[serde(default, rename = "RW")]
    rw: bool,
    #[serde(default, rename = "Type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    runtime: String,
}

/// Why a container's layers cannot be told.
#[derive(Debug, thiserror::Error)]
enum LayerError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the storage driver {0:?} is not known here: only overlay2 and overlayfs are")]
    Driver(String),
    #[error("its layers are kept by containerd, and no data root of containerd that was read has them")]
    NoContainerd,
    #[error("{} is not what the layer above it calls its parent", .0.display())]
    NotTheChain(PathBuf),
    #[error("it has over {MAX_LAYERS} layers")]
    TooMany,
}

/// Whether `store` looks like Docker's data root.
pub(super) fn is_root(store: &Store) -> bool {
    store.has(CONTAINERS) && ["image", "containerd", "engine-id"].iter().any(|name| store.has(name))
}

/// Every container in Docker's data root; `containerds` may keep their layers.
pub(super) fn read(store: &Store, containerds: &[Containerd]) -> Result<Vec<Container>, StateError> {
    Ok(store.directories(CONTAINERS)?.iter().map(|id| container(store, containerds, id)).collect())
}

fn container(store: &Store, containerds: &[Containerd], id: &str) -> Container {
    let mut container = Container::new(Runtime::Docker, id);
    let file = format!("{CONTAINERS}/{id}/config.v2.json");
    let config = store.json::<Config>(&file, MAX_STATE_BYTES).and_then(|config| {
        let is_its_own = config.id == id && is_id(id);
        if is_its_own { Ok(config) } else { Err(store.malformed(&file, "it is of another container")) }
    });
    let Some(config) = container.or_lacks(config) else { return container };
    container.state = state(&config.state);
    container.mounts = config.mount_points.iter().flatten().map(|(_, mount)| surface(mount)).collect();
    let name = config.name.trim_start_matches('/');
    container.name = (!name.is_empty()).then(|| name.to_owned());
    container.image = (!config.asked.image.is_empty()).then_some(config.asked.image);
    let image = chain::sha256(&config.image);
    if image.is_none() {
        container.lacks(&store.malformed(&file, "its image is named by no digest"));
    }
    note_sandbox(store, &mut container);
    match &config.driver[..] {
        "overlay2" => {
            container.config_digest = image;
            let laid = lay(store, &mut container);
            if let Some(()) = container.or_lacks(laid) {
                hold_to_image(store, &mut container);
            }
        }
        // The image then is named by its manifest or index.
        "overlayfs" => {
            if !containerds.iter().any(|containerd| containerd.lay_for_docker(&mut container, image)) {
                container.lacks(&LayerError::NoContainerd);
            }
        }
        other => container.lacks(&LayerError::Driver(other.to_owned())),
    }
    container
}

fn state(state: &State) -> ContainerState {
    match state {
        State { paused: true, .. } => ContainerState::Paused,
        State { running: true, .. } => ContainerState::Running,
        State { started_at, .. } if started_at == NEVER => ContainerState::Created,
        _ => ContainerState::Stopped,
    }
}

fn surface(mount: &MountPoint) -> MountSurface {
    let kind = match &mount.kind[..] {
        "volume" => MountKind::Volume,
        "tmpfs" => MountKind::Tmpfs,
        "" | "bind" => MountKind::Bind,
        _ => MountKind::Other,
    };
    MountSurface {
        path: mount.destination.clone(),
        kind,
        filesystem: None,
        source: mount.source.clone(),
        writable: mount.rw,
        exec: true,
    }
}

/// Notes that a container runs where the host cannot see into it.
fn note_sandbox(store: &Store, container: &mut Container) {
    let file = format!("{CONTAINERS}/{}/hostconfig.json", container.id);
    let asked = store.json::<HostConfig>(&file, MAX_STATE_BYTES);
    if let Some(asked) = container.or_lacks(asked) {
        container.gaps.extend(super::join::sandbox(&asked.runtime));
    }
}

/// Finds what a container wrote, and the layers beneath.
fn lay(store: &Store, container: &mut Container) -> Result<(), LayerError> {
    let mount = format!("{LAYERS}/mounts/{}", container.id);
    let written = store.id(&format!("{mount}/mount-id"))?;
    container.upper = Some(store.directory(&format!("overlay2/{written}/diff"))?);
    let init = store.id(&format!("{mount}/init-id"))?;
    container.init = Some(store.directory(&format!("overlay2/{init}/diff"))?);
    container.layers = layers(store, digest_if_there(store, &format!("{mount}/parent"))?)?;
    Ok(())
}

/// The layers from `top` down, given lowest first. Each is named by the digest of
/// what it and all below it are, so that none can stand in for another.
fn layers(store: &Store, top: Option<Digest>) -> Result<Vec<LayerOnDisk>, LayerError> {
    let mut layers = Vec::new();
    let mut next = top;
    while let Some(chain_id) = next {
        let folder = format!("{LAYERS}/sha256/{}", chain::hex(chain_id));
        let diff_id = digest(store, &format!("{folder}/diff"))?;
        let below = digest_if_there(store, &format!("{folder}/parent"))?;
        if chain::above(below, diff_id) != chain_id {
            return Err(LayerError::NotTheChain(store.path(&folder)));
        }
        let unpacked = store.id(&format!("{folder}/cache-id"))?;
        let recording = format!("{folder}/tar-split.json.gz");
        layers.push(LayerOnDisk {
            diff_id: Some(diff_id),
            chain_id: Some(chain_id),
            directory: store.directory(&format!("overlay2/{unpacked}/diff"))?,
            tar_split: store.has(&recording).then(|| store.path(&recording)),
        });
        if layers.len() > MAX_LAYERS {
            return Err(LayerError::TooMany);
        }
        next = below;
    }
    layers.reverse();
    Ok(layers)
}

fn digest(store: &Store, file: &str) -> Result<Digest, StateError> {
    chain::sha256(&store.word(file)?).ok_or_else(|| store.malformed(file, "it holds no digest"))
}

fn digest_if_there(store: &Store, file: &str) -> Result<Option<Digest>, StateError> {
    match digest(store, file) {
        Err(error) if is_absent(&error) => Ok(None),
        read => read.map(Some),
    }
}

/// Holds the layers to what the image's configuration says.
fn hold_to_image(store: &Store, container: &mut Container) {
    let Some(digest) = container.config_digest else { return };
    let file = format!("image/overlay2/imagedb/content/sha256/{}", chain::hex(digest));
    let config = store.read(&file, MAX_CONFIG_BYTES);
    if let Some(config) = container.or_lacks(config) {
        image::hold(container, digest, &config);
    }
}
