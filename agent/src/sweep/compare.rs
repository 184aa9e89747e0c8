//! Comparing: what is promised and what is seen, both in tree order, side by
//! side. Only findings, gaps and first values are kept, most findings on disk.
//!
//! The observed root is computed here from what is seen, by the rules of
//! normalisation; the collector computes it again from the findings alone.

use std::iter::Peekable;

use congruent_protocol::contract::{Class, Contract, Forbidden, Terms};
use congruent_protocol::digest::{Algorithm, ContentKey, Digest};
use congruent_protocol::drift::{Attributes, Finding};
use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::ledger::FirstValue;
use congruent_protocol::manifest::{EntriesError, ListedEntry, Manifest};
use congruent_protocol::normalise::{Contributes, Sides, normalise};
use congruent_protocol::path::TreePath;
use congruent_protocol::promise::{Promise, Promises};
use congruent_protocol::tree::{Contribution, OutOfOrder, TreeHasher};
use congruent_protocol::verification::{
    Coverage, DirectReads, Gap, Hidden, ManifestId, Mount, Protected, Reserved, State, SweepMode,
    VERIFICATION_SCHEMA, Verification,
};
use jiff::Timestamp;

use super::cache::{Memory, Noted, Recorder};
use super::stamp::Stamp;
use super::walk::is_hiding;
use super::{
    Counters, Means, MountSeen, Problem, ProblemKind, Purpose, Root, Scope, Seen, SeenEntry, Sight, sweep,
};
use crate::findings::{Findings, FindingsWriter, SpillError};
use crate::target::Target;

