//! containerd's own state: two bolt files in its data root.
//!
//! `meta.db` has, by namespace, containers with their images and snapshots;
//! `metadata.db` of the overlayfs snapshotter has where a snapshot lies and what is
//! below it. Snapshots of layers are named by their chain ids. Blobs say what an
//! image is. Docker's containerd image store is the namespace `moby` of it.

use std::collections::{BTreeMap, HashMap};

use congruent_protocol::digest::{Algorithm, Digest};
use serde::Deserialize;

use super::bolt::{BoltError, Bucket, Value};
use super::image::{self, MAX_CONFIG_BYTES, MAX_LAYERS};
use super::store::{StateError, Store, is_id};
use super::{Container, ContainerState, LayerOnDisk, Runtime, chain};

const METADATA: &str = "io.containerd.metadata.v1.bolt/meta.db";
const OVERLAY: &str = "overlayfs";
const SNAPSHOTTER: &str = "io.containerd.snapshotter.v1.overlayfs";
const BLOBS: &str = "io.containerd.content.v1.content/blobs/sha256";
const TASKS: &str = "io.containerd.runtime.v2.task";
/// The namespace whose containers Docker's own state tells of.
pub(super) const DOCKERS: &str = "moby";
/// The most manifests looked at for one image, and how deep indexes may lie.
const MAX_MANIFESTS: usize = 200;
const MAX_INDEX_DEPTH: usize = 4;
/// Labels that give a container a name, by who sets them.
const NAMES: [&str; 3] = ["nerdctl/name", "io.kubernetes.container.name", "io.kubernetes.pod.name"];

/// What containerd knows, read from its files at one moment each.
pub(super) struct Containerd {
    store: Store,
    namespaces: BTreeMap<String, Namespace>,
    /// Of the overlayfs snapshotter, by its own names: `NAMESPACE/N/KEY`.
    snapshots: HashMap<String, Snapshot>,
}

#[derive(Default)]
struct Namespace {
    containers: BTreeMap<String, Record>,
    /// Images' digests by their names.
    images: HashMap<String, String>,
    /// The snapshotter's own names, by keys.
    snapshots: HashMap<String, String>,
}

#[derive(Default)]
struct Record {
    image: String,
    runtime: String,
    snapshotter: String,
    snapshot: String,
    labels: HashMap<String, String>,
}

struct Snapshot {
    id: u64,
    parent: String,
}

/// Why a container's layers cannot be told.
#[derive(Debug, thiserror::Error)]
enum LayerError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the snapshotter {0:?} is not known here: only overlayfs is")]
    Snapshotter(String),
    #[error("the snapshot {0:?} is in no list")]
    Missing(String),
    #[error("the snapshot {0:?} is not named by a chain of layers")]
    NoChain(String),
    #[error("it has over {MAX_LAYERS} layers")]
    TooMany,
    #[error("no manifest of the image {0:?} that is here has the container's layers")]
    NoManifest(String),
}

/// An index or a manifest, whichever it is.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

/// Whether `store` looks like containerd's data root.
pub(super) fn is_root(store: &Store) -> bool {
    store.has(METADATA)
}

impl Containerd {
    /// Reads both files; what could not be read beside it.
    pub(super) fn open(store: Store) -> (Self, Vec<StateError>) {
        let mut errors = Vec::new();
        let mut read = |file: &str, take: &mut dyn FnMut(Bucket<'_>) -> Result<(), BoltError>| {
            let taken = store.bolt(file).and_then(|bolt| {
                take(bolt.root()).map_err(|source| StateError::Bolt { path: store.path(file), source })
            });
            errors.extend(taken.err());
        };
        let (mut namespaces, mut snapshots) = (BTreeMap::new(), HashMap::new());
        read(METADATA, &mut |root| {
            namespaces = read_namespaces(root)?;
            Ok(())
        });
        if store.has(&format!("{SNAPSHOTTER}/metadata.db")) {
            read(&format!("{SNAPSHOTTER}/metadata.db"), &mut |root| {
                snapshots = read_snapshots(root)?;
                Ok(())
            });
        }
        (Self { store, namespaces, snapshots }, errors)
    }

    /// Every container that is containerd's own.
    pub(super) fn containers(&self) -> Vec<Container> {
        let own = self.namespaces.iter().filter(|(name, _)| *name != DOCKERS);
        own.flat_map(|(name, namespace)| {
            namespace.containers.iter().map(move |(id, record)| self.container(name, namespace, id, record))
        })
        .collect()
    }

