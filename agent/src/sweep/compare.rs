//! Comparing: the baked entries and what is seen, both in tree order, side by
//! side. Only findings and gaps are kept.
//!
//! The observed root is computed here from what is seen, by the rules of
//! normalisation; the collector computes it again from the findings alone.

use std::io::{Read, Seek};

use congruent_protocol::contract::{Class, Contract};
use congruent_protocol::drift::{Attributes, Finding};
use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::manifest::{EntriesError, EntriesReader, ListedEntry, Manifest};
use congruent_protocol::normalise::with_baked_content;
use congruent_protocol::path::TreePath;
use congruent_protocol::tree::{Contribution, OutOfOrder, TreeHasher};
use congruent_protocol::verification::{
    Coverage, Gap, Hidden, ManifestId, Mount, MountTreatment, Reserved, State, SweepMode,
    VERIFICATION_SCHEMA, Verification,
};
use jiff::Timestamp;

use super::{Counters, MountSeen, Problem, ProblemKind, Purpose, Root, Scope, Seen, SeenEntry, Sight, sweep};

#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    #[error(transparent)]
    Entries(#[from] EntriesError),
    #[error(transparent)]
    Order(#[from] OutOfOrder),
}

/// Sweeps `root` and compares it with `manifest`, whose file is `input`.
pub(crate) fn verify<R: Read + Seek>(
    root: &Root,
    manifest: &Manifest,
    input: R,
    threads: usize,
    counters: &Counters,
    clock: fn() -> Timestamp,
) -> Result<Verification, VerifyError> {
    let predicate = manifest.predicate();
    let scope = Scope {
        contract: &predicate.contract,
        reserved: &predicate.reserved,
        purpose: Purpose::Verify,
        threads,
    };
    let mut comparison = Comparison {
        contract: &predicate.contract,
        hasher: TreeHasher::new(predicate.root.algorithm()),
        baked: Baked::new(manifest.entries(input)?)?,
        findings: Vec::new(),
        coverage: empty_coverage(predicate.entries.count, clock()),
        covers: Vec::new(),
    };
    sweep(root, &scope, counters, |seen| comparison.take(seen))?;
    comparison.take_missing_before(None)?;
    let Comparison { hasher, findings, mut coverage, .. } = comparison;
    coverage.bytes_hashed = counters.bytes();
    coverage.finished_at = clock();
    let state = State::of(&findings, &coverage);
    Ok(Verification {
        schema_version: VERIFICATION_SCHEMA,
        manifest: manifest_id(manifest),
        state,
        observed_root: hasher.finish(),
        conditional: coverage.has_gaps(),
        findings,
        coverage,
    })
}

fn manifest_id(manifest: &Manifest) -> ManifestId {
    let predicate = manifest.predicate();
    ManifestId {
        name: predicate.name.clone(),
        version: predicate.version.clone(),
        root: predicate.root,
        signed_by: manifest.signed_by().verified.iter().map(ToString::to_string).collect(),
    }
}

fn empty_coverage(entries_expected: u64, now: Timestamp) -> Coverage {
    Coverage {
        mode: SweepMode::Full,
        entries_expected,
        entries_seen: 0,
        bytes_hashed: 0,
        unreadable: Vec::new(),
        unstable: Vec::new(),
        hidden: Vec::new(),
        reserved: Vec::new(),
        mounts: Vec::new(),
        started_at: now,
        finished_at: now,
    }
}

/// The baked entries, one ahead.
struct Baked<R: Read> {
    entries: EntriesReader<R>,
    next: ListedEntry,
    at_end: bool,
}

impl<R: Read> Baked<R> {
    fn new(entries: EntriesReader<R>) -> Result<Self, EntriesError> {
        let next = ListedEntry { path: TreePath::root(), entry: Entry::empty() };
        let mut baked = Self { entries, next, at_end: false };
        baked.advance()?;
        Ok(baked)
    }

    fn peek(&self) -> Option<&ListedEntry> {
        (!self.at_end).then_some(&self.next)
    }

    fn advance(&mut self) -> Result<(), EntriesError> {
        self.at_end = !self.entries.read(&mut self.next)?;
        Ok(())
    }
}

/// Why baked entries beneath a path are not seen, though they may be there.
struct Cover {
    path: TreePath,
    kind: CoverKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CoverKind {
    /// A mount that the contract names: they count as baked.
    NamedMount,
    /// A mount that it does not name: a leaf, and they count as nothing.
    UnnamedMount,
    /// A directory that could not be read: they count as baked.
    Unreadable,
}

struct Comparison<'a, R: Read> {
    contract: &'a Contract,
    hasher: TreeHasher,
    baked: Baked<R>,
    findings: Vec<Finding>,
    coverage: Coverage,
    /// Innermost last; those that do not hold the path at hand are dropped.
    covers: Vec<Cover>,
}

impl<R: Read> Comparison<'_, R> {
    fn take(&mut self, seen: Seen) -> Result<(), VerifyError> {
        self.take_missing_before(Some(&seen.path))?;
        if seen.class == Class::Reserved {
            self.take_reserved(seen);
            return Ok(());
        }
        self.coverage.entries_seen += 1;
        if let Some(mount) = &seen.mount {
            self.note_mount(&seen.path, mount);
        }
        let baked = match self.baked.peek() {
            Some(listed) if listed.path == seen.path => {
                let entry = listed.entry.clone();
                self.baked.advance()?;
                Some(entry)
            }
            _ => None,
        };
        let Seen { path, class, mount, sight } = seen;
        match sight {
            Sight::Entry(seen) => self.take_entry(path, class, *seen, baked)?,
            Sight::Anything => self.contribute_baked(&path, baked.as_ref())?,
            Sight::Mount => self.take_mount(path, class, mount, baked.as_ref())?,
            Sight::Hidden(problem) => {
                self.contribute_baked(&path, baked.as_ref())?;
                self.note_gap(path, problem);
            }
        }
        Ok(())
    }

    /// Takes the baked entries that should have been seen before `limit`.
    fn take_missing_before(&mut self, limit: Option<&TreePath>) -> Result<(), VerifyError> {
        while let Some(listed) = self.baked.peek()
            && limit.is_none_or(|limit| listed.path < *limit)
        {
            let ListedEntry { path, entry } = listed.clone();
            self.baked.advance()?;
            self.take_missing(&path, &entry)?;
        }
        Ok(())
    }

    fn take_missing(&mut self, path: &TreePath, entry: &Entry) -> Result<(), VerifyError> {
        match self.cover_of(path) {
            Some(CoverKind::UnnamedMount) => self.count_hidden(),
            Some(CoverKind::NamedMount) => {
                self.count_hidden();
                self.hasher.push(path, Contribution::Entry(entry))?;
            }
            Some(CoverKind::Unreadable) => self.hasher.push(path, Contribution::Entry(entry))?,
            None => match self.contract.class_of(path) {
                // What may be anything may also be gone.
                Class::Ephemeral => self.hasher.push(path, Contribution::Entry(entry))?,
                class => self.findings.push(Finding::removed(path, class, entry)),
            },
        }
        Ok(())
    }

    fn take_entry(
        &mut self,
        path: TreePath,
        class: Class,
        seen: SeenEntry,
        baked: Option<Entry>,
    ) -> Result<(), VerifyError> {
        let SeenEntry { entry: mut observed, problem, xattrs_answered, .. } = seen;
        match baked {
            None => {
                self.hasher.push(&path, Contribution::Entry(&observed))?;
                self.findings.push(Finding::added(&path, class, Attributes::from(&observed)));
            }
            Some(baked) => {
                if let Some(answered) = xattrs_answered {
                    let is_answered = |name: &[u8]| answered.iter().any(|known| known.to_bytes() == name);
                    let unread = baked.xattrs.iter().filter(|(name, _)| !is_answered(name));
                    observed.xattrs.extend(unread.cloned());
                    observed.xattrs.sort_unstable();
                }
                self.hasher.push(&path, Contribution::Entry(&with_baked_content(&observed, &baked)))?;
                self.findings.extend(Finding::compare(&path, class, &baked, &observed));
            }
        }
        if let Some(problem) = problem {
            self.note_gap(path, problem);
        }
        Ok(())
    }

    fn take_mount(
        &mut self,
        path: TreePath,
        class: Class,
        mount: Option<MountSeen>,
        baked: Option<&Entry>,
    ) -> Result<(), VerifyError> {
        let is_named = is_expected(mount.as_ref());
        let kind = if is_named { CoverKind::NamedMount } else { CoverKind::UnnamedMount };
        if is_named {
            self.contribute_baked(&path, baked)?;
        } else {
            let (filesystem, source) =
                mount.map(|mount| (mount.filesystem, mount.source)).unwrap_or_default();
            let attributes = Attributes::mount(filesystem, source);
            self.hasher.push(&path, Contribution::Mount)?;
            self.findings.push(Finding::mounted_over(&path, class, baked, attributes));
        }
        if baked.is_some() {
            self.coverage.hidden.push(Hidden { path: path.clone(), entries: 1 });
        }
        self.covers.push(Cover { path, kind });
        Ok(())
    }

    /// Reserved places may hold what they like but nothing that runs or opens a
    /// device.
    fn take_reserved(&mut self, seen: Seen) {
        if let Some(mount) = &seen.mount {
            self.note_mount(&seen.path, mount);
        }
        let place = self.coverage.reserved.last_mut().filter(|place| seen.path.starts_with(&place.path));
        match place {
            Some(place) => place.entries += 1,
            None => self.coverage.reserved.push(Reserved { path: seen.path.clone(), entries: 1 }),
        }
        match seen.sight {
            Sight::Entry(entry) => {
                if is_dangerous(&entry.entry) {
                    let attributes = Attributes::from(&entry.entry);
                    self.findings.push(Finding::added(&seen.path, Class::Reserved, attributes));
                }
                if let Some(problem) = entry.problem {
                    self.note_gap(seen.path, problem);
                }
            }
            Sight::Hidden(problem) => self.note_gap(seen.path, problem),
            Sight::Mount if is_expected(seen.mount.as_ref()) => {}
            Sight::Mount => {
                let (filesystem, source) = seen.mount.map(|m| (m.filesystem, m.source)).unwrap_or_default();
                let attributes = Attributes::mount(filesystem, source);
                self.findings.push(Finding::mounted_over(&seen.path, Class::Reserved, None, attributes));
            }
            Sight::Anything => {}
        }
    }

    fn contribute_baked(&mut self, path: &TreePath, baked: Option<&Entry>) -> Result<(), OutOfOrder> {
        baked.map_or(Ok(()), |entry| self.hasher.push(path, Contribution::Entry(entry)))
    }

    fn note_gap(&mut self, path: TreePath, problem: Problem) {
        let gap = Gap { path: path.clone(), reason: problem.reason };
        match problem.kind {
            ProblemKind::Unreadable => self.coverage.unreadable.push(gap),
            ProblemKind::Unstable => self.coverage.unstable.push(gap),
        }
        // What lies beneath may be there as well as not.
        self.covers.push(Cover { path, kind: CoverKind::Unreadable });
    }

    fn note_mount(&mut self, path: &TreePath, mount: &MountSeen) {
        self.coverage.mounts.push(Mount {
            path: path.clone(),
            content: mount.treatment,
            filesystem: mount.filesystem.clone(),
            source: mount.source.clone(),
        });
    }

    fn cover_of(&mut self, path: &TreePath) -> Option<CoverKind> {
        while self.covers.pop_if(|cover| !path.starts_with(&cover.path)).is_some() {}
        self.covers.last().map(|cover| cover.kind)
    }

    /// Counts a baked entry to the mount that hides it.
    fn count_hidden(&mut self) {
        let Some(cover) = self.covers.last() else { return };
        match self.coverage.hidden.last_mut() {
            Some(hidden) if hidden.path == cover.path => hidden.entries += 1,
            _ => self.coverage.hidden.push(Hidden { path: cover.path.clone(), entries: 1 }),
        }
    }
}

/// Whether the contract names a mount that is not looked into.
fn is_expected(mount: Option<&MountSeen>) -> bool {
    mount.is_some_and(|mount| mount.treatment == MountTreatment::Hide)
}

fn is_dangerous(entry: &Entry) -> bool {
    match entry.node {
        Node::File { .. } => {
            entry.mode & 0o6111 != 0 || entry.xattrs.iter().any(|(name, _)| name == b"security.capability")
        }
        Node::CharDevice(_) | Node::BlockDevice(_) => true,
        Node::Directory | Node::Symlink { .. } | Node::Fifo | Node::Socket => false,
    }
}
