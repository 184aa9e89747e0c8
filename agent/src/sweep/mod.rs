//! The sweep: one complete walk of a root, in tree order.
//!
//! Three parts run side by side: the *walk* lists directories and puts what it
//! finds into windows, *readers* look at each path and hash contents, and the
//! caller's *consumer* gets every path in tree order. What is in flight is
//! bounded, so memory follows the largest directory and not the tree.
//!
//! No symbolic link is followed at any component: each directory is opened
//! beneath its parent, by one name. Nothing is written to what is swept.

mod bake;
pub(crate) mod cache;
mod compare;
mod content;
mod directory;
mod idle;
mod levels;
mod links;
mod listing;
mod means;
mod mounts;
mod open;
mod pool;
mod read;
mod residency;
mod root;
mod sight;
mod stamp;
mod stat;
mod throttle;
mod walk;
mod xattrs;

use std::sync::atomic::{AtomicU64, Ordering};

use congruent_protocol::contract::{Contract, Terms};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::manifest::Manifest;
use congruent_protocol::path::TreePath;

pub(crate) use bake::bake;
pub(crate) use cache::Recalled;
pub(crate) use compare::{VerifyError, empty_coverage, key_content, manifest_id, verify};
pub(crate) use directory::open_file_limit;
pub(crate) use idle::stand_back;
pub(crate) use means::{MAX_THREADS, Means};
pub(crate) use open::{open_descendant, open_file};
pub(crate) use pool::sweep;
pub(crate) use root::{Root, RootError};
pub(crate) use sight::{Inode, MountSeen, Problem, ProblemKind, Seen, SeenEntry, Sight};
pub(crate) use stamp::Stamp;
pub(crate) use walk::is_hiding;
use xattrs::Wanted;
pub(crate) use xattrs::sees_trusted;

/// What a sweep needs to know of each path before it looks.
pub(crate) struct Scope<'a> {
    pub(crate) contract: &'a Contract,
    pub(crate) reserved: &'a [TreePath],
    pub(crate) algorithm: Algorithm,
    pub(crate) purpose: Purpose<'a>,
    pub(crate) means: &'a Means,
}

/// What a sweep is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// Every entry is read: all of them are baked. Where wanted, lint looks at each.
    Bake { lint: bool },
    /// What may change in any way is not read, and of what may only be appended
    /// to no more than what was baked.
    Verify {
        /// Knows the baked sizes of files that may only be appended to.
        base: Option<&'a Manifest>,
    },
    /// One layer of an overlay is read, with what overlay notes there: every entry is
    /// looked at, and all contents are read but those that may be anything.
    Layer {
        /// As above, where what is read lies over a whole image.
        base: Option<&'a Manifest>,
    },
}

impl Scope<'_> {
    fn wanted_xattrs<'t>(&self, terms: &'t Terms) -> Wanted<'t> {
        Wanted { scope: &terms.xattrs, overlays: self.purpose.is_layer() }
    }
}

impl Purpose<'_> {
    fn is_bake(self) -> bool {
        matches!(self, Self::Bake { .. })
    }

    /// Whether also what may be anything is looked at.
    fn sees_all(self) -> bool {
        self.is_bake() || self.is_layer()
    }

    fn is_layer(self) -> bool {
        matches!(self, Self::Layer { .. })
    }

    fn is_linted(self) -> bool {
        matches!(self, Self::Bake { lint: true })
    }
}

/// How far a sweep is; shared with whoever shows it.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    entries: AtomicU64,
    bytes: AtomicU64,
    /// What need not be read.
    spared: AtomicU64,
}

impl Counters {
    pub(crate) fn add_entries(&self, count: u64) {
        self.entries.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn add_bytes(&self, count: u64) {
        self.bytes.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn add_spared(&self, count: u64) {
        self.spared.fetch_add(count, Ordering::Relaxed);
    }

    /// How many bytes of all there are are done with.
    pub(crate) fn progress(&self) -> u64 {
        self.bytes().saturating_add(self.spared.load(Ordering::Relaxed))
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