    fn container(&self, name: &str, namespace: &Namespace, id: &str, record: &Record) -> Container {
        let mut container = Container::new(Runtime::Containerd, id);
        container.name = NAMES.iter().find_map(|label| record.labels.get(*label).cloned());
        container.image = (!record.image.is_empty()).then(|| record.image.clone());
        container.gaps.extend(super::join::sandbox(&record.runtime));
        let begun = is_id(id) && is_id(name) && self.store.has(&format!("{TASKS}/{name}/{id}"));
        container.state = if begun { ContainerState::Stopped } else { ContainerState::Created };
        let laid = if record.snapshotter == OVERLAY {
            self.lay(name, &record.snapshot, &mut container)
        } else {
            Err(LayerError::Snapshotter(record.snapshotter.clone()))
        };
        // It is removed from one file before it is from the other.
        container.is_changing =
            matches!(laid, Err(LayerError::Missing(_))) && self.store.changed_lately(METADATA);
        if let Some(()) = container.or_lacks(laid) {
            let target = namespace.images.get(&record.image).and_then(|digest| chain::sha256(digest));
            self.hold_to_image(&mut container, target);
        }
        container
    }

    /// Tells a container of Docker's where its layers lie, and which image it has;
    /// whether it is kept here.
    pub(super) fn lay_for_docker(&self, container: &mut Container, image: Option<Digest>) -> bool {
        let id = container.id.clone();
        if !self.namespaces.get(DOCKERS).is_some_and(|moby| moby.snapshots.contains_key(&id)) {
            return false;
        }
        let laid = self.lay(DOCKERS, &id, container);
        if let Some(()) = container.or_lacks(laid) {
            self.hold_to_image(container, image);
        }
        true
    }

    /// Finds what a container wrote, and the layers beneath.
    fn lay(&self, namespace: &str, key: &str, container: &mut Container) -> Result<(), LayerError> {
        let missing = || LayerError::Missing(key.to_owned());
        let name = self.namespaces.get(namespace).and_then(|space| space.snapshots.get(key));
        let own = name.and_then(|name| self.snapshots.get(name)).ok_or_else(missing)?;
        container.upper = Some(self.directory(own)?);
        let mut layers = Vec::new();
        let mut next = own.parent.as_str();
        while !next.is_empty() {
            let snapshot = self.snapshots.get(next).ok_or_else(|| LayerError::Missing(next.to_owned()))?;
            let directory = self.directory(snapshot)?;
            match chain_of(next) {
                Some(chain_id) => {
                    let chain_id = Some(chain_id);
                    layers.push(LayerOnDisk { diff_id: None, chain_id, directory, tar_split: None });
                }
                // Docker puts a layer of its own between, with stubs to mount on.
                None if layers.is_empty() && next.ends_with("-init") && container.init.is_none() => {
                    container.init = Some(directory);
                }
                None => return Err(LayerError::NoChain(next.to_owned())),
            }
            if layers.len() > MAX_LAYERS {
                return Err(LayerError::TooMany);
            }
            next = &snapshot.parent;
        }
        layers.reverse();
        container.layers = layers;
        Ok(())
    }

    fn directory(&self, snapshot: &Snapshot) -> Result<std::path::PathBuf, StateError> {
        self.store.layer(&format!("{SNAPSHOTTER}/snapshots/{}/fs", snapshot.id))
    }

    /// Finds the image's configuration by the layers that it names, and takes their
    /// digests from it: a chain id proves them.
    fn hold_to_image(&self, container: &mut Container, target: Option<Digest>) {
        let Some(target) = target else {
            let name = container.image.clone().unwrap_or_default();
            return container.lacks(&LayerError::NoManifest(name));
        };
        let mut left = MAX_MANIFESTS;
        match self.configuration(target, container, MAX_INDEX_DEPTH, &mut left) {
            Some((digest, diff_ids)) => {
                container.config_digest = Some(digest);
                for (layer, diff_id) in container.layers.iter_mut().zip(diff_ids) {
                    layer.diff_id = Some(diff_id);
                }
            }
            None => container.lacks(&LayerError::NoManifest(target.to_string())),
        }
    }

    /// The configuration with the container's layers that an index or manifest
    /// leads to. Those of other platforms need not be here.
    fn configuration(
        &self,
        target: Digest,
        container: &Container,
        depth: usize,
        left: &mut usize,
    ) -> Option<(Digest, Vec<Digest>)> {
        *left = left.checked_sub(1)?;
        let document: Document = serde_json::from_slice(&self.blob(target)?).ok()?;
        if let Some(config) = document.config.and_then(|config| chain::sha256(&config.digest)) {
            let diff_ids = image::diff_ids(config, &self.blob(config)?).ok()?;
            return is_chain(container, &diff_ids).then_some((config, diff_ids));
        }
        let depth = depth.checked_sub(1)?;
        let mut below = document.manifests.iter().filter_map(|descriptor| chain::sha256(&descriptor.digest));
        below.find_map(|digest| self.configuration(digest, container, depth, left))
    }

