//! What a sweep sees of one path.

use std::ffi::CStr;

use congruent_protocol::contract::Terms;
use congruent_protocol::entry::Entry;
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::{Coverage, MountTreatment};

use super::stamp::Stamp;
use crate::lint::Hit;

/// One path, as it was seen.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) path: TreePath,
    /// What it is held to; of class `Reserved` in places outside the tree.
    pub(crate) terms: &'a Terms,
    /// Set where the path is a mount point.
    pub(crate) mount: Option<Box<MountSeen>>,
    pub(crate) sight: Sight,
}

/// What was seen at a path.
#[derive(Debug)]
pub(crate) enum Sight {
    /// The entry, looked at in full.
    Entry(Box<SeenEntry>),
    /// Something whose class allows it to be anything; it was not looked at.
    Anything,
    /// An inode that has not changed since it was seen to be as baked; it was not
    /// looked at again.
    AsBefore(Stamp),
    /// A mount that is not looked into.
    Mount,
    /// Something that could not even be stat'ed.
    Hidden(Problem),
}

/// An entry, and what could not be verified of it.
#[derive(Debug)]
pub(crate) struct SeenEntry {
    pub(crate) entry: Entry,
    pub(crate) inode: Inode,
    pub(crate) problem: Option<Problem>,
    /// A directory of which not all names are known.
    pub(crate) is_unlisted: bool,
    /// Where the extended attributes could not all be read: the names that were
    /// asked for and answered.
    pub(crate) xattrs_answered: Option<Vec<&'static CStr>>,
    /// What lint found, where it looks.
    pub(crate) lints: Vec<Hit>,
    /// As long as the inode has this stamp, it is as it was seen. None where that
    /// cannot be said.
    pub(crate) stamp: Option<Stamp>,
    /// Whether its content is the one that an earlier look saw: it was not read again.
    pub(crate) is_recalled: bool,
    /// Whether the content was read past the page cache.
    pub(super) past_cache: bool,
}

impl SeenEntry {
    /// Counts how its content was read, where that was asked.
    pub(crate) fn count_reading(&self, coverage: &mut Coverage) {
        if let (Some(direct), Some(_)) = (&mut coverage.direct, self.entry.content()) {
            direct.files += 1;
            direct.through_cache += u64::from(!self.past_cache);
        }
    }
}

/// Which inode an entry is, so that hard links are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    pub(crate) device: (u32, u32),
    pub(crate) number: u64,
    pub(crate) links: u32,
}

/// Why something could not be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    pub(crate) reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// The kernel would not let us.
    Unreadable,
    /// It changed each time that it was read.
    Unstable,
}

impl Problem {
    pub(crate) fn unreadable(action: &str, errno: rustix::io::Errno) -> Self {
        let error = std::io::Error::from(errno);
        Self { kind: ProblemKind::Unreadable, reason: format!("{action}: {error}") }
    }
}

/// A mount point.
#[derive(Debug, Clone)]
pub(crate) struct MountSeen {
    pub(crate) treatment: MountTreatment,
    /// As the kernel names it; none where the mount was gone too soon.
    pub(crate) filesystem: Option<String>,
    pub(crate) source: Option<String>,
}
