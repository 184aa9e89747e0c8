//! What a container's writable layer makes of its image, path by path.
//!
//! Only the writable layer is read. What it does not speak of is as the image has it,
//! provided that the layers below are intact, which is for [`super::check()`] to say.
//! Terms and findings are those of the merged path, so the merged root follows from
//! manifest and findings as that of any tree does.

use std::iter::Peekable;

use congruent_protocol::contract::{Contract, Follower};
use congruent_protocol::digest::{ContentKey, Digest};
use congruent_protocol::drift::{Change, Field, Finding};
use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::layer::LayerNode;
use congruent_protocol::ledger::FirstValue;
use congruent_protocol::manifest::{EntriesError, ListedEntry, Manifest};
use congruent_protocol::normalise::{Sides, normalise};
use congruent_protocol::path::{TreePath, escape};
use congruent_protocol::tree::{Contribution, TreeHasher};
use congruent_protocol::verification::{Coverage, Gap, Protected, SweepMode};
use jiff::Timestamp;
use serde::Serialize;

use super::CheckError;
use super::on_disk::{self, Looking, OnDisk};
use crate::findings::{Findings, FindingsWriter};
use crate::sweep::cache::{Memory, Noted};
use crate::sweep::{Problem, ProblemKind, Root, Stamp, empty_coverage, key_content};

/// Where a link to the container's own list of mounts is, and where it points.
const MTAB: (&[u8], &[u8]) = (b"/etc/mtab", b"/proc/mounts");

/// The most places that are taken for what something may have been mounted on.
const MAX_POSSIBLE_STUBS: usize = 64;

/// What a writable layer came to.
pub(crate) struct CheckedWritable {
    /// The root of the merged tree; the baked one exactly when there is no finding and
    /// no gap.
    pub(crate) observed_root: Digest,
    pub(crate) findings: Findings,
    pub(crate) changes: Changes,
    /// How much of the image its contract protects.
    pub(crate) protected: Protected,
    pub(crate) coverage: Coverage,
}

/// How many findings there are of each sort.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Changes {
    /// What the image does not have.
    pub(crate) added: u64,
    /// Other content, or another kind.
    pub(crate) content: u64,
    /// Other metadata, the content as it was.
    pub(crate) metadata: u64,
    /// What the image has and the container has no longer.
    pub(crate) removed: u64,
    /// Of the above, directories of the image that were put aside whole and made anew.
    pub(crate) replaced_directories: u64,
    /// Of the above, directories of the image that have another name now.
    pub(crate) renamed: u64,
    /// Empty files and directories that the runtime made beneath its mounts; no findings.
    pub(crate) stubs: u64,
}

/// The image that a writable layer lies over.
pub(crate) struct Image<'a, I> {
    pub(crate) manifest: &'a Manifest,
    /// Its entries, in tree order.
    pub(crate) entries: I,
    /// Under which content is told that the contract calls sensitive.
    pub(crate) content_key: &'a ContentKey,
}

/// What the runtime did to the container before anything in it ran.
pub(crate) struct Made<'a> {
    /// The places over which it mounted something.
    pub(crate) mounted: &'a [TreePath],
    /// Whether there may be more such places.
    pub(crate) may_be_more: bool,
    /// The mode that it gives to the top directory of every writable layer, where that
    /// is not the image's.
    pub(crate) top_mode: Option<u16>,
}

/// Sweeps the directory of a writable layer. `memory` must be of the same layer over the
/// same image; what is read of files is noted in it.
pub(crate) fn check<I>(
    root: &Root,
    image: Image<'_, I>,
    made: Made<'_>,
    looking: Looking<'_>,
    memory: &mut Memory,
    findings: FindingsWriter,
    clock: fn() -> Timestamp,
) -> Result<CheckedWritable, CheckError>
where
    I: Iterator<Item = Result<ListedEntry, EntriesError>> + Send,
{
    let predicate = image.manifest.predicate();
    let contract = &predicate.contract;
    let mut coverage = empty_coverage(predicate.entries.count, clock());
    coverage.mode = if memory.is_quick() { SweepMode::Quick } else { SweepMode::Full };
    let recalled = memory.take_recalled();
    let mut check = Check {
        contract,
        follower: contract.follow(),
        content_key: image.content_key,
        baked: image.entries.peekable(),
        made,
        hasher: TreeHasher::new(predicate.root.algorithm()),
        findings,
        changes: Changes::default(),
        protected: Protected { entries: 0, of: 0 },
        coverage,
        memory,
        covers: Vec::new(),
        possible_stubs: 0,
    };
    on_disk::read_over(root, looking, contract, image.manifest, recalled, |on_disk| check.take(on_disk))?;
    check.take_untouched_before(None)?;
    check.coverage.finished_at = clock();
    let Check { hasher, findings, changes, protected, coverage, .. } = check;
    let (observed_root, findings) = (hasher.finish(), findings.finish()?);
    Ok(CheckedWritable { observed_root, findings, changes, protected, coverage })
}

