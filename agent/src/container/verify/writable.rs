//! The writable layer, held to the image under its contract.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use congruent_protocol::digest::Digest;
use congruent_protocol::drift::Finding;
use congruent_protocol::ledger::FirstValue;
use congruent_protocol::manifest::EntriesError;
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::{Protected, State, SweepMode};

use super::init::{self, CheckedInit};
use super::lower::{NotesUnseen, looking, top_mode_of};
use super::{Known, Part, PartGap, Verifier, ids, protected};
use crate::container::Container;
use crate::container::store::chain_of;
use crate::findings::Findings;
use crate::layer::CheckError;
use crate::layer::writable::{self, Changes, CheckedWritable, Image, Made};
use crate::sweep::{Root, RootError};

/// Where runtimes mount something in every container.
const USUAL: [&str; 8] = [
    "/dev",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/proc",
    "/run",
    "/run/.containerenv",
    "/sys",
];

/// The writable layer of one container.
pub(crate) struct Writable {
    pub(crate) state: State,
    pub(crate) findings: Option<Findings>,
    /// What lies in the runtime's own layer and is not as the runtime makes it, in tree
    /// order. The root does not speak of it.
    pub(crate) runtime_layer: Vec<Finding>,
    pub(crate) changes: Changes,
    /// The root of the merged tree.
    pub(crate) observed_root: Option<Digest>,
    pub(crate) entries_seen: u64,
    /// How it was looked at: quick only where something was there to be recalled.
    pub(crate) mode: SweepMode,
    pub(crate) entries_recalled: u64,
    /// Why nothing was recalled that was to be, or nothing is kept for the next look.
    pub(crate) cache_trouble: Option<String>,
    pub(crate) first_seen: Vec<FirstValue>,
    /// How much of the image is protected; none where there is no manifest to tell.
    pub(crate) protected: Option<Protected>,
}

impl Writable {
    /// Whether the merged tree was found to be the one that was baked, in all its entries.
    pub(super) fn is_as_baked(&self, known: &Known) -> bool {
        self.state == State::Congruent
            && self.first_seen.is_empty()
            && self.observed_root == Some(known.manifest.predicate().root)
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum WritableError {
    #[error("where it lies is not known")]
    Nowhere,
    #[error("cannot stat its directory")]
    Stat(#[source] io::Error),
    #[error("its owners are of a user namespace that is not known")]
    Ids,
    #[error(transparent)]
    Notes(#[from] NotesUnseen),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("the manifest cannot be read")]
    Manifest(#[from] EntriesError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("what was found in the runtime's own layer cannot be read back")]
    Findings(#[source] io::Error),
}

pub(super) fn check(
    verifier: &Verifier<'_>,
    container: &Container,
    known: Option<&Known>,
    gaps: &mut Vec<PartGap>,
) -> Writable {
    let Some(known) = known else { return Writable::unseen(State::Unknown, None) };
    match look(verifier, container, known) {
        Ok(Looked { checked, runtime_layer, cache_trouble }) => {
            gaps.extend(PartGap::of_sweep(Part::Upper, &checked.coverage));
            let has_findings = !checked.findings.is_empty() || !runtime_layer.is_empty();
            Writable {
                state: State::of(has_findings, &checked.coverage),
                findings: Some(checked.findings),
                runtime_layer,
                changes: checked.changes,
                observed_root: Some(checked.observed_root),
                entries_seen: checked.coverage.entries_seen,
                mode: checked.coverage.mode,
                entries_recalled: checked.coverage.entries_recalled,
                cache_trouble,
                first_seen: checked.coverage.first_seen,
                protected: Some(checked.protected),
            }
        }
        Err(error) => {
            gaps.push(PartGap::of(Part::Upper, &error));
            // What there was no room for was found.
            let was_found = matches!(error, WritableError::Check(CheckError::Spill(_)));
            let state = if was_found { State::Divergent } else { State::Incomplete };
            Writable::unseen(state, protected::of(known).ok())
        }
    }
}

impl Writable {
    /// One of which nothing was seen.
    pub(super) fn unseen(state: State, protected: Option<Protected>) -> Self {
        Self {
            state,
            findings: None,
            runtime_layer: Vec::new(),
            changes: Changes::default(),
            observed_root: None,
            entries_seen: 0,
            mode: SweepMode::Full,
            entries_recalled: 0,
            cache_trouble: None,
            first_seen: Vec::new(),
            protected,
        }
    }
}

/// What a look came to.
struct Looked {
    checked: CheckedWritable,
    runtime_layer: Vec<Finding>,
    cache_trouble: Option<String>,
}

fn look(verifier: &Verifier<'_>, container: &Container, known: &Known) -> Result<Looked, WritableError> {
    let upper = container.upper.as_deref().ok_or(WritableError::Nowhere)?;
    let root = Root::open_uncovered(upper)?;
    let ids = ids::maps_for(upper, container).map_err(WritableError::Stat)?.ok_or(WritableError::Ids)?;
    let entries = known.entries()?;
    let image = Image { manifest: &known.manifest, entries, content_key: verifier.content_key };
    let told = container.mounts.iter().map(|mount| mount.path.as_path());
    // Not every runtime tells what it mounts in a container.
    let usual = USUAL.iter().filter(|_| !container.is_mounted()).map(Path::new);
    let mounted: Vec<TreePath> = told.chain(usual).filter_map(tree_path).collect();
    let algorithm = known.manifest.predicate().root.algorithm();
    let looking = looking(verifier, container, algorithm, &ids)?;
    let may_be_more = !container.is_mounted();
    let made = Made { mounted: &mounted, may_be_more, top_mode: top_mode_of(container.runtime) };
    let (mut memory, mut cache_trouble) = verifier.caches.map_or_else(Default::default, |caches| {
        caches.recall_writable(upper, &root, &known.manifest, looking.notes, verifier)
    });
    let findings = verifier.findings();
    let mut checked = writable::check(&root, image, made, looking, &mut memory, findings, verifier.clock)?;
    if let Err(error) = memory.keep() {
        cache_trouble = Some(chain_of(&error));
    }
    let Some(directory) = container.init.as_deref() else {
        return Ok(Looked { checked, runtime_layer: Vec::new(), cache_trouble });
    };
    let CheckedInit { findings, coverage } = init::check(verifier, container, known, directory)?;
    findings.iter().for_each(|finding| checked.changes.count(finding));
    checked.coverage.unreadable.extend(coverage.unreadable);
    checked.coverage.unstable.extend(coverage.unstable);
    Ok(Looked { checked, runtime_layer: findings, cache_trouble })
}

pub(super) fn tree_path(path: &Path) -> Option<TreePath> {
    TreePath::new(path.as_os_str().as_bytes()).ok()
}
