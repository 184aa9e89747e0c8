//! The lower layers: each held to its manifest, or to its diff_id, and read once.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::rc::Rc;

use congruent_protocol::contract::Contract;
use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::path::escape;
use congruent_protocol::verification::State;
use serde::Serialize;

use super::library::Listing;
use super::{Part, PartGap, Verifier, ids};
use crate::container::{Container, LayerOnDisk, Runtime};
use crate::findings::Findings;
use crate::layer::{
    self, CheckError, CheckedLayer, Expected, IdMaps, IdRange, Looking, Recorded, RecordedError,
};
use crate::regular;
use crate::sweep::{Root, RootError};

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
    gaps: Vec<PartGap>,
}

#[derive(Debug, thiserror::Error)]
enum LayerError {
    #[error("its directory {} is gone: remove the image and get it anew", .0.display())]
    Gone(PathBuf),
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

/// Layers that were looked at already, by all that the look depends on.
#[derive(Default)]
pub(crate) struct Layers(HashMap<Key, Rc<CheckedLower>>);

#[derive(PartialEq, Eq, Hash)]
struct Key {
    directory: PathBuf,
    is_lowest: bool,
    diff_id: Option<Digest>,
    runtime: Runtime,
    uid_map: Vec<IdRange>,
    gid_map: Vec<IdRange>,
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
        let key = Key {
            directory: layer.directory.clone(),
            is_lowest,
            diff_id: layer.diff_id,
            runtime: container.runtime,
            uid_map: container.uid_map.clone(),
            gid_map: container.gid_map.clone(),
        };
        let checked =
            self.0.entry(key).or_insert_with(|| Rc::new(look(verifier, container, layer, is_lowest)));
        Rc::clone(checked)
    }
}

fn look(
    verifier: &Verifier<'_>,
    container: &Container,
    layer: &LayerOnDisk,
    is_lowest: bool,
) -> CheckedLower {
    let mut looked = CheckedLower {
        diff_id: layer.diff_id,
        directory: layer.directory.clone(),
        state: State::Incomplete,
        method: None,
        roots: None,
        findings: None,
        entries_seen: 0,
        gaps: Vec::new(),
    };
    match check(verifier, container, layer, is_lowest) {
        Ok((method, baked_root, checked)) => {
            looked.state = State::of(!checked.findings.is_empty(), &checked.coverage);
            looked.method = Some(method);
            looked.roots = baked_root.map(|baked| (baked, checked.observed_root));
            looked.entries_seen = checked.coverage.entries_seen;
            looked.gaps = PartGap::of_sweep(Part::Lower, &checked.coverage).collect();
            looked.findings = Some(checked.findings);
        }
        Err(error) => {
            if matches!(error, LayerError::NoMeans) {
                looked.state = State::Unknown;
            }
            looked.gaps.push(PartGap::of(Part::Lower, &error));
        }
    }
    let name = layer.diff_id.map_or_else(|| layer.directory.display().to_string(), |id| id.to_string());
    let name = escape(name.as_bytes()).into_owned();
    looked.gaps.iter_mut().for_each(|gap| gap.layer = Some(name.clone()));
    looked
}

/// Holds a layer to the best that there is. Gives also its baked root, where a manifest
/// has one.
fn check(
    verifier: &Verifier<'_>,
    container: &Container,
    layer: &LayerOnDisk,
    is_lowest: bool,
) -> Result<(Method, Option<Digest>, CheckedLayer), LayerError> {
    let root = Root::open(Some(&layer.directory)).map_err(|error| match error {
        RootError::Open { path, source } if source.kind() == ErrorKind::NotFound => LayerError::Gone(path),
        other => LayerError::Root(other),
    })?;
    let top_mode = top_mode_of(container.runtime);
    let ids = ids::maps_for(&layer.directory, container).map_err(LayerError::Stat)?.ok_or(LayerError::Ids)?;
    while let Some(listing) = layer.diff_id.and_then(|diff_id| verifier.library.layer(diff_id)) {
        let looking = looking(verifier, container, listing.stated().root.algorithm(), &ids);
        if let Some(checked) = check_listed(verifier, &root, listing, (is_lowest, top_mode), looking)? {
            return Ok((Method::Manifest, Some(listing.stated().root), checked));
        }
    }
    let (Some(diff_id), Some(recording)) = (layer.diff_id, &layer.tar_split) else {
        return Err(LayerError::NoMeans);
    };
    let recording = regular::open(recording).map_err(LayerError::Recording)?;
    let recorded = Recorded { recording, diff_id, is_lowest, top_mode };
    let looking = looking(verifier, container, Algorithm::Blake3, &ids);
    let checked = layer::check_recorded(&root, recorded, looking, || verifier.findings(), verifier.clock)?;
    Ok((Method::DiffId, None, checked))
}

/// Holds a layer to what a manifest lists; none where that is not what it states. A
/// look that finds no difference proves it, which saves going through it twice.
fn check_listed(
    verifier: &Verifier<'_>,
    root: &Root,
    listing: Listing<'_>,
    (is_lowest, top_mode): (bool, Option<u16>),
    looking: Looking<'_>,
) -> Result<Option<CheckedLayer>, LayerError> {
    let stated = listing.stated();
    let checked = listing.entries().map_err(CheckError::from).and_then(|entries| {
        let expected = Expected { entries, count: stated.entries.count, is_lowest, top_mode };
        layer::check(root, expected, &Contract::empty(), looking, verifier.findings(), verifier.clock)
    });
    let needs_proof = match &checked {
        Ok(checked) => !checked.findings.is_empty() || checked.observed_root != stated.root,
        Err(error) => matches!(error, CheckError::Entries(_)),
    };
    if needs_proof && !listing.is_proven() {
        return Ok(None);
    }
    Ok(Some(checked?))
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
) -> Looking<'a> {
    let (means, counters) = (verifier.means, verifier.counters);
    Looking { algorithm, means, counters, ids, notes: ids::notes_of(container) }
}
