//! The writable layer, held to the image under its contract.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use congruent_protocol::contract::Class;
use congruent_protocol::digest::Digest;
use congruent_protocol::drift::{Attributes, Finding};
use congruent_protocol::entry::Kind;
use congruent_protocol::ledger::FirstValue;
use congruent_protocol::manifest::EntriesError;
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::{Protected, State};
use walkdir::WalkDir;

use super::lower::{looking, top_mode_of};
use super::{Known, Part, PartGap, Verifier, ids, protected};
use crate::container::Container;
use crate::findings::Findings;
use crate::layer::CheckError;
use crate::layer::writable::{self, Changes, CheckedWritable, Image, Made};
use crate::sweep::{Root, RootError};

/// What Docker puts between image and container, to mount on.
const INIT_STUBS: [&str; 11] = [
    "/",
    "/.dockerenv",
    "/dev",
    "/dev/console",
    "/dev/pts",
    "/dev/shm",
    "/etc",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
];
/// The same, of what has no directory of its own in the list above.
const INIT_DIRECTORIES: [&str; 2] = ["/proc", "/sys"];

/// The writable layer of one container.
pub(crate) struct Writable {
    pub(crate) state: State,
    pub(crate) findings: Option<Findings>,
    /// What lies in the runtime's own layer and is not what the runtime puts there, in
    /// tree order. The root does not speak of it.
    pub(crate) runtime_layer: Vec<Finding>,
    pub(crate) changes: Changes,
    /// The root of the merged tree.
    pub(crate) observed_root: Option<Digest>,
    pub(crate) entries_seen: u64,
    pub(crate) first_seen: Vec<FirstValue>,
    /// How much of the image is protected; none where there is no manifest to tell.
    pub(crate) protected: Option<Protected>,
}

#[derive(Debug, thiserror::Error)]
enum WritableError {
    #[error("where it lies is not known")]
    Nowhere,
    #[error("cannot stat its directory")]
    Stat(#[source] io::Error),
    #[error("its owners are of a user namespace that is not known")]
    Ids,
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("the manifest cannot be read")]
    Manifest(#[from] EntriesError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("cannot read the runtime's own layer {}", .0.display())]
    Init(PathBuf, #[source] walkdir::Error),
}

pub(super) fn check(
    verifier: &Verifier<'_>,
    container: &Container,
    known: Option<&Known>,
    gaps: &mut Vec<PartGap>,
) -> Writable {
    let nothing = |state, protected| Writable {
        state,
        findings: None,
        runtime_layer: Vec::new(),
        changes: Changes::default(),
        observed_root: None,
        entries_seen: 0,
        first_seen: Vec::new(),
        protected,
    };
    let Some(known) = known else { return nothing(State::Unknown, None) };
    match look(verifier, container, known) {
        Ok((checked, runtime_layer)) => {
            gaps.extend(PartGap::of_sweep(Part::Upper, &checked.coverage));
            let has_findings = !checked.findings.is_empty() || !runtime_layer.is_empty();
            Writable {
                state: State::of(has_findings, &checked.coverage),
                findings: Some(checked.findings),
                runtime_layer,
                changes: checked.changes,
                observed_root: Some(checked.observed_root),
                entries_seen: checked.coverage.entries_seen,
                first_seen: checked.coverage.first_seen,
                protected: Some(checked.protected),
            }
        }
        Err(error) => {
            gaps.push(PartGap::of(Part::Upper, &error));
            nothing(State::Incomplete, protected::of(known).ok())
        }
    }
}

/// The layer, and what was found in the runtime's own.
fn look(
    verifier: &Verifier<'_>,
    container: &Container,
    known: &Known,
) -> Result<(CheckedWritable, Vec<Finding>), WritableError> {
    let upper = container.upper.as_deref().ok_or(WritableError::Nowhere)?;
    let root = Root::open(Some(upper))?;
    let ids = ids::maps_for(upper, container).map_err(WritableError::Stat)?.ok_or(WritableError::Ids)?;
    let entries = known.manifest.entries(&known.file)?;
    let image = Image { manifest: &known.manifest, entries, content_key: verifier.content_key };
    let mounted: Vec<TreePath> = container.mounts.iter().filter_map(|mount| tree_path(&mount.path)).collect();
    let algorithm = known.manifest.predicate().root.algorithm();
    let looking = looking(verifier, container, algorithm, &ids);
    let made = Made { mounted: &mounted, top_mode: top_mode_of(container.runtime) };
    let mut checked = writable::check(&root, image, made, looking, verifier.findings(), verifier.clock)?;
    let foreign = container.init.as_deref().map_or(Ok(Vec::new()), of_init)?;
    checked.changes.added += foreign.len() as u64;
    Ok((checked, foreign))
}

/// What lies in the runtime's own layer and is not what the runtime puts there.
fn of_init(directory: &Path) -> Result<Vec<Finding>, WritableError> {
    let mut foreign = Vec::new();
    for entry in WalkDir::new(directory).sort_by_file_name() {
        let entry = entry.map_err(|error| WritableError::Init(directory.to_owned(), error))?;
        let Some(path) =
            entry.path().strip_prefix(directory).ok().and_then(|path| tree_path(&Path::new("/").join(path)))
        else {
            continue;
        };
        let name = path.as_bytes();
        let is_known = INIT_STUBS.iter().chain(&INIT_DIRECTORIES).any(|known| known.as_bytes() == name);
        let is_empty = entry.file_type().is_dir()
            || entry.file_type().is_symlink()
            || fs::symlink_metadata(entry.path())
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0);
        if !(is_known && is_empty) {
            let kind = if entry.file_type().is_dir() { Kind::Directory } else { Kind::File };
            foreign.push(Finding::added(&path, Class::Immutable, Attributes::of_kind(kind)));
        }
    }
    Ok(foreign)
}

pub(super) fn tree_path(path: &Path) -> Option<TreePath> {
    TreePath::new(path.as_os_str().as_bytes()).ok()
}
