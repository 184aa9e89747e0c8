//! The lower layers: each held to its manifest, or to its diff_id, and read once.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::rc::Rc;

use congruent_protocol::contract::Contract;
use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::verification::{State, SweepMode};
use serde::Serialize;

use super::caches::Way;
use super::library::Listing;
use super::{Part, PartGap, Verifier, ids};
use crate::container::store::chain_of;
use crate::container::{Container, LayerOnDisk, Runtime};
use crate::findings::Findings;
use crate::layer::{
    self, CheckError, CheckedLayer, Expected, IdMaps, IdRange, Looking, Recorded, RecordedError,
};
use crate::regular;
use crate::sweep::{Root, RootError, sees_trusted};

/// By what a layer is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// By what a manifest says that it lists.
    Manifest,
    /// By its digest, since the runtime recorded its archive.
    DiffId,
}

/// The lower layers of one container.
pub(crate) struct Lower {
    pub(crate) state: State,
    /// The weaker of the methods by which its layers were verified; none where none was.
    pub(crate) method: Option<Method>,
    /// Lowest first.
    pub(crate) layers: Vec<Rc<CheckedLower>>,
}

impl Lower {
    /// Layers of which nothing was seen.
    pub(super) fn unseen() -> Self {
        Self { state: State::Incomplete, method: None, layers: Vec::new() }
    }

    /// Quick where one of its layers was looked at so.
    pub(crate) fn mode(&self) -> SweepMode {
        let is_quick = self.layers.iter().any(|layer| layer.mode == SweepMode::Quick);
        if is_quick { SweepMode::Quick } else { SweepMode::Full }
    }
}

/// A layer that was looked at.
pub(crate) struct CheckedLower {
    pub(crate) diff_id: Option<Digest>,
    pub(crate) directory: PathBuf,
    pub(crate) state: State,
    pub(crate) method: Option<Method>,
    /// The layer's root, where its manifest has one: baked and observed.
    pub(crate) roots: Option<(Digest, Digest)>,
    pub(crate) findings: Option<Findings>,
    pub(crate) entries_seen: u64,
    /// How it was looked at: quick only where something was there to be recalled.
    pub(crate) mode: SweepMode,
    pub(crate) entries_recalled: u64,
    /// Why nothing was recalled that was to be, or nothing is kept for the next look.
    pub(crate) cache_trouble: Option<String>,
    gaps: Vec<PartGap>,
}

/// What a look came to.
struct Held {
    method: Method,
    /// The layer's root, where a manifest has one.
    baked_root: Option<Digest>,
    checked: CheckedLayer,
    cache_trouble: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum LayerError {
    #[error("its directory {} is gone: remove the image and get it anew", .0.display())]
    Gone(PathBuf),
    #[error(transparent)]
    Notes(#[from] NotesUnseen),
    #[error(transparent)]
    Root(RootError),
    #[error("cannot stat its directory")]
    Stat(#[source] std::io::Error),
    #[error("its owners are of a user namespace that is not known, since no container on it runs")]
    Ids,
    #[error("cannot open the recording of its archive")]
    Recording(#[source] std::io::Error),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Recorded(#[from] RecordedError),
    #[error("no manifest has this layer, and the runtime keeps no recording of its archive")]
    NoMeans,
}

/// Without what overlay notes, neither is known what a layer takes away, nor are attributes.
#[derive(Debug, thiserror::Error)]
#[error(
    "what overlay notes in layers is shown only to root with CAP_SYS_ADMIN; systemd's unit gives it by a drop-in"
)]
pub(super) struct NotesUnseen;

/// Layers that were looked at already, by all that the look depends on.
#[derive(Default)]
pub(crate) struct Layers(HashMap<Key, Rc<CheckedLower>>);

/// All that a look at a layer depends on, but for manifests.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    directory: PathBuf,
    is_lowest: bool,
    diff_id: Option<Digest>,
    runtime: Runtime,
    uid_map: Vec<IdRange>,
    gid_map: Vec<IdRange>,
}

impl Key {
    fn of(container: &Container, layer: &LayerOnDisk, is_lowest: bool) -> Self {
        Self {
            directory: layer.directory.clone(),
            is_lowest,
            diff_id: layer.diff_id,
            runtime: container.runtime,
            uid_map: container.uid_map.clone(),
            gid_map: container.gid_map.clone(),
        }
    }

