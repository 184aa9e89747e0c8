//! A layer as an overlay file system keeps it in a directory.
//!
//! What a layer takes away is kept as overlay has it (Documentation/filesystems/
//! overlayfs.rst): a character device 0:0, or an empty file that says so, is a whiteout;
//! an attribute makes a directory opaque. Of overlay's other attributes, those that
//! change what the merged tree shows are kept among the entry's own.

use std::collections::BTreeSet;

use congruent_protocol::contract::Contract;
use congruent_protocol::digest::Algorithm;
use congruent_protocol::entry::{Device, Entry, Node, Xattrs};
use congruent_protocol::layer::{LayerNode, OPAQUE_NAME};
use congruent_protocol::manifest::Manifest;
use congruent_protocol::path::TreePath;
use serde::Serialize;

use super::ids::{IdMaps, Unmapped};
use crate::sweep::{
    Counters, Means, Problem, ProblemKind, Purpose, Recalled, Root, Scope, Seen, SeenEntry, Sight, Stamp,
    sweep,
};

/// Those that say how overlay came by an entry, and nothing of what it shows.
const BOOKKEEPING: [&[u8]; 6] = [b"origin", b"impure", b"nlink", b"upper", b"uuid", b"protattr"];
const WHITEOUT_DEVICE: Device = Device { major: 0, minor: 0 };

/// One path of a layer's directory, or a mark that is kept there.
#[derive(Debug)]
pub(super) struct OnDisk {
    pub(super) path: TreePath,
    /// None of what could not even be stat'ed; then there is a problem.
    pub(super) node: Option<LayerNode>,
    pub(super) problem: Option<Problem>,
    /// As long as its inode has this stamp, it is as it was seen. None where that cannot
    /// be said.
    pub(super) stamp: Option<Stamp>,
    /// Whether an earlier look saw it with that stamp to be as listed: it was not looked
    /// at again.
    pub(super) is_as_before: bool,
    /// Whether its content is the one that an earlier look saw: it was not read again.
    pub(super) is_recalled: bool,
    /// A directory of which not all names are known.
    pub(super) is_unlisted: bool,
    /// A directory in which nothing is left of what lies below.
    pub(super) is_opaque: bool,
    /// Whether it is a file whose content is still the lower one's.
    pub(super) is_metadata_only: bool,
    /// Where the lower part of a renamed directory was.
    pub(super) redirect: Option<Vec<u8>>,
    /// Which of its owners are not known; then there is a problem.
    pub(super) unmapped: Unmapped,
}

/// Where overlay keeps what it notes. The other's are attributes like any, which
/// whoever writes to the layer may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Notes {
    /// Where root mounted it.
    Trusted,
    /// Where a user did, in a user namespace.
    User,
}

impl Notes {
    /// What its names begin with.
    pub(crate) fn prefix(self) -> &'static [u8] {
        match self {
            Self::Trusted => b"trusted.overlay.",
            Self::User => b"user.overlay.",
        }
    }
}

/// How a layer's directory is read.
#[derive(Clone, Copy)]
pub(crate) struct Looking<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) means: &'a Means,
    pub(crate) counters: &'a Counters,
    pub(crate) ids: &'a IdMaps,
    pub(crate) notes: Notes,
}

/// Hands out all that is in a layer's directory, in tree order, opaque marks between.
/// What is recalled was as listed when an earlier look saw it in the same way.
pub(super) fn read<E: Send>(
    root: &Root,
    looking: Looking<'_>,
    contract: &Contract,
    recalled: Recalled,
    mut take: impl FnMut(OnDisk) -> Result<(), E>,
) -> Result<(), E> {
    let mut marks = BTreeSet::new();
    let purpose = Purpose::Layer { base: None };
    sweep_layer(root, looking, contract, purpose, recalled, |on_disk| {
        while marks.first().is_some_and(|mark| *mark < on_disk.path) {
            marks.pop_first().map_or(Ok(()), |mark| take(OnDisk::mark(mark)))?;
        }
        if on_disk.is_opaque {
            let mark = on_disk.path.join(OPAQUE_NAME);
            marks.insert(mark.expect("the mark's name is a possible one"));
        }
        take(on_disk)
    })?;
    marks.into_iter().try_for_each(|mark| take(OnDisk::mark(mark)))
}

