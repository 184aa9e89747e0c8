//! The look itself, on a thread of its own: which containers run, and what each comes to.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use congruent_protocol::digest::Digest;
use congruent_protocol::path::escape;
use congruent_protocol::report::{
    ContainerReport, MAX_CONTAINERS, MAX_REPORT_BYTES, Outcome as Looked, is_container_id,
};
use congruent_protocol::verification::{State, SweepMode};
use jiff::Timestamp;
use tracing::warn;

use crate::command::look::{means, spill_directory};
use crate::config::{Config, Containers};
use crate::container::verify::report::{Reporting, report};
use crate::container::verify::{LayerCaches, Layers, Library, Refused, SharedBy, Verifier, shared_by};
use crate::container::{self, Container, FindError, Found};
use crate::identity;
use crate::sweep::Counters;

/// In the state directory: what looks saw of layers.
const CACHES: &str = "layers";
/// The most gaps that are told of one look, and the longest.
const MAX_GAPS: usize = 100;
const MAX_GAP_CHARS: usize = 1000;

/// The containers that are looked at.
pub(super) struct Sighted {
    pub(super) containers: Vec<Container>,
    shared: SharedBy,
    /// The manifests that the configuration names.
    library: Library,
    /// What looks saw of their layers, for quick ones.
    caches: Option<LayerCaches>,
    /// Why there may be more containers, for people.
    pub(super) gaps: Vec<String>,
}

/// What is reported of one of them.
pub(super) struct Reported {
    pub(super) outcome: Looked,
    pub(super) container: ContainerReport,
}

impl Reported {
    /// The container's state, all of its parts together.
    pub(super) fn state(&self) -> State {
        self.outcome.state(Some(&self.container))
    }
}

impl Sighted {
    /// The images, by their configurations, of which the configuration names no manifest.
    pub(super) fn images_without_manifest(&self) -> Vec<Digest> {
        let without = self.containers.iter().filter(|container| self.library.of(container).is_none());
        let images: BTreeSet<Digest> = without.filter_map(|container| container.config_digest).collect();
        images.into_iter().collect()
    }
}

/// Looks for the containers that run.
pub(super) fn sight(config: &Config, how: &Containers, mode: SweepMode) -> Result<Sighted, FindError> {
    let Found { containers, mut gaps, .. } = find(&how.data_roots)?;
    let shared = shared_by(&containers);
    let caches = caches(config, mode, &containers);
    let containers = reportable(containers, &mut gaps);
    let library =
        how.manifests.as_deref().map(|directory| library(directory, config, mode)).unwrap_or_default();
    let shown = |gap: &String| escape(gap.as_bytes()).chars().take(MAX_GAP_CHARS).collect();
    let gaps = gaps.iter().take(MAX_GAPS).map(shown).collect();
    Ok(Sighted { containers, shared, library, caches, gaps })
}

/// What is kept of the layers of these containers, and of no others. Without it looks are
/// full.
fn caches(config: &Config, mode: SweepMode, containers: &[Container]) -> Option<LayerCaches> {
    if !config.keeps_state() {
        return None;
    }
    let opened = LayerCaches::open(&config.state_directory.join(CACHES), mode);
    let caches = opened.and_then(|caches| caches.forget_others(containers).map(|()| caches));
    caches.map_err(|error| warn!("layers are read whole: {:#}", anyhow::Error::new(error))).ok()
}

/// Finds all that there are. A data root that is none is a gap, and keeps nothing back.
fn find(data_roots: &[PathBuf]) -> Result<Found, FindError> {
    let mut named = data_roots.to_vec();
    let mut lacking = Vec::new();
    loop {
        match container::find(&named) {
            Ok(mut found) => {
                found.gaps.splice(..0, lacking);
                return Ok(found);
            }
            Err(FindError::Open { path, source }) => {
                named.retain(|root| *root != path);
                lacking.push(format!("cannot open the data root {}: {source}", path.display()));
            }
            Err(FindError::NoRoot(path)) => {
                named.retain(|root| *root != path);
                lacking.push(FindError::NoRoot(path).to_string());
            }
            Err(error @ FindError::Proc(_)) => return Err(error),
        }
    }
}