    /// Those of a container's layers, lowest first.
    pub(super) fn all_of(container: &Container) -> impl Iterator<Item = Self> {
        container.layers.iter().enumerate().map(|(at, layer)| Self::of(container, layer, at == 0))
    }

    /// What stands for it in a name.
    pub(super) fn digest(&self) -> Digest {
        let Self { directory, is_lowest, diff_id, runtime, uid_map, gid_map } = self;
        let directory = directory.as_os_str().as_encoded_bytes();
        let parts = (directory, is_lowest, diff_id, runtime.name(), uid_map, gid_map);
        Algorithm::Blake3.digest(&serde_json::to_vec(&parts).expect("bytes and numbers always serialise"))
    }
}

impl Layers {
    /// Looks at those of a container's layers that were not looked at for another.
    pub(super) fn check(
        &mut self,
        verifier: &Verifier<'_>,
        container: &Container,
        gaps: &mut Vec<PartGap>,
    ) -> Lower {
        let layers: Vec<_> = container
            .layers
            .iter()
            .enumerate()
            .map(|(at, layer)| self.look(verifier, container, layer, at == 0))
            .collect();
        for layer in &layers {
            gaps.extend(layer.gaps.iter().cloned());
        }
        if layers.is_empty() {
            let reason = "where its layers lie is not known".to_owned();
            gaps.push(PartGap { part: Part::Lower, layer: None, path: None, reason });
        }
        let has = |state| layers.iter().any(|layer| layer.state == state);
        let state = if has(State::Divergent) {
            State::Divergent
        } else if layers.is_empty() || has(State::Incomplete) {
            State::Incomplete
        } else if has(State::Unknown) {
            State::Unknown
        } else {
            State::Congruent
        };
        let by_diff_id = layers.iter().any(|layer| layer.method == Some(Method::DiffId));
        let method =
            if by_diff_id { Some(Method::DiffId) } else { layers.iter().find_map(|layer| layer.method) };
        Lower { state, method, layers }
    }

