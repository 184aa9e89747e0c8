//! The writable layer, held to the image under its contract.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use congruent_protocol::contract::Class;
use congruent_protocol::digest::Digest;
use congruent_protocol::drift::{Attributes, Finding};
use congruent_protocol::entry::Kind;
use congruent_protocol::manifest::EntriesError;
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::State;
use walkdir::WalkDir;

use super::lower::{looking, top_mode_of};
use super::{Known, Part, PartGap, Verifier, ids};
use crate::container::Container;
use crate::findings::{Findings, SpillError};
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
    pub(crate) changes: Changes,
    /// The root of the merged tree.
    pub(crate) observed_root: Option<Digest>,
    pub(crate) entries_seen: u64,
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
    #[error("cannot read back what was found")]
    Findings(#[source] io::Error),
    #[error(transparent)]
    Spill(#[from] SpillError),
}

pub(super) fn check(
    verifier: &Verifier<'_>,
    container: &Container,
    known: Option<&Known>,
    gaps: &mut Vec<PartGap>,
) -> Writable {
    let nothing = |state| Writable {
        state,
        findings: None,
        changes: Changes::default(),
        observed_root: None,
        entries_seen: 0,
    };
    let Some(known) = known else { return nothing(State::Unknown) };
    match look(verifier, container, known) {
        Ok(checked) => {
            gaps.extend(PartGap::of_sweep(Part::Upper, &checked.coverage));
            Writable {
                state: State::of(!checked.findings.is_empty(), &checked.coverage),
                findings: Some(checked.findings),
                changes: checked.changes,
                observed_root: Some(checked.observed_root),
                entries_seen: checked.coverage.entries_seen,
            }
        }
        Err(error) => {
            gaps.push(PartGap::of(Part::Upper, &error));
            nothing(State::Incomplete)
        }
    }
}

fn look(
    verifier: &Verifier<'_>,
    container: &Container,
    known: &Known,
) -> Result<CheckedWritable, WritableError> {
    let upper = container.upper.as_deref().ok_or(WritableError::Nowhere)?;
    let root = Root::open(Some(upper))?;
    let ids = ids::maps_for(upper, container).map_err(WritableError::Stat)?.ok_or(WritableError::Ids)?;
    let entries = known.manifest.entries(&known.file)?;
    let image = Image { manifest: &known.manifest, entries };
    let mounted: Vec<TreePath> = container.mounts.iter().filter_map(|mount| tree_path(&mount.path)).collect();
    let algorithm = known.manifest.predicate().root.algorithm();
    let looking = looking(verifier, container, algorithm, &ids);
    let made = Made { mounted: &mounted, top_mode: top_mode_of(container.runtime) };
    let mut checked = writable::check(&root, image, made, looking, verifier.findings(), verifier.clock)?;
    let foreign = container.init.as_deref().map_or(Ok(Vec::new()), of_init)?;
    if !foreign.is_empty() {
        let mut all = checked.findings.load().map_err(WritableError::Findings)?;
        checked.changes.added += foreign.len() as u64;
        all.extend(foreign);
        all.sort_by(|one, other| one.path.cmp(&other.path));
        let mut writer = verifier.findings();
        all.iter().try_for_each(|finding| writer.push(finding))?;
        checked.findings = writer.finish()?;
    }
    Ok(checked)
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
