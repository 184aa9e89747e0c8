//! Holding a layer's directory to what its archive listed, both ways.
//!
//! The contract has no say here: what lies in a lower layer is what the archive put
//! there, or it is damaged. Whether an entry is seen in some container does not matter.

use std::iter::Peekable;

use congruent_protocol::contract::{Class, Contract, Terms};
use congruent_protocol::digest::Digest;
use congruent_protocol::drift::{Attributes, Change, Finding, HeldTo};
use congruent_protocol::entry::{Entry, Kind, Node};
use congruent_protocol::layer::{LayerEntry, LayerHasher, LayerNode};
use congruent_protocol::manifest::EntriesError;
use congruent_protocol::path::TreePath;
use congruent_protocol::tree::OutOfOrder;
use congruent_protocol::verification::{Coverage, Gap, SweepMode};
use jiff::Timestamp;

use super::on_disk::{self, Looking, OnDisk};
use crate::findings::{Findings, FindingsWriter, SpillError};
use crate::sweep::cache::{Memory, Noted};
use crate::sweep::{Problem, ProblemKind, Root, Stamp, empty_coverage};

const METACOPY: &[u8] = b"trusted.overlay.metacopy";
const REDIRECT: &[u8] = b"trusted.overlay.redirect";

#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error(transparent)]
    Entries(#[from] EntriesError),
    #[error(transparent)]
    Order(#[from] OutOfOrder),
    #[error(transparent)]
    Spill(#[from] SpillError),
}

/// What a layer's directory came to.
pub(crate) struct CheckedLayer {
    /// The layer's root as observed; the baked one exactly when there is no finding
    /// and no gap.
    pub(crate) observed_root: Digest,
    pub(crate) findings: Findings,
    pub(crate) coverage: Coverage,
}

/// What a layer is held to.
pub(crate) struct Expected<I> {
    /// In tree order.
    pub(crate) entries: I,
    pub(crate) count: u64,
    /// Whether nothing lies below it: then there is nothing to take away, and some
    /// runtimes do not keep the marks.
    pub(crate) is_lowest: bool,
    /// The mode that the runtime gives to the top directory of every layer, where that is
    /// not the archive's.
    pub(crate) top_mode: Option<u16>,
}

/// Sweeps the directory of a layer and compares it with what is expected. `reading` says
/// which contents are read, and nothing else: those of `ephemeral` paths are not. `memory`
/// must be of the same layer, seen in the same way; what was as listed is noted in it.
pub(crate) fn check<I>(
    root: &Root,
    expected: Expected<I>,
    reading: &Contract,
    looking: Looking<'_>,
    memory: &mut Memory,
    findings: FindingsWriter,
    clock: fn() -> Timestamp,
) -> Result<CheckedLayer, CheckError>
where
    I: Iterator<Item = Result<LayerEntry, EntriesError>> + Send,
{
    let started_at = memory.resumed_from().unwrap_or_else(clock);
    let mut coverage = empty_coverage(expected.count, started_at);
    coverage.mode = if memory.is_quick() { SweepMode::Quick } else { SweepMode::Full };
    let recalled = memory.take_recalled();
    let mut check = Check {
        expected: expected.entries.peekable(),
        is_lowest: expected.is_lowest,
        top_mode: expected.top_mode,
        hasher: LayerHasher::new(looking.algorithm),
        findings,
        coverage,
        memory,
        unlisted: Vec::new(),
    };
    on_disk::read(root, looking, reading, recalled, |on_disk| check.take(on_disk))?;
    check.take_missing_before(None)?;
    check.coverage.finished_at = clock();
    let Check { hasher, findings, coverage, .. } = check;
    Ok(CheckedLayer { observed_root: hasher.finish(), findings: findings.finish()?, coverage })
}

struct Check<'m, I: Iterator> {
    expected: Peekable<I>,
    is_lowest: bool,
    top_mode: Option<u16>,
    hasher: LayerHasher,
    findings: FindingsWriter,
    coverage: Coverage,
    memory: &'m mut Memory,
    /// Directories that could not be listed, the innermost last.
    unlisted: Vec<TreePath>,
}

impl<I: Iterator<Item = Result<LayerEntry, EntriesError>>> Check<'_, I> {
    fn take(&mut self, on_disk: OnDisk) -> Result<(), CheckError> {
        let OnDisk {
            path, mut node, problem, stamp, is_unlisted, redirect, is_metadata_only, unmapped, ..
        } = on_disk;
        // Either makes the merged tree show what no archive can have: here it is an
        // attribute like others.
        if let Some(LayerNode::Entry(entry)) = &mut node {
            entry.xattrs.extend(is_metadata_only.then(|| (METACOPY.to_vec(), Vec::new())));
            entry.xattrs.extend(redirect.map(|to| (REDIRECT.to_vec(), to)));
            entry.xattrs.sort();
        }
        self.take_missing_before(Some(&path))?;
        self.coverage.entries_seen += 1;
        let expected = self.next_expected(|at| *at == path)?.map(|listed| listed.node);
        if let (Some(LayerNode::Entry(expected)), Some(LayerNode::Entry(observed))) = (&expected, &mut node) {
            unmapped.assume(observed, expected);
        }
        match (expected, node) {
            (expected, None) if on_disk.is_as_before => {
                return self.take_as_before(&path, expected.as_ref(), stamp);
            }
            (expected, None) => self.contribute(&path, expected.as_ref())?,
            (Some(LayerNode::Implied), Some(LayerNode::Entry(entry))) if entry.node.is_directory() => {}
            // An archive may list nothing at all; its layer has a directory all the same.
            (None, Some(LayerNode::Entry(entry))) if path.is_root() && entry.node.is_directory() => {}
            (None, Some(node)) => {
                self.findings.push(&Finding::added(&path, Class::Immutable, told(&node)))?;
                self.contribute(&path, Some(&node))?;
            }
            (Some(expected), Some(node)) => {
                let is_as_listed = self.take_both(&path, &expected, node)?;
                if let Some(stamp) = stamp.filter(|_| is_as_listed && problem.is_none()) {
                    self.memory.note(&path, &Noted::as_expected(stamp));
                }
            }
        }
        if let Some(problem) = problem {
            self.note_gap(&path, problem);
        }
        if is_unlisted {
            self.unlisted.push(path);
        }
        Ok(())
    }

    /// Takes what has not changed since it was seen to be as listed.
    fn take_as_before(
        &mut self,
        path: &TreePath,
        expected: Option<&LayerNode>,
        stamp: Option<Stamp>,
    ) -> Result<(), CheckError> {
        if expected.is_none() {
            let reason = "the cache recalls it, and it was never listed".to_owned();
            self.note_gap(path, Problem { kind: ProblemKind::Unreadable, reason });
            return Ok(());
        }
        self.coverage.entries_recalled += 1;
        if let Some(stamp) = stamp {
            self.memory.note(path, &Noted::as_expected(stamp));
        }
        self.contribute(path, expected)
    }

    /// Compares both; whether they are alike.
    fn take_both(
        &mut self,
        path: &TreePath,
        expected: &LayerNode,
        mut observed: LayerNode,
    ) -> Result<bool, CheckError> {
        let finding = match (expected, &mut observed) {
            (LayerNode::Entry(expected), LayerNode::Entry(observed)) => {
                if path.is_root() && self.top_mode == Some(observed.mode) {
                    observed.mode = expected.mode;
                }
                let finding = Finding::compare(path, Terms::immutable(), expected, observed);
                fill_content(observed, expected);
                finding
            }
            (expected, observed) if expected == observed => None,
            (expected, observed) => Some(Finding {
                path: path.clone(),
                change: Change::Replaced,
                fields: Vec::new(),
                class: Class::Immutable,
                forbidden: Vec::new(),
                held_to: HeldTo::Manifest,
                expected: Some(told(expected)),
                observed: Some(told(observed)),
            }),
        };
        self.findings.extend(finding.as_ref())?;
        self.contribute(path, Some(&observed))?;
        Ok(finding.is_none())
    }

    fn next_expected(
        &mut self,
        wanted: impl Fn(&TreePath) -> bool,
    ) -> Result<Option<LayerEntry>, EntriesError> {
        self.expected.next_if(|next| next.as_ref().map_or(true, |listed| wanted(&listed.path))).transpose()
    }

    fn take_missing_before(&mut self, limit: Option<&TreePath>) -> Result<(), CheckError> {
        while let Some(LayerEntry { path, node }) =
            self.next_expected(|path| limit.is_none_or(|limit| path < limit))?
        {
            let is_mark = matches!(node, LayerNode::Whiteout | LayerNode::Opaque);
            if self.is_unknown(&path) || (is_mark && self.is_lowest) {
                self.contribute(&path, Some(&node))?;
                continue;
            }
            // What is implied is missed by what lies beneath it.
            if node != LayerNode::Implied {
                self.findings.push(&removed(&path, &node))?;
            }
        }
        Ok(())
    }

    fn contribute(&mut self, path: &TreePath, node: Option<&LayerNode>) -> Result<(), CheckError> {
        node.map_or(Ok(()), |node| Ok(self.hasher.push(path, node)?))
    }

    /// Whether it lies beneath a directory that could not be listed.
    fn is_unknown(&mut self, path: &TreePath) -> bool {
        while self.unlisted.pop_if(|unlisted| !path.starts_with(unlisted)).is_some() {}
        !self.unlisted.is_empty()
    }

    fn note_gap(&mut self, path: &TreePath, problem: Problem) {
        let gap = Gap { path: path.clone(), reason: problem.reason };
        match problem.kind {
            ProblemKind::Unreadable => self.coverage.unreadable.push(gap),
            ProblemKind::Unstable => self.coverage.unstable.push(gap),
        }
    }
}

/// What could not be read contributes as expected.
fn fill_content(observed: &mut Entry, expected: &Entry) {
    if let (Node::File { content: missing @ None, .. }, Some(content)) =
        (&mut observed.node, expected.content())
    {
        *missing = Some(*content);
    }
}

fn removed(path: &TreePath, node: &LayerNode) -> Finding {
    Finding {
        path: path.clone(),
        change: Change::Removed,
        fields: Vec::new(),
        class: Class::Immutable,
        forbidden: Vec::new(),
        held_to: HeldTo::Manifest,
        expected: Some(told(node)),
        observed: None,
    }
}

/// A layer's node as findings tell of it.
fn told(node: &LayerNode) -> Attributes {
    match node {
        LayerNode::Entry(entry) => Attributes::from(entry),
        mark => Attributes::of_kind(mark.kind().unwrap_or(Kind::Directory)),
    }
}

#[cfg(test)]
mod tests;
