//! What reports say of containers: held to its shape, and to the manifest of their image.

use std::collections::HashMap;

use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::drift::{Change, Finding};
use congruent_protocol::manifest::ImageLayer;
use congruent_protocol::report::{
    ContainerIdentity, ContainerReport, ContainersSeen, LayerMethod, LayerReport, MAX_CONTAINER_LAYERS,
    MAX_CONTAINERS, Report, is_container_id,
};
use congruent_protocol::verification::{Coverage, State};
use jiff::Timestamp;

use super::Refused;
use super::check::{MAX_PATH_BYTES, MAX_WORD_BYTES};
use crate::config::Accepted;
use crate::judge::{OVER, end_container};
use crate::store::{StoreError, Tx};
use crate::subject::SubjectId;

/// The note of a container that its node reports and that has not been reported itself.
const ONLY_LISTED: &str = "its node says that it runs, and nothing else was heard of it";
/// The most mounts and foreign entries of a container's own that are reported.
const MAX_BESIDE: usize = 100_000;
/// The longest directory of a layer, in bytes: four for each that a path may have, escaped.
const MAX_DIRECTORY_BYTES: usize = 4 * 4096;

fn refuse(why: impl Into<String>) -> Result<(), Refused> {
    Err(Refused::Container(why.into()))
}

/// Holds what a report says of containers to its shape.
pub(super) fn check_shape<F>(report: &Report<F>) -> Result<(), Refused> {
    match (&report.container, &report.containers) {
        (Some(_), Some(_)) => refuse("it is of a container, and lists those of its node"),
        (Some(container), None) => check_container(container),
        (None, Some(seen)) => check_seen(seen),
        (None, None) => Ok(()),
    }
}

fn check_container(container: &ContainerReport) -> Result<(), Refused> {
    let ContainerIdentity { id, name, runtime, image, .. } = &container.identity;
    if !is_container_id(id) {
        return refuse("the container's id is none that a runtime gives");
    }
    let words = [Some(runtime), name.as_ref(), image.as_ref()];
    if words.into_iter().flatten().any(|word| word.len() > MAX_WORD_BYTES) {
        return Err(Refused::TooLong { what: "container's name, runtime or image", limit: MAX_WORD_BYTES });
    }
    if container.layers.len() > MAX_CONTAINER_LAYERS {
        return refuse(format!("it has over {MAX_CONTAINER_LAYERS} layers"));
    }
    if container.looked.is_some_and(|looked| looked.finished_at < looked.started_at) {
        return refuse("its look ended before it began");
    }
    container.layers.iter().try_for_each(check_layer)?;
    check_list("the runtime's own layer", &container.runtime_layer)?;
    check_list("the mounts", &container.mounts)?;
    match container.mounts.iter().find(|finding| finding.change != Change::MountedOver) {
        Some(finding) => refuse(format!("the finding at {} is of no mount", finding.path)),
        None => Ok(()),
    }
}

fn check_layer(layer: &LayerReport) -> Result<(), Refused> {
    let LayerReport { place, findings, .. } = layer;
    if place.directory.len() > MAX_DIRECTORY_BYTES {
        return Err(Refused::TooLong { what: "layer's directory", limit: MAX_DIRECTORY_BYTES });
    }
    check_ids(&place.shared_by)?;
    check_list("a layer", findings)?;
    if !layer.is_consistent() {
        return refuse(format!(
            "the findings of the layer at {} are not those that it counts",
            place.directory
        ));
    }
    Ok(())
}

fn check_seen(seen: &ContainersSeen) -> Result<(), Refused> {
    check_ids(&seen.running)?;
    if seen.gaps.len() > MAX_CONTAINERS {
        return refuse(format!("it has over {MAX_CONTAINERS} reasons why containers may be missing"));
    }
    match seen.gaps.iter().any(|gap| gap.len() > MAX_PATH_BYTES) {
        true => Err(Refused::TooLong { what: "reason why containers may be missing", limit: MAX_PATH_BYTES }),
        false => Ok(()),
    }
}

fn check_ids(ids: &[String]) -> Result<(), Refused> {
    let is_fit = ids.len() <= MAX_CONTAINERS
        && ids.iter().all(|id| is_container_id(id))
        && ids.is_sorted_by(|one, other| one < other);
    if is_fit {
        Ok(())
    } else {
        refuse("its list of containers is none: unordered, too long, or of other words")
    }
}