/// Hands out all that is in the directory, in tree order, where it lies over `base`
/// under its contract. What is recalled is what an earlier look saw in it.
pub(super) fn read_over<E: Send>(
    root: &Root,
    looking: Looking<'_>,
    contract: &Contract,
    base: &Manifest,
    recalled: Recalled,
    take: impl FnMut(OnDisk) -> Result<(), E>,
) -> Result<(), E> {
    let purpose = Purpose::Layer { base: Some(base) };
    sweep_layer(root, looking, contract, purpose, recalled, take)
}

fn sweep_layer<E: Send>(
    root: &Root,
    looking: Looking<'_>,
    contract: &Contract,
    purpose: Purpose<'_>,
    recalled: Recalled,
    mut take: impl FnMut(OnDisk) -> Result<(), E>,
) -> Result<(), E> {
    let Looking { algorithm, means, counters, .. } = looking;
    let scope = Scope { contract, reserved: &[], algorithm, purpose, means };
    sweep(root, &scope, recalled, counters, |seen| take(OnDisk::of(seen, looking)))
}

impl OnDisk {
    fn mark(path: TreePath) -> Self {
        Self {
            path,
            node: Some(LayerNode::Opaque),
            problem: None,
            stamp: None,
            is_as_before: false,
            is_recalled: false,
            is_unlisted: false,
            is_opaque: false,
            is_metadata_only: false,
            redirect: None,
            unmapped: Unmapped::default(),
        }
    }

    fn of(Seen { path, sight, .. }: Seen<'_>, looking: Looking<'_>) -> Self {
        let mut on_disk = Self { node: None, ..Self::mark(path) };
        match sight {
            Sight::Entry(seen) => {
                let SeenEntry { mut entry, mut problem, is_unlisted, stamp, is_recalled, .. } = *seen;
                let overlay = OverlayXattrs::taken_from(&mut entry, looking.notes);
                on_disk.unmapped = looking.ids.map_back(&mut entry);
                if !on_disk.unmapped.is_empty() {
                    let reason = "its owner is none in the container's user namespace".to_owned();
                    problem.get_or_insert(Problem { kind: ProblemKind::Unreadable, reason });
                }
                on_disk.is_unlisted = is_unlisted;
                on_disk.problem = problem;
                on_disk.stamp = stamp;
                on_disk.is_recalled = is_recalled;
                on_disk.is_metadata_only = overlay.is_metadata_only;
                on_disk.redirect = overlay.redirect;
                on_disk.is_opaque = overlay.is_opaque && entry.node.is_directory();
                let is_whiteout = overlay.is_whiteout || entry.node == Node::CharDevice(WHITEOUT_DEVICE);
                on_disk.node = Some(if is_whiteout { LayerNode::Whiteout } else { LayerNode::Entry(entry) });
            }
            Sight::Hidden(problem) => on_disk.problem = Some(problem),
            Sight::AsBefore(stamp) => {
                on_disk.stamp = Some(stamp);
                on_disk.is_as_before = true;
            }
            Sight::Mount | Sight::Anything => {
                let reason = "something is mounted over it".to_owned();
                on_disk.problem = Some(Problem { kind: ProblemKind::Unreadable, reason });
                on_disk.is_unlisted = true;
            }
        }
        on_disk
    }
}

/// What overlay keeps beside an entry.
#[derive(Debug, Default)]
struct OverlayXattrs {
    is_opaque: bool,
    is_whiteout: bool,
    is_metadata_only: bool,
    redirect: Option<Vec<u8>>,
}

impl OverlayXattrs {
    /// Takes what is understood out of an entry's attributes.
    fn taken_from(entry: &mut Entry, notes: Notes) -> Self {
        let mut overlay = Self::default();
        let is_empty_file = matches!(entry.node, Node::File { size: 0, .. });
        let mut kept = Xattrs::new();
        for (name, value) in std::mem::take(&mut entry.xattrs) {
            match name.strip_prefix(notes.prefix()) {
                Some(b"opaque") if value == b"y" => overlay.is_opaque = true,
                // Only says that whiteouts of the other form are in it.
                Some(b"opaque") if value == b"x" => {}
                Some(b"whiteout") if is_empty_file => overlay.is_whiteout = true,
                Some(b"metacopy") => overlay.is_metadata_only = true,
                Some(b"redirect") => overlay.redirect = Some(value),
                Some(own) if BOOKKEEPING.contains(&own) => {}
                _ => kept.push((name, value)),
            }
        }
        entry.xattrs = kept;
        overlay
    }
}