    fn look(
        &mut self,
        verifier: &Verifier<'_>,
        container: &Container,
        layer: &LayerOnDisk,
        is_lowest: bool,
    ) -> Rc<CheckedLower> {
        let key = Key::of(container, layer, is_lowest);
        let checked =
            self.0.entry(key).or_insert_with_key(|key| Rc::new(look(verifier, container, layer, key)));
        Rc::clone(checked)
    }
}

fn look(verifier: &Verifier<'_>, container: &Container, layer: &LayerOnDisk, key: &Key) -> CheckedLower {
    let mut looked = CheckedLower {
        diff_id: layer.diff_id,
        directory: layer.directory.clone(),
        state: State::Incomplete,
        method: None,
        roots: None,
        findings: None,
        entries_seen: 0,
        mode: SweepMode::Full,
        entries_recalled: 0,
        cache_trouble: None,
        gaps: Vec::new(),
    };
    match check(verifier, container, layer, key) {
        Ok(Held { method, baked_root, checked, cache_trouble }) => {
            looked.state = State::of(!checked.findings.is_empty(), &checked.coverage);
            looked.method = Some(method);
            looked.roots = baked_root.map(|baked| (baked, checked.observed_root));
            looked.entries_seen = checked.coverage.entries_seen;
            looked.mode = checked.coverage.mode;
            looked.entries_recalled = checked.coverage.entries_recalled;
            looked.cache_trouble = cache_trouble;
            looked.gaps = PartGap::of_sweep(Part::Lower, &checked.coverage).collect();
            looked.findings = Some(checked.findings);
        }
        Err(error) => {
            looked.state = match error {
                LayerError::NoMeans => State::Unknown,
                // What there was no room for was found.
                LayerError::Check(CheckError::Spill(_)) => State::Divergent,
                _ => State::Incomplete,
            };
            looked.gaps.push(PartGap::of(Part::Lower, &error));
        }
    }
    let name = layer.called();
    looked.gaps.iter_mut().for_each(|gap| gap.layer = Some(name.clone()));
    looked
}

/// Holds a layer to the best that there is.
fn check(
    verifier: &Verifier<'_>,
    container: &Container,
    layer: &LayerOnDisk,
    key: &Key,
) -> Result<Held, LayerError> {
    let root = Root::open_uncovered(&layer.directory).map_err(|error| match error {
        RootError::Open { path, source } if source.kind() == ErrorKind::NotFound => LayerError::Gone(path),
        other => LayerError::Root(other),
    })?;
    let (is_lowest, top_mode) = (key.is_lowest, top_mode_of(container.runtime));
    let ids = ids::maps_for(&layer.directory, container).map_err(LayerError::Stat)?.ok_or(LayerError::Ids)?;
    while let Some(listing) = layer.diff_id.and_then(|diff_id| verifier.library.layer(diff_id)) {
        let looking = looking(verifier, container, listing.stated().root.algorithm(), &ids)?;
        let way = Way { is_lowest, top_mode, ids: &ids, notes: looking.notes };
        if let Some(held) = check_listed(verifier, &root, listing, key, way, looking)? {
            return Ok(held);
        }
    }
    let (Some(diff_id), Some(recording)) = (layer.diff_id, &layer.tar_split) else {
        return Err(LayerError::NoMeans);
    };
    let recording = regular::open(recording).map_err(LayerError::Recording)?;
    let recorded = Recorded { recording, diff_id, is_lowest, top_mode };
    let looking = looking(verifier, container, Algorithm::Blake3, &ids)?;
    let checked = layer::check_recorded(&root, recorded, looking, || verifier.findings(), verifier.clock)?;
    Ok(Held { method: Method::DiffId, baked_root: None, checked, cache_trouble: None })
}

/// Holds a layer to what a manifest lists; none where that is not what it states. A
/// look that finds no difference proves it, which saves going through it twice.
fn check_listed(
    verifier: &Verifier<'_>,
    root: &Root,
    listing: Listing<'_>,
    key: &Key,
    way: Way<'_>,
    looking: Looking<'_>,
) -> Result<Option<Held>, LayerError> {
    let stated = listing.stated();
    let (mut memory, mut cache_trouble) = verifier
        .caches
        .map_or_else(Default::default, |caches| caches.recall(key, root, stated, way, verifier));
    let checked = listing.entries().map_err(CheckError::from).and_then(|entries| {
        let Way { is_lowest, top_mode, .. } = way;
        let expected = Expected { entries, count: stated.entries.count, is_lowest, top_mode };
        let (contract, findings) = (Contract::empty(), verifier.findings());
        layer::check(root, expected, &contract, looking, &mut memory, findings, verifier.clock)
    });
    let needs_proof = match &checked {
        Ok(checked) => !checked.findings.is_empty() || checked.observed_root != stated.root,
        Err(error) => matches!(error, CheckError::Entries(_)),
    };
    if needs_proof && !listing.is_proven() {
        return Ok(None);
    }
    let checked = checked?;
    if let Err(error) = memory.keep() {
        cache_trouble = Some(chain_of(&error));
    }
    Ok(Some(Held { method: Method::Manifest, baked_root: Some(stated.root), checked, cache_trouble }))
}

/// The mode of the top directory of every layer, where the runtime does not take the
/// image's: containers/storage makes it so that nobody writes to it.
pub(super) fn top_mode_of(runtime: Runtime) -> Option<u16> {
    match runtime {
        Runtime::Podman | Runtime::Crio => Some(0o555),
        Runtime::Docker | Runtime::Containerd => None,
    }
}

pub(super) fn looking<'a>(
    verifier: &'a Verifier<'_>,
    container: &Container,
    algorithm: Algorithm,
    ids: &'a IdMaps,
) -> Result<Looking<'a>, NotesUnseen> {
    if !sees_trusted() {
        return Err(NotesUnseen);
    }
    let (means, counters) = (verifier.means, verifier.counters);
    Ok(Looking { algorithm, means, counters, ids, notes: ids::notes_of(container) })
}
