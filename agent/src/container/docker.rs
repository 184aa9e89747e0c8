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
    /// It ended, and its policy has it started again; it then is `running` as well.
    #[serde(default)]
    restarting: bool,
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
    let found = store.directories(CONTAINERS)?.into_iter().map(|id| {
        let mut container = container(store, containerds, &id);
        // Docker makes what it lacks just now, or takes away the rest.
        container.is_changing =
            !container.gaps.is_empty() && store.changed_lately(&format!("{CONTAINERS}/{id}"));
        container
    });
    Ok(found.collect())
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
        State { restarting: true, .. } => ContainerState::Restarting,
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
        options: Vec::new(),
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
            directory: store.layer(&format!("overlay2/{unpacked}/diff"))?,
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use congruent_protocol::digest::Algorithm;
    use serde_json::json;

    use super::*;
    use crate::container::bolt::testing::{bucket, bytes, file_of};

    const ID: &str = "0eff7471247500fa1fac67c41d14480f087e5db32e3ad9685332694ae0e25158";

    fn put(root: &Path, name: &str, content: impl AsRef<[u8]>) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn blob(containerd: &Path, content: &serde_json::Value) -> String {
        let content = content.to_string();
        let digest = Algorithm::Sha256.digest(content.as_bytes());
        let folder = "io.containerd.content.v1.content/blobs/sha256";
        put(containerd, &format!("{folder}/{}", chain::hex(digest)), content);
        digest.to_string()
    }

    /// A data root as Docker 29 lays it out: its containers here, their layers as
    /// snapshots of the containerd that it starts. Gives the image's name by digest,
    /// and its configuration's.
    fn lay_out(root: &Path) -> (String, String) {
        let containerd = root.join("containerd/daemon");
        let diff_id = format!("sha256:{}", "a".repeat(64));
        let config = blob(&containerd, &json!({ "rootfs": { "type": "layers", "diff_ids": [diff_id] } }));
        let manifest = blob(&containerd, &json!({ "config": { "digest": config } }));
        let elsewhere = format!("sha256:{}", "b".repeat(64));
        let index = json!({ "manifests": [{ "digest": elsewhere }, { "digest": manifest }] });
        let image = blob(&containerd, &index);
        let init = format!("{ID}-init");
        let (names, own_init) = ([format!("moby/3/{ID}"), format!("moby/2/{init}")], &init[..]);
        let layer = format!("moby/1/{diff_id}");
        let named = |name: &str| bucket([("name", bytes(name))]);
        let snapshots = bucket([(ID, named(&names[0])), (own_init, named(&names[1]))]);
        let moby = bucket([("snapshots", bucket([("overlayfs", snapshots)]))]);
        let meta = file_of(bucket([("moby", moby)]));
        put(&containerd, "io.containerd.metadata.v1.bolt/meta.db", meta);
        let snapshot = |id: u8, parent: &str| bucket([("id", bytes([id])), ("parent", bytes(parent))]);
        let kept = [
            (&layer[..], bucket([("id", bytes([1]))])),
            (&names[1][..], snapshot(2, &layer)),
            (&names[0][..], snapshot(3, &names[1])),
        ];
        let overlay = "io.containerd.snapshotter.v1.overlayfs";
        put(&containerd, &format!("{overlay}/metadata.db"), file_of(bucket([("snapshots", bucket(kept))])));
        for id in 1..=3 {
            fs::create_dir_all(containerd.join(format!("{overlay}/snapshots/{id}/fs"))).unwrap();
        }
        let state = json!({
            "ID": ID, "Name": "/web", "Image": image, "Driver": "overlayfs", "Config": { "Image": "app:1" },
            "State": { "Running": false, "StartedAt": NEVER },
        });
        put(root, &format!("{CONTAINERS}/{ID}/config.v2.json"), state.to_string());
        put(root, &format!("{CONTAINERS}/{ID}/hostconfig.json"), json!({ "Runtime": "runc" }).to_string());
        (image, config)
    }

    #[test]
    fn layers_that_containerd_keeps_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let (_, config) = lay_out(folder.path());
        let store = Store::open(folder.path()).unwrap();
        assert!(is_root(&store));
        let own = folder.path().join("containerd/daemon");
        let (containerd, errors) = Containerd::open(Store::open(&own).unwrap());
        assert!(errors.is_empty() && containerd.containers().is_empty());
        let found = read(&store, &[containerd]).unwrap();
        let [container] = &found[..] else { unreachable!() };
        assert_eq!(container.gaps, [""; 0]);
        assert_eq!(container.config_digest.unwrap().to_string(), config);
        assert_eq!((container.name.as_deref(), container.state), (Some("web"), ContainerState::Created));
        let snapshot = |id: u8| own.join(format!("io.containerd.snapshotter.v1.overlayfs/snapshots/{id}/fs"));
        assert_eq!((container.upper.clone(), container.init.clone()), (Some(snapshot(3)), Some(snapshot(2))));
        let [layer] = &container.layers[..] else { unreachable!() };
        assert_eq!((&layer.directory, layer.diff_id), (&snapshot(1), layer.chain_id));
        // Without containerd's state the container is told, and what is missing.
        let [alone] = &read(&store, &[]).unwrap()[..] else { unreachable!() };
        assert!(alone.gaps[0].contains("kept by containerd"), "{:?}", alone.gaps);
    }
}