#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    #[error(transparent)]
    Entries(#[from] EntriesError),
    #[error(transparent)]
    Order(#[from] OutOfOrder),
    #[error(transparent)]
    Spill(#[from] SpillError),
}

/// Sweeps `root` and compares it with what it is held to; what differs goes to
/// `findings`.
pub(crate) fn verify(
    root: &Root,
    target: &Target,
    means: &Means,
    memory: &mut Memory,
    findings: FindingsWriter,
    counters: &Counters,
    clock: fn() -> Timestamp,
) -> Result<Verification<Findings>, VerifyError> {
    let Target { stack, ledger, content_key, .. } = target;
    let scope = Scope {
        contract: stack.contract(),
        reserved: stack.reserved(),
        algorithm: stack.root().algorithm(),
        purpose: Purpose::Verify { base: Some(stack.base()) },
        means,
    };
    let promises = Promises::new(stack.entries(target.files())?, ledger);
    let mut comparison = Comparison::new(scope.contract, scope.algorithm, promises, content_key, findings);
    let started_at = memory.resumed_from().unwrap_or_else(clock);
    comparison.coverage = empty_coverage(stack.entries_count(), started_at);
    comparison.coverage.mode = if memory.is_quick { SweepMode::Quick } else { SweepMode::Full };
    comparison.coverage.direct = means.direct.then(DirectReads::default);
    let recalled = memory.take_recalled();
    comparison.recorder = memory.recorder.as_mut();
    sweep(root, &scope, recalled, counters, |seen| comparison.take(seen))?;
    let Compared { observed_root, findings, mut coverage, protected } = comparison.finish()?;
    coverage.bytes_hashed = counters.bytes();
    coverage.finished_at = clock();
    Ok(Verification {
        schema_version: VERIFICATION_SCHEMA,
        manifest: manifest_id(stack.base()),
        add_ons: stack.add_ons().iter().map(manifest_id).collect(),
        baked_root: stack.root(),
        protected,
        state: State::of(!findings.is_empty(), &coverage),
        observed_root,
        conditional: coverage.has_gaps(),
        findings,
        coverage,
    })
}

pub(crate) fn manifest_id(manifest: &Manifest) -> ManifestId {
    let predicate = manifest.predicate();
    ManifestId {
        name: predicate.name.clone(),
        version: predicate.version.clone(),
        root: predicate.root,
        signed_by: manifest.signed_by().verified.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn empty_coverage(entries_expected: u64, now: Timestamp) -> Coverage {
    Coverage {
        mode: SweepMode::Full,
        entries_expected,
        entries_seen: 0,
        entries_recalled: 0,
        bytes_hashed: 0,
        direct: None,
        unreadable: Vec::new(),
        unstable: Vec::new(),
        hidden: Vec::new(),
        reserved: Vec::new(),
        mounts: Vec::new(),
        first_seen: Vec::new(),
        unchecked: Vec::new(),
        started_at: now,
        finished_at: now,
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

struct Comparison<'a, I: Iterator<Item = Result<ListedEntry, EntriesError>>> {
    contract: &'a Contract,
    content_key: &'a ContentKey,
    hasher: TreeHasher,
    promises: Peekable<Promises<'a, I>>,
    findings: FindingsWriter,
    coverage: Coverage,
    protected: Protected,
    /// Innermost last; those that do not hold the path at hand are dropped.
    covers: Vec<Cover>,
    /// Where what was as baked is noted.
    recorder: Option<&'a mut Recorder>,
}

/// What a comparison came to.
struct Compared {
    observed_root: Digest,
    findings: Findings,
    coverage: Coverage,
    protected: Protected,
}

impl<'a, I: Iterator<Item = Result<ListedEntry, EntriesError>>> Comparison<'a, I> {
    fn new(
        contract: &'a Contract,
        algorithm: Algorithm,
        promises: Promises<'a, I>,
        content_key: &'a ContentKey,
        findings: FindingsWriter,
    ) -> Self {
        Self {
            contract,
            content_key,
            hasher: TreeHasher::new(algorithm),
            promises: promises.peekable(),
            findings,
            coverage: empty_coverage(0, Timestamp::UNIX_EPOCH),
            protected: Protected { entries: 0, of: 0 },
            covers: Vec::new(),
            recorder: None,
        }
    }

    fn finish(mut self) -> Result<Compared, VerifyError> {
        self.take_missing_before(None)?;
        let Self { hasher, findings, coverage, protected, .. } = self;
        let (observed_root, findings) = (hasher.finish(), findings.finish()?);
        Ok(Compared { observed_root, findings, coverage, protected })
    }

    fn take(&mut self, seen: Seen<'_>) -> Result<(), VerifyError> {
        self.take_missing_before(Some(&seen.path))?;
        if seen.terms.class == Class::Reserved {
            return self.take_reserved(seen);
        }
        self.coverage.entries_seen += 1;
        if let Some(mount) = &seen.mount {
            self.note_mount(&seen.path, mount);
        }
        let promise = self.next_promise(|path| *path == seen.path)?;
        let (baked, first) = promise.map(|promise| (promise.baked, promise.first)).unwrap_or_default();
        let Seen { path, terms, mount, sight } = seen;
        if baked.is_some() {
            self.protected.count(self.contract, &path, terms.class);
        }
        match sight {
            Sight::Entry(seen) => self.take_entry(path, terms, *seen, baked.as_ref(), first.as_ref())?,
            Sight::Anything => self.contribute_baked(&path, terms, baked.as_ref())?,
            Sight::AsBefore(stamp) => self.take_as_before(path, terms, &stamp, baked.as_ref())?,
            Sight::Mount => self.take_mount(path, terms, mount, baked.as_ref())?,
            Sight::Hidden(problem) => {
                self.contribute_baked(&path, terms, baked.as_ref())?;
                self.note_gap(path.clone(), problem);
                self.cover(path);
            }
        }
        Ok(())
    }

    /// The next promise, where its path is wanted.
    fn next_promise(&mut self, wanted: impl Fn(&TreePath) -> bool) -> Result<Option<Promise>, EntriesError> {
        self.promises
            .next_if(|promise| promise.as_ref().map_or(true, |promise| wanted(&promise.path)))
            .transpose()
    }

    /// Takes what was promised and should have been seen before `limit`.
    fn take_missing_before(&mut self, limit: Option<&TreePath>) -> Result<(), VerifyError> {
        while let Some(promise) = self.next_promise(|path| limit.is_none_or(|limit| path < limit))? {
            self.take_missing(&promise)?;
        }
        Ok(())
    }

    fn take_missing(&mut self, promise: &Promise) -> Result<(), VerifyError> {
        let Promise { path, baked, first } = promise;
        let terms = self.contract.terms_of(path);
        if baked.is_some() {
            self.protected.count(self.contract, path, terms.class);
        }
        match (self.cover_of(path), baked) {
            (Some(CoverKind::UnnamedMount), Some(_)) => self.count_hidden(),
            (Some(CoverKind::NamedMount), Some(_)) => {
                self.count_hidden();
                self.contribute_baked(path, terms, baked.as_ref())?;
            }
            (Some(CoverKind::Unreadable), Some(_)) => {
                self.contribute_baked(path, terms, baked.as_ref())?;
            }
            (Some(_), None) => {}
            (None, _) => {
                let sides = Sides { baked: baked.as_ref(), first: first.as_ref(), observed: None };
                let normalised = normalise(path, terms, sides);
                normalised.contribute(&mut self.hasher, path, terms, sides)?;
                self.findings.extend(normalised.finding.as_ref())?;
            }
        }
        Ok(())
    }

    fn take_entry(
        &mut self,
        path: TreePath,
        terms: &Terms,
        seen: SeenEntry,
        baked: Option<&Entry>,
        first: Option<&Entry>,
    ) -> Result<(), VerifyError> {
        seen.count_reading(&mut self.coverage);
        let SeenEntry { entry: mut observed, problem, xattrs_answered, is_unlisted, stamp, .. } = seen;
        // What is unread is neither there nor gone.
        if let (Some(answered), Some(baked)) = (xattrs_answered, first.or(baked)) {
            let is_answered = |name: &[u8]| answered.iter().any(|known| known.to_bytes() == name);
            let unread = baked.xattrs.iter().filter(|(name, _)| !is_answered(name));
            observed.xattrs.extend(unread.cloned());
            observed.xattrs.sort_unstable();
        }
        if terms.sensitive {
            key_content(&mut observed, baked, self.content_key);
        }
        let sides = Sides { baked, first, observed: Some(&observed) };
        let normalised = normalise(&path, terms, sides);
        normalised.contribute(&mut self.hasher, &path, terms, sides)?;
        // What is pinned may be held to a first value that is recorded later.
        let is_as_baked = normalised.finding.is_none()
            && normalised.contributes == Contributes::Baked
            && terms.class != Class::Pinned;
        self.findings.extend(normalised.finding.as_ref())?;
        if normalised.is_first_value && problem.is_none() {
            let attributes = Attributes::from(&observed);
            self.coverage.first_seen.push(FirstValue { path: path.clone(), attributes });
        }
        if let (Some(stamp), Some(recorder)) = (stamp, &mut self.recorder)
            && problem.is_none()
            && is_as_baked
        {
            recorder.note(&path, &Noted::as_expected(stamp));
        }
        if let Some(problem) = problem {
            self.note_gap(path.clone(), problem);
        }
        if is_unlisted {
            self.cover(path);
        }
        Ok(())
    }

    /// Takes what has not changed since it was seen to be as baked.
    fn take_as_before(
        &mut self,
        path: TreePath,
        terms: &Terms,
        stamp: &Stamp,
        baked: Option<&Entry>,
    ) -> Result<(), OutOfOrder> {
        if baked.is_none() {
            let reason = "the cache recalls it, and it was never baked".to_owned();
            self.note_gap(path, Problem { kind: ProblemKind::Unreadable, reason });
            return Ok(());
        }
        self.coverage.entries_recalled += 1;
        if let Some(recorder) = &mut self.recorder {
            recorder.note(&path, &Noted::as_expected(*stamp));
        }
        self.contribute_baked(&path, terms, baked)
    }

    fn take_mount(
        &mut self,
        path: TreePath,
        terms: &Terms,
        mount: Option<Box<MountSeen>>,
        baked: Option<&Entry>,
    ) -> Result<(), VerifyError> {
        let is_named = is_hiding(mount.as_deref());
        let kind = if is_named { CoverKind::NamedMount } else { CoverKind::UnnamedMount };
        if is_named {
            self.contribute_baked(&path, terms, baked)?;
        } else {
            let (filesystem, source) =
                mount.map(|mount| (mount.filesystem, mount.source)).unwrap_or_default();
            let attributes = Attributes::mount(filesystem, source);
            self.hasher.push(&path, Contribution::Mount)?;
            self.findings.push(&Finding::mounted_over(&path, terms.class, baked, attributes))?;
        }
        if baked.is_some() {
            self.coverage.hidden.push(Hidden { path: path.clone(), entries: 1 });
        }
        self.covers.push(Cover { path, kind });
        Ok(())
    }

    /// Reserved places may hold what they like but nothing that runs or opens a
    /// device.
    fn take_reserved(&mut self, seen: Seen<'_>) -> Result<(), VerifyError> {
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
                    self.findings.push(&Finding::added(&seen.path, Class::Reserved, attributes))?;
                }
                if let Some(problem) = entry.problem {
                    self.note_gap(seen.path, problem);
                }
            }
            Sight::Hidden(problem) => self.note_gap(seen.path, problem),
            Sight::Mount if is_hiding(seen.mount.as_deref()) => {}
            Sight::Mount => {
                let (filesystem, source) = seen.mount.map(|m| (m.filesystem, m.source)).unwrap_or_default();
                let attributes = Attributes::mount(filesystem, source);
                self.findings.push(&Finding::mounted_over(&seen.path, Class::Reserved, None, attributes))?;
            }
            Sight::Anything | Sight::AsBefore(_) => {}
        }
        Ok(())
    }

    fn contribute_baked(
        &mut self,
        path: &TreePath,
        terms: &Terms,
        baked: Option<&Entry>,
    ) -> Result<(), OutOfOrder> {
        baked.map_or(Ok(()), |entry| self.hasher.push(path, Contribution::of(entry, terms)))
    }

    fn note_gap(&mut self, path: TreePath, problem: Problem) {
        let gap = Gap { path, reason: problem.reason };
        match problem.kind {
            ProblemKind::Unreadable => self.coverage.unreadable.push(gap),
            ProblemKind::Unstable => self.coverage.unstable.push(gap),
        }
    }

    /// What lies beneath may be there as well as not.
    fn cover(&mut self, path: TreePath) {
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

/// What a report carries of sensitive content must tell nobody what it is,
/// unless it is what the manifest says to everyone.
pub(crate) fn key_content(observed: &mut Entry, baked: Option<&Entry>, key: &ContentKey) {
    let known = baked.and_then(Entry::content).copied();
    if let Node::File { content: Some(content), .. } = &mut observed.node
        && Some(*content) != known
    {
        *content = content.keyed(key);
    }
}

/// Whether it is anything that some rule could forbid.
fn is_dangerous(entry: &Entry) -> bool {
    Forbidden::ALL.iter().any(|forbidden| forbidden.is(entry))
}

#[cfg(test)]
mod tests;
