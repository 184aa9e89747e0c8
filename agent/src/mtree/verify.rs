//! Holding a root to a spec: the spec's entries and what is seen, both in tree
//! order, side by side.
//!
//! A spec is a closed world, as mtree has it: what it does not name is added,
//! what it names must be there unless it is `optional`. What it does not say of
//! an entry is not compared; what it says and is not checked is noted, and
//! leaves a gap where nothing else proves it.
//!
//! There is no contract: all is immutable, and only the mounts that every Linux
//! host has are hidden. The spec has no tree root of its own: the one that is
//! expected is the observed one with the spec's values laid over.

use std::iter::Peekable;
use std::vec;

use congruent_protocol::contract::{Class, Contract};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::drift::{Attributes, Finding};
use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::path::TreePath;
use congruent_protocol::tree::{Contribution, OutOfOrder, TreeHasher};
use congruent_protocol::verification::{
    Coverage, DirectReads, Gap, Hidden, ManifestId, Mount, Protected, State, VERIFICATION_SCHEMA,
    Verification,
};
use jiff::Timestamp;

use super::accounts::Accounts;
use super::claims::{Claims, Reason, Sha2};
use super::hold::{Content, Held, Notes, hold, missing_entry};
use super::parse::{Spec, SpecEntry};
use crate::beneath::{self, Sha2Size};
use crate::findings::{Findings, FindingsWriter, SpillError};
use crate::sweep::{
    Counters, Means, MountSeen, Problem, ProblemKind, Purpose, Recalled, Root, Scope, Seen, SeenEntry, Sight,
    empty_coverage, is_hiding, sweep,
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    #[error(transparent)]
    Order(#[from] OutOfOrder),
    #[error(transparent)]
    Spill(#[from] SpillError),
}

/// What stands for the version of something that has none.
const VERSION: &str = "mtree";

/// Sweeps `root` and holds it to `spec`, which is called `name`; what differs goes
/// to `findings`.
pub(crate) fn verify(
    root: &Root,
    spec: Spec,
    name: &str,
    means: &Means,
    findings: FindingsWriter,
    counters: &Counters,
    clock: fn() -> Timestamp,
) -> Result<Verification<Findings>, VerifyError> {
    let contract = Contract::mounts_only();
    let algorithm = algorithm_for(&spec);
    let protected = protected_by(&contract, &spec);
    let purpose = Purpose::Verify { base: None };
    let scope = Scope { contract: &contract, reserved: &[], algorithm, purpose, means };
    let mut comparison = Comparison {
        root,
        algorithm,
        accounts: Accounts::of(root),
        coverage: empty_coverage(spec.entries.len() as u64, clock()),
        spec: spec.entries.into_iter().peekable(),
        expected: TreeHasher::new(algorithm),
        observed: TreeHasher::new(algorithm),
        findings,
        covers: Vec::new(),
        notes: Notes::default(),
    };
    comparison.coverage.direct = means.direct.then(DirectReads::default);
    sweep(root, &scope, Recalled::default(), counters, |seen| comparison.take(seen))?;
    comparison.take_missing_before(None)?;
    let Comparison { expected, observed, findings, mut coverage, notes, .. } = comparison;
    let findings = findings.finish()?;
    coverage.bytes_hashed = counters.bytes();
    coverage.unchecked = notes.into_unchecked();
    coverage.finished_at = clock();
    let baked_root = expected.finish();
    let (name, version) = (name.to_owned(), VERSION.to_owned());
    let manifest = ManifestId { name, version, root: baked_root, signed_by: Vec::new() };
    Ok(Verification {
        schema_version: VERIFICATION_SCHEMA,
        manifest,
        add_ons: vec![],
        baked_root,
        protected,
        state: State::of(!findings.is_empty(), &coverage),
        observed_root: observed.finish(),
        conditional: coverage.has_gaps(),
        findings,
        coverage,
    })
}

/// SHA-256 where the spec has any, so that the sweep's digests are the spec's and
/// nothing is read twice for them.
fn algorithm_for(spec: &Spec) -> Algorithm {
    let has_sha256 = spec.entries.iter().any(|listed| listed.claims.sha256().is_some());
    if has_sha256 { Algorithm::Sha256 } else { Algorithm::Blake3 }
}

fn protected_by(contract: &Contract, spec: &Spec) -> Protected {
    let mut protected = Protected { entries: 0, of: 0 };
    for listed in &spec.entries {
        protected.count(contract, &listed.path, Class::Immutable);
    }
    protected
}

/// What an entry adds to a root; its time where the spec has it.
fn contribution<'a>(entry: &'a Entry, claims: Option<&Claims>) -> Contribution<'a> {
    Contribution::Entry { entry, mtime: claims.is_some_and(|claims| claims.mtime.is_some()) }
}