/// What became of all that the image has beneath a path.
struct Cover {
    path: TreePath,
    /// It is gone, but for what the layer has anew; otherwise it could not be seen.
    is_gone: bool,
}

struct Check<'a, I: Iterator> {
    contract: &'a Contract,
    follower: Follower<'a>,
    content_key: &'a ContentKey,
    baked: Peekable<I>,
    made: Made<'a>,
    hasher: TreeHasher,
    findings: FindingsWriter,
    changes: Changes,
    protected: Protected,
    coverage: Coverage,
    memory: &'a mut Memory,
    /// The innermost last.
    covers: Vec<Cover>,
    possible_stubs: usize,
}

impl<I: Iterator<Item = Result<ListedEntry, EntriesError>>> Check<'_, I> {
    fn take(&mut self, on_disk: OnDisk) -> Result<(), CheckError> {
        let OnDisk {
            path,
            node,
            problem,
            stamp,
            is_recalled,
            is_unlisted,
            is_opaque,
            is_metadata_only,
            redirect,
            unmapped,
            ..
        } = on_disk;
        self.take_untouched_before(Some(&path))?;
        self.coverage.entries_seen += 1;
        self.coverage.entries_recalled += u64::from(is_recalled);
        if let (Some(stamp), Some(LayerNode::Entry(entry)), None) = (stamp, &node, &problem)
            && !is_metadata_only
            && redirect.is_none()
        {
            self.note(&path, stamp, entry);
        }
        let baked = self.next_baked(|at| *at == path)?.map(|listed| listed.entry);
        let below = if self.is_gone(&path) { None } else { baked.as_ref() };
        let mut is_gone = is_opaque;
        match node {
            None => drop(self.judge(&path, baked.as_ref(), baked.as_ref())?),
            Some(LayerNode::Whiteout) => {
                self.judge(&path, baked.as_ref(), None)?;
                is_gone = true;
            }
            // No directory on disk is either; what is opaque is told of the directory.
            Some(LayerNode::Implied | LayerNode::Opaque) => {}
            Some(LayerNode::Entry(mut entry)) => {
                is_gone |= !entry.node.is_directory();
                if let Some(baked) = &baked {
                    unmapped.assume(&mut entry, baked);
                }
                if is_metadata_only && !take_content_from(&mut entry, below) {
                    let reason = "its content lies in a layer that does not have it".to_owned();
                    self.note_gap(&path, Problem { kind: ProblemKind::Unreadable, reason });
                }
                if let (true, Some(baked)) =
                    (path.is_root() && self.made.top_mode == Some(entry.mode), &baked)
                {
                    entry.mode = baked.mode;
                }
                if baked.is_none() && self.is_stub(&path, &entry) {
                    self.changes.stubs += 1;
                } else if baked.is_none() && redirect.is_none() && self.may_be_stub(&entry) {
                    let reason = "it may be what something was mounted on, of which not all is known here";
                    let reason = reason.to_owned();
                    self.note_gap(&path, Problem { kind: ProblemKind::Unreadable, reason });
                } else {
                    self.count_directory(&entry, below, is_opaque, redirect.is_some());
                    self.judge_seen(&path, baked.as_ref(), entry, problem.is_none())?;
                }
            }
        }
        if let Some(from) = redirect {
            let reason = format!(
                "it was renamed from {}, and what the image has there is not compared",
                escape(&from)
            );
            self.note_gap(&path, Problem { kind: ProblemKind::Unreadable, reason });
        }
        if let Some(problem) = problem {
            self.note_gap(&path, problem);
        }
        if is_gone || is_unlisted {
            self.covers.push(Cover { path, is_gone });
        }
        Ok(())
    }

    fn next_baked(
        &mut self,
        wanted: impl Fn(&TreePath) -> bool,
    ) -> Result<Option<ListedEntry>, EntriesError> {
        self.baked.next_if(|next| next.as_ref().map_or(true, |listed| wanted(&listed.path))).transpose()
    }

    /// Takes what the image has before `limit` and the layer does not speak of.
    fn take_untouched_before(&mut self, limit: Option<&TreePath>) -> Result<(), CheckError> {
        while let Some(ListedEntry { path, entry }) =
            self.next_baked(|path| limit.is_none_or(|limit| path < limit))?
        {
            if self.is_gone(&path) {
                self.judge(&path, Some(&entry), None)?;
            } else {
                // What is as baked is no finding, whatever it is held to.
                let terms = self.follower.terms_of(&path);
                self.protected.count(self.contract, &path, terms.class);
                self.hasher.push(&path, Contribution::of(&entry, terms))?;
            }
        }
        Ok(())
    }

    /// Judges what the layer has at a path. What was not read whole is no first value.
    fn judge_seen(
        &mut self,
        path: &TreePath,
        baked: Option<&Entry>,
        mut seen: Entry,
        is_whole: bool,
    ) -> Result<(), CheckError> {
        if self.follower.terms_of(path).sensitive {
            key_content(&mut seen, baked, self.content_key);
        }
        let is_read = is_whole && !matches!(seen.node, Node::File { content: None, .. });
        if self.judge(path, baked, Some(&seen))? && is_read {
            self.coverage.first_seen.push(FirstValue { path: path.clone(), attributes: (&seen).into() });
        }
        Ok(())
    }

    /// Gives whether it is a first value, which no ledger has yet.
    fn judge(
        &mut self,
        path: &TreePath,
        baked: Option<&Entry>,
        observed: Option<&Entry>,
    ) -> Result<bool, CheckError> {
        if baked.is_none() && observed.is_none() {
            return Ok(false);
        }
        let terms = self.follower.terms_of(path);
        if baked.is_some() {
            self.protected.count(self.contract, path, terms.class);
        }
        let sides = Sides { baked, first: None, observed };
        let normalised = normalise(path, terms, sides);
        normalised.contribute(&mut self.hasher, path, terms, sides)?;
        if let Some(finding) = &normalised.finding {
            self.changes.count(finding);
            self.findings.push(finding)?;
        }
        Ok(normalised.is_first_value)
    }

    /// Whether the image's own entry at `path` went with a directory above it.
    fn is_gone(&mut self, path: &TreePath) -> bool {
        while self.covers.pop_if(|cover| !path.starts_with(&cover.path)).is_some() {}
        self.covers.last().is_some_and(|cover| cover.is_gone)
    }

    /// Runtimes make what they mount over. It is theirs as long as it is empty and the
    /// mount lies over it. Podman makes one link, into a mount.
    fn is_stub(&self, path: &TreePath, entry: &Entry) -> bool {
        let mounted = self.made.mounted;
        match &entry.node {
            Node::File { size: 0, .. } => mounted.contains(path),
            Node::Directory => mounted.iter().any(|mounted| mounted.starts_with(path)),
            Node::Symlink { target } => {
                path.as_bytes() == MTAB.0
                    && target == MTAB.1
                    && mounted.iter().any(|mounted| mounted.as_bytes() == b"/proc")
            }
            _ => false,
        }
    }

    /// Whether a runtime could have made it to mount on, where not all such places are known.
    fn may_be_stub(&mut self, entry: &Entry) -> bool {
        let may_be = self.made.may_be_more
            && self.possible_stubs < MAX_POSSIBLE_STUBS
            && matches!(entry.node, Node::Directory | Node::File { size: 0, .. })
            && entry.mode & 0o7000 == 0;
        self.possible_stubs += usize::from(may_be);
        may_be
    }

    fn count_directory(
        &mut self,
        entry: &Entry,
        below: Option<&Entry>,
        is_opaque: bool,
        is_redirected: bool,
    ) {
        let was_directory = below.is_some_and(|below| below.node.is_directory());
        self.changes.replaced_directories += u64::from(is_opaque && was_directory);
        self.changes.renamed += u64::from(is_redirected && entry.node.is_directory());
    }

    /// Notes what a file holds, so that it need not be read as long as it does not change.
    /// What the contract calls sensitive is kept nowhere.
    fn note(&mut self, path: &TreePath, stamp: Stamp, entry: &Entry) {
        if let Node::File { content: Some(content), .. } = &entry.node
            && entry.xattrs.is_empty()
            && !self.follower.terms_of(path).sensitive
        {
            self.memory.note(path, &Noted::holding(stamp, *content));
        }
    }

    fn note_gap(&mut self, path: &TreePath, problem: Problem) {
        let gap = Gap { path: path.clone(), reason: problem.reason };
        match problem.kind {
            ProblemKind::Unreadable => self.coverage.unreadable.push(gap),
            ProblemKind::Unstable => self.coverage.unstable.push(gap),
        }
    }
}

impl Changes {
    pub(crate) fn count(&mut self, finding: &Finding) {
        let is_content =
            |field: &Field| matches!(field, Field::Content | Field::Size | Field::Link | Field::Device);
        let counter = match finding.change {
            Change::Added => &mut self.added,
            Change::Removed => &mut self.removed,
            Change::Modified if !finding.fields.iter().any(is_content) => &mut self.metadata,
            Change::Modified | Change::Replaced | Change::MountedOver => &mut self.content,
        };
        *counter += 1;
    }
}

/// A file of which the layer has the metadata alone has the content of the one below.
fn take_content_from(entry: &mut Entry, below: Option<&Entry>) -> bool {
    let below = below.map(|below| &below.node);
    match (&mut entry.node, below) {
        (Node::File { content, .. }, Some(Node::File { content: below, .. })) => {
            *content = *below;
            true
        }
        (Node::File { content, .. }, _) => {
            *content = None;
            false
        }
        _ => true,
    }
}

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