/// Of those that run, the ones that can be reported; why others cannot joins the gaps.
fn reportable(mut containers: Vec<Container>, gaps: &mut Vec<String>) -> Vec<Container> {
    containers.retain(Container::is_running);
    let mut times: HashMap<String, usize> = HashMap::new();
    for container in &containers {
        *times.entry(container.id.clone()).or_default() += 1;
    }
    containers.retain(|container| {
        let is_id = is_container_id(&container.id);
        if !is_id {
            gaps.push(format!(
                "a container of {} has no usable id: {:?}",
                container.runtime.name(),
                container.id
            ));
        }
        is_id && times[&container.id] == 1
    });
    let mut twice: Vec<_> = times.into_iter().filter(|(_, times)| *times > 1).map(|(id, _)| id).collect();
    twice.sort();
    gaps.extend(twice.iter().map(|id| format!("several containers have the id {id:?}")));
    containers.sort_by(|one, other| one.id.cmp(&other.id));
    if containers.len() > MAX_CONTAINERS {
        gaps.push(format!("{} containers run; {MAX_CONTAINERS} of them are looked at", containers.len()));
        containers.truncate(MAX_CONTAINERS);
    }
    containers
}

/// The accepted manifests in a directory; what is wrong with others is told, though not
/// at each quick look.
fn library(directory: &Path, config: &Config, mode: SweepMode) -> Library {
    let (library, refused) = match Library::open(directory, Some(&config.trust), Timestamp::now()) {
        Ok(opened) => opened,
        Err(error) => {
            warn!("no manifests of images: {:#}", anyhow::Error::new(error));
            return Library::default();
        }
    };
    for Refused { path, why } in refused.into_iter().filter(|_| mode == SweepMode::Full) {
        let (path, why) = (path.display().to_string(), format!("{:#}", anyhow::Error::new(why)));
        warn!("no container is held to {}: {}", escape(path.as_bytes()), escape(why.as_bytes()));
    }
    library
}

/// Looks at each container, and hands over what is reported of it, until nobody takes it
/// any more. One that ended meanwhile is left out: what was seen of it may be its end.
pub(super) fn verify(
    config: &Config,
    sighted: Sighted,
    kept: &Path,
    mode: SweepMode,
    counters: &Counters,
    mut give: impl FnMut(Reported) -> bool,
) -> anyhow::Result<()> {
    let Sighted { containers, shared, mut library, caches, .. } = sighted;
    if kept.exists() {
        library.take(self::library(kept, config, mode));
    }
    let content_key = identity::content_key(config)?;
    let (means, scratch) = (means(&config.sweep, mode), spill_directory(config));
    let verifier = Verifier {
        library: &library,
        means: &means,
        counters,
        caches: caches.as_ref(),
        scratch: &scratch,
        clock: Timestamp::now,
        content_key: &content_key,
    };
    let reporting = Reporting { shared: &shared, content_key: &content_key, max_bytes: MAX_REPORT_BYTES };
    let mut layers = Layers::default();
    for container in &containers {
        if container.has_ended() {
            continue;
        }
        let verdict = verifier.look(container, &mut layers);
        if container.has_ended() {
            continue;
        }
        let (outcome, container) = report(verdict, reporting);
        if !give(Reported { outcome, container }) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{ContainerState, Runtime};

    fn container(runtime: Runtime, id: &str, state: ContainerState) -> Container {
        Container { state, ..Container::new(runtime, id) }
    }

    #[test]
    fn only_what_can_be_named_is_reported() {
        use ContainerState::{Created, Paused, Running, Stopped, Unknown};
        let check = |containers: Vec<Container>, expected: &[&str], says: &[&str]| {
            let mut gaps = Vec::new();
            let ids: Vec<_> = reportable(containers, &mut gaps).into_iter().map(|one| one.id).collect();
            assert_eq!(ids, expected);
            assert_eq!(gaps.len(), says.len(), "{gaps:?}");
            assert!(gaps.iter().zip(says).all(|(gap, says)| gap.contains(says)), "{gaps:?}");
        };
        let docker = |id: &str, state| container(Runtime::Docker, id, state);
        check(
            vec![docker("c", Running), docker("a", Paused), docker("b", Unknown), docker("d", Stopped)],
            &["a", "b", "c"],
            &[],
        );
        check(vec![docker("-a", Running), docker("b", Created)], &[], &["no usable id: \"-a\""]);
        let other = |state| container(Runtime::Containerd, "a", state);
        check(vec![docker("a", Running), other(Running), docker("b", Running)], &["b"], &["the id \"a\""]);
        check(vec![docker("a", Running), other(Stopped)], &["a"], &[]);
        let many = (0..=MAX_CONTAINERS).map(|at| docker(&format!("c{at:06}"), Running)).collect();
        let mut gaps = Vec::new();
        assert_eq!(reportable(many, &mut gaps).len(), MAX_CONTAINERS);
        assert_eq!(gaps.len(), 1, "{gaps:?}");
    }

    #[test]
    fn a_data_root_that_is_none_keeps_nothing_back() {
        let folder = tempfile::tempdir().unwrap();
        let gaps = find(&[folder.path().to_owned(), folder.path().join("none")]).unwrap().gaps;
        assert!(gaps[0].contains("is no data root") && gaps[1].contains("cannot open"), "{gaps:?}");
    }
}