fn check_list(what: &str, findings: &[Finding]) -> Result<(), Refused> {
    if findings.len() > MAX_BESIDE || !findings.is_sorted_by(|one, other| one.path < other.path) {
        return refuse(format!("the findings of {what} are out of order, or over {MAX_BESIDE}"));
    }
    match findings.iter().any(|finding| finding.path.as_bytes().len() > MAX_PATH_BYTES) {
        true => Err(Refused::TooLong { what: "longest path", limit: MAX_PATH_BYTES }),
        false => Ok(()),
    }
}

/// Why the report's subject is not held to this manifest, where it is not: a node is not
/// what a container image holds, nor a container what another image does.
pub(super) fn misfit(report: &Report, accepted: &Accepted) -> Option<String> {
    let layers = accepted.layers();
    let Some(container) = &report.container else {
        let why = "the manifest is of a container image, and nodes are not held to one";
        return (!layers.is_empty()).then(|| why.to_owned());
    };
    let Some(config_digest) = accepted.config_digest().filter(|_| !layers.is_empty()) else {
        return Some("the manifest is of no container image".to_owned());
    };
    // What says less of itself may be anything.
    let is_named = match container.identity.config_digest {
        Some(own) => own == config_digest,
        None => container.layers.iter().all(|layer| layer.place.diff_id.is_some()),
    };
    let is_other = !is_named
        || container.layers.len() != layers.len()
        || container
            .layers
            .iter()
            .zip(layers)
            .any(|(own, baked)| own.place.diff_id.is_some_and(|diff_id| diff_id != baked.diff_id));
    is_other.then(|| "the manifest is of another image than the container's".to_owned())
}

/// Holds what is said of a container's layers to its image's manifest.
pub(super) fn hold_layers(
    container: &ContainerReport,
    accepted: &Accepted,
    coverage: &Coverage,
) -> Result<(), Refused> {
    for (layer, baked) in container.layers.iter().zip(accepted.layers()) {
        let is_seen = matches!(layer.state, State::Congruent | State::Divergent);
        if !is_seen && !coverage.has_gaps() {
            return refuse(format!("the layer {} was not verified, and is no gap", baked.diff_id));
        }
        if is_seen && layer.method.is_none() {
            return refuse(format!("the layer {} has a verdict, and was not verified", baked.diff_id));
        }
        hold_roots(layer, baked)?;
    }
    Ok(())
}

fn hold_roots(layer: &LayerReport, baked: &ImageLayer) -> Result<(), Refused> {
    if layer.method != Some(LayerMethod::Manifest) {
        return Ok(());
    }
    // Another manifest that has the layer may be of another algorithm.
    let is_other = |root: &Digest| root.algorithm() == baked.root.algorithm() && *root != baked.root;
    if layer.baked_root.as_ref().is_none_or(is_other) {
        return refuse(format!("the layer {} was baked with the root {}", baked.diff_id, baked.root));
    }
    if layer.state == State::Congruent && layer.observed_root != layer.baked_root {
        return refuse(format!("the layer {} is congruent, and has another root than baked", baked.diff_id));
    }
    Ok(())
}

/// The digest of what was found beside a container's merged tree; none where nothing was.
pub(super) fn digest_beside(container: Option<&ContainerReport>) -> Option<Digest> {
    let container = container.filter(|container| container.has_findings())?;
    let layers: Vec<_> =
        container.damaged().map(|layer| (&layer.place.diff_id, &layer.findings_digest)).collect();
    let parts = (layers, &container.runtime_layer, &container.mounts);
    Some(Algorithm::Blake3.digest(&serde_json::to_vec(&parts).expect("findings always serialise")))
}

/// Takes in which containers run on a node: one that does no more is not waited for. Where
/// some may be missing, one is over once it is silent as well. Gives whether an action is
/// over with it.
pub(super) fn take_in(
    tx: &Tx<'_>,
    node: &str,
    group: &str,
    seen: Option<&ContainersSeen>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let known = tx.subjects_of(node)?.into_iter();
    let known: HashMap<String, State> =
        known.filter_map(|row| Some((row.id.container?, row.state))).collect();
    let running = seen.map(|seen| seen.running.as_slice()).unwrap_or_default();
    for id in running.iter().filter(|id| !known.contains_key(*id)) {
        tx.insert_subject(&SubjectId::container(node, id), group, now, ONLY_LISTED)?;
    }
    let is_whole = seen.is_some_and(|seen| seen.gaps.is_empty());
    let mut frees_budget = false;
    for (id, state) in known {
        if running.binary_search(&id).is_err() && (is_whole || state == State::Silent) {
            frees_budget |= end_container(tx, &SubjectId::container(node, &id), OVER, now)?;
        }
    }
    Ok(frees_budget)
}