    /// A blob, if it is here and is what its name says.
    fn blob(&self, digest: Digest) -> Option<Vec<u8>> {
        let bytes = self.store.read(&format!("{BLOBS}/{}", chain::hex(digest)), MAX_CONFIG_BYTES).ok()?;
        (Algorithm::Sha256.digest(&bytes) == digest).then_some(bytes)
    }
}

/// Whether these are the digests of the container's layers.
fn is_chain(container: &Container, diff_ids: &[Digest]) -> bool {
    let chains = diff_ids.iter().scan(None, |below, diff_id| {
        *below = Some(chain::above(*below, *diff_id));
        Some(*below)
    });
    container.layers.iter().map(|layer| layer.chain_id).eq(chains)
}

/// The chain id in a snapshotter's own name, `NAMESPACE/N/sha256:…`.
fn chain_of(name: &str) -> Option<Digest> {
    chain::sha256(name.splitn(3, '/').nth(2)?)
}

fn read_namespaces(root: Bucket<'_>) -> Result<BTreeMap<String, Namespace>, BoltError> {
    let mut namespaces = BTreeMap::new();
    for (name, bucket) in buckets(root.bucket("v1")?)? {
        let mut namespace = Namespace::default();
        for (id, container) in buckets(bucket.bucket("containers")?)? {
            namespace.containers.insert(id, record(container)?);
        }
        for (image, bucket) in buckets(bucket.bucket("images")?)? {
            if let Some(target) = bucket.bucket("target")? {
                namespace.images.insert(image, text(target, "digest")?);
            }
        }
        let snapshots = bucket.bucket("snapshots")?;
        let snapshots = snapshots.map(|snapshots| snapshots.bucket(OVERLAY)).transpose()?.flatten();
        for (key, snapshot) in buckets(snapshots)? {
            namespace.snapshots.insert(key, text(snapshot, "name")?);
        }
        namespaces.insert(name, namespace);
    }
    Ok(namespaces)
}

fn record(container: Bucket<'_>) -> Result<Record, BoltError> {
    let runtime = container.bucket("runtime")?.map(|runtime| text(runtime, "name")).transpose()?;
    let labels = container.bucket("labels")?.map(|labels| labels.items()).transpose()?;
    let label = |(key, value): (&[u8], Value<'_>)| match value {
        Value::Bytes(value) => Some((lossy(key), lossy(value))),
        Value::Bucket(_) => None,
    };
    Ok(Record {
        image: text(container, "image")?,
        runtime: runtime.unwrap_or_default(),
        snapshotter: text(container, "snapshotter")?,
        snapshot: text(container, "snapshotKey")?,
        labels: labels.into_iter().flatten().filter_map(label).collect(),
    })
}

fn read_snapshots(root: Bucket<'_>) -> Result<HashMap<String, Snapshot>, BoltError> {
    let snapshots = root.bucket("v1")?.map(|v1| v1.bucket("snapshots")).transpose()?.flatten();
    let mut found = HashMap::new();
    for (name, snapshot) in buckets(snapshots)? {
        // One without a number lies nowhere, and is missed by whoever stands on it.
        if let Some(id) = snapshot.bytes("id")?.and_then(varint) {
            found.insert(name, Snapshot { id, parent: text(snapshot, "parent")? });
        }
    }
    Ok(found)
}

/// The buckets in a bucket, by their names.
fn buckets(bucket: Option<Bucket<'_>>) -> Result<Vec<(String, Bucket<'_>)>, BoltError> {
    let items = bucket.map(|bucket| bucket.items()).transpose()?;
    let named = items.into_iter().flatten().filter_map(|(key, value)| match value {
        Value::Bucket(bucket) => Some((lossy(key), bucket)),
        Value::Bytes(_) => None,
    });
    Ok(named.collect())
}

fn text(bucket: Bucket<'_>, key: &str) -> Result<String, BoltError> {
    Ok(bucket.bytes(key)?.map(lossy).unwrap_or_default())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A number as Go's `binary.PutUvarint` writes it.
fn varint(bytes: &[u8]) -> Option<u64> {
    let mut number: u64 = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_go() {
        for (bytes, number) in [
            (&[5_u8][..], Some(5)),
            (&[0x80, 1], Some(128)),
            (&[0xff, 0xff, 3], Some(65_535)),
            (&[], None),
            (&[0x80], None),
            (&[0x80; 11], None),
        ] {
            assert_eq!(varint(bytes), number, "{bytes:?}");
        }
    }

    #[test]
    fn snapshots_of_layers_are_named_by_chains() {
        let chain = format!("sha256:{}", "a".repeat(64));
        assert_eq!(chain_of(&format!("default/4/{chain}")), chain::sha256(&chain));
        for no in ["default/5/web", "moby/5/x-init", &chain, "", "a/b/c/d"] {
            assert_eq!(chain_of(no), None, "{no}");
        }
    }
}