/// Why what the spec names beneath a path need not be seen.
struct Cover {
    path: TreePath,
    kind: CoverKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CoverKind {
    /// A mount that is not looked into.
    Mount,
    /// A directory that could not be read.
    Unreadable,
    /// The spec ignores what lies there, also what is seen.
    Ignored,
    /// It was optional and is not there.
    OptionalGone,
}

struct Comparison<'a> {
    root: &'a Root,
    algorithm: Algorithm,
    accounts: Accounts,
    spec: Peekable<vec::IntoIter<SpecEntry>>,
    expected: TreeHasher,
    observed: TreeHasher,
    findings: FindingsWriter,
    coverage: Coverage,
    /// Innermost last; those that do not hold the path at hand are dropped.
    covers: Vec<Cover>,
    notes: Notes,
}

impl Comparison<'_> {
    fn take(&mut self, seen: Seen<'_>) -> Result<(), VerifyError> {
        self.take_missing_before(Some(&seen.path))?;
        self.coverage.entries_seen += 1;
        if let Some(mount) = &seen.mount {
            self.note_mount(&seen.path, mount);
        }
        let claims = self.spec.next_if(|listed| listed.path == seen.path).map(|listed| listed.claims);
        if let Some((path, CoverKind::Ignored)) = self.cover_of(&seen.path) {
            self.notes.note(&format!("beneath {path}"), Reason::Ignored);
            return Ok(());
        }
        let Seen { path, mount, sight, .. } = seen;
        if claims.as_ref().is_some_and(|claims| claims.ignore) {
            self.cover(&path, CoverKind::Ignored);
        }
        match sight {
            Sight::Entry(seen) => self.take_entry(&path, *seen, claims)?,
            Sight::Mount => self.take_mount(&path, mount, claims.as_ref())?,
            Sight::Hidden(problem) => {
                self.note_gap(&path, problem);
                self.cover(&path, CoverKind::Unreadable);
            }
            // Only an ephemeral class lets it be, and here none is.
            Sight::Anything | Sight::AsBefore(_) => {}
        }
        Ok(())
    }

    /// Takes what the spec names before `limit` and was not seen.
    fn take_missing_before(&mut self, limit: Option<&TreePath>) -> Result<(), VerifyError> {
        while let Some(SpecEntry { path, claims }) =
            self.spec.next_if(|listed| limit.is_none_or(|limit| listed.path < *limit))
        {
            match self.cover_of(&path) {
                Some((_, CoverKind::Mount)) => self.count_hidden(),
                Some(_) => {}
                None if claims.optional => self.cover(&path, CoverKind::OptionalGone),
                None => self.take_missing(&path, &claims)?,
            }
        }
        Ok(())
    }

    fn take_missing(&mut self, path: &TreePath, claims: &Claims) -> Result<(), VerifyError> {
        let entry = missing_entry(claims);
        self.expected.push(path, contribution(&entry, Some(claims)))?;
        let mut finding = Finding::removed(path, Class::Immutable, &entry);
        finding.expected = Some(claims.attributes());
        Ok(self.findings.push(&finding)?)
    }

    fn take_entry(
        &mut self,
        path: &TreePath,
        seen: SeenEntry,
        claims: Option<Claims>,
    ) -> Result<(), VerifyError> {
        seen.count_reading(&mut self.coverage);
        let SeenEntry { entry: observed, inode, problem, xattrs_answered, is_unlisted, .. } = seen;
        self.observed.push(path, contribution(&observed, claims.as_ref()))?;
        match claims {
            None => {
                let attributes = Attributes::from(&observed);
                self.findings.push(&Finding::added(path, Class::Immutable, attributes))?;
            }
            Some(mut claims) => {
                let kind = observed.node.kind();
                if claims.implied_kind().is_none_or(|expected| expected == kind) {
                    self.notes.take(&claims, kind);
                }
                self.resolve_names(&mut claims);
                if let Some(answered) = xattrs_answered {
                    claims.xattrs.retain(|name, _| answered.iter().any(|known| known.to_bytes() == name));
                }
                let content = self.hold_content(path, &claims, &observed);
                let Held { expected, finding } = hold(path, &claims, &observed, inode.links, content);
                self.expected.push(path, contribution(&expected, Some(&claims)))?;
                self.findings.extend(finding.as_ref())?;
            }
        }
        if let Some(problem) = problem {
            self.note_gap(path, problem);
        }
        if is_unlisted {
            self.cover(path, CoverKind::Unreadable);
        }
        Ok(())
    }

    /// Puts numbers for names, where only names are given.
    fn resolve_names(&mut self, claims: &mut Claims) {
        let Self { accounts, notes, .. } = self;
        let mut resolve = |what, name: Option<Vec<u8>>, number: &mut Option<u32>, found: Option<u32>| match (
            name, *number, found,
        ) {
            (None, _, _) => {}
            (Some(_), Some(_), _) => notes.note(what, Reason::NumberChecked),
            (Some(_), None, Some(_)) => *number = found,
            (Some(_), None, None) => notes.note(what, Reason::UnknownName),
        };
        let user = claims.uname.as_deref().and_then(|name| accounts.user(name));
        let group = claims.gname.as_deref().and_then(|name| accounts.group(name));
        resolve("uname", claims.uname.take(), &mut claims.uid, user);
        resolve("gname", claims.gname.take(), &mut claims.gid, group);
    }

    /// Holds a file's content to a digest that the sweep does not compute. That
    /// costs a second reading, which must show what the first did.
    fn hold_content(&mut self, path: &TreePath, claims: &Claims, observed: &Entry) -> Content {
        let (Node::File { content: Some(seen), .. }, Some(proof)) = (&observed.node, claims.proof()) else {
            return Content::Fits;
        };
        if claims.nochange {
            return Content::Fits;
        }
        let size = match proof {
            Sha2::Sha256(_) => return Content::Fits,
            Sha2::Sha384(_) => Sha2Size::Bits384,
            Sha2::Sha512(_) => Sha2Size::Bits512,
        };
        let read = beneath::open(&self.root.directory, path)
            .and_then(|mut file| beneath::digests(&mut file, self.algorithm, size));
        match read {
            Ok((again, _)) if again != *seen => {
                let reason = format!("it changed before its {} was computed", proof.name());
                self.note_gap(path, Problem { kind: ProblemKind::Unstable, reason });
                Content::Fits
            }
            Ok((_, sha2)) if *sha2 == *proof.as_bytes() => Content::Fits,
            Ok(_) => Content::Differs,
            Err(error) => {
                let reason = format!("cannot read it for its {}: {error}", proof.name());
                self.note_gap(path, Problem { kind: ProblemKind::Unreadable, reason });
                Content::Fits
            }
        }
    }

    fn take_mount(
        &mut self,
        path: &TreePath,
        mount: Option<Box<MountSeen>>,
        claims: Option<&Claims>,
    ) -> Result<(), VerifyError> {
        if !is_hiding(mount.as_deref()) {
            let (filesystem, source) = mount.map(|m| (m.filesystem, m.source)).unwrap_or_default();
            let attributes = Attributes::mount(filesystem, source);
            let mut finding = Finding::mounted_over(path, Class::Immutable, None, attributes);
            finding.expected = claims.map(Claims::attributes);
            self.observed.push(path, Contribution::Mount)?;
            self.findings.push(&finding)?;
        }
        if claims.is_some() {
            self.coverage.hidden.push(Hidden { path: path.clone(), entries: 1 });
        }
        self.cover(path, CoverKind::Mount);
        Ok(())
    }

    fn note_gap(&mut self, path: &TreePath, problem: Problem) {
        let gap = Gap { path: path.clone(), reason: problem.reason };
        match problem.kind {
            ProblemKind::Unreadable => self.coverage.unreadable.push(gap),
            ProblemKind::Unstable => self.coverage.unstable.push(gap),
        }
    }

    fn note_mount(&mut self, path: &TreePath, mount: &MountSeen) {
        let MountSeen { treatment, filesystem, source } = mount.clone();
        self.coverage.mounts.push(Mount { path: path.clone(), content: treatment, filesystem, source });
    }

    fn cover(&mut self, path: &TreePath, kind: CoverKind) {
        self.covers.push(Cover { path: path.clone(), kind });
    }

    /// What covers `path` from above.
    fn cover_of(&mut self, path: &TreePath) -> Option<(TreePath, CoverKind)> {
        while self.covers.pop_if(|cover| !path.starts_with(&cover.path)).is_some() {}
        self.covers.last().map(|cover| (cover.path.clone(), cover.kind))
    }

    /// Counts an entry of the spec to the mount that hides it.
    fn count_hidden(&mut self) {
        let Some(cover) = self.covers.last() else { return };
        match self.coverage.hidden.last_mut() {
            Some(hidden) if hidden.path == cover.path => hidden.entries += 1,
            _ => self.coverage.hidden.push(Hidden { path: cover.path.clone(), entries: 1 }),
        }
    }
}
