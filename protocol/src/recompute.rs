//! The observed root, derived again from stack, ledger and findings alone.
//!
//! The collector runs this against what an agent claims: findings cannot be left
//! out or made up, and what each path is held to is worked out anew, not believed.

use std::iter::Peekable;
use std::slice;

use crate::contract::{Contract, Follower, Terms};
use crate::digest::{Algorithm, Digest};
use crate::drift::{Attributes, AttributesError, Change, Finding};
use crate::entry::{Entry, Kind};
use crate::ledger::Ledger;
use crate::manifest::{EntriesError, ListedEntry};
use crate::normalise::{Sides, is_reserved, normalise};
use crate::path::TreePath;
use crate::promise::{Promise, Promises};
use crate::tree::{Contribution, OutOfOrder, TreeHasher};

/// Why findings do not fit a stack.
#[derive(Debug, thiserror::Error)]
pub enum RecomputeError {
    /// The manifest's entries cannot be read.
    #[error(transparent)]
    Entries(#[from] EntriesError),
    /// Findings are not in tree order, or one stands twice.
    #[error(transparent)]
    Order(#[from] OutOfOrder),
    /// A finding contradicts manifest, contract or itself.
    #[error("the finding at {path} does not hold: {why}")]
    Finding {
        /// Where.
        path: TreePath,
        /// What it contradicts.
        why: String,
    },
    /// The attributes in a finding are not an entry's.
    #[error("the finding at {path} does not hold")]
    Attributes {
        /// Where.
        path: TreePath,
        /// What is wrong with them.
        #[source]
        source: AttributesError,
    },
}

/// Derives the observed root from the baked `entries`, the `ledger` and the
/// `findings`, and holds each finding to them.
///
/// # Errors
/// When the entries cannot be read, or a finding does not hold.
pub fn recompute(
    entries: impl Iterator<Item = Result<ListedEntry, EntriesError>>,
    algorithm: Algorithm,
    contract: &Contract,
    reserved: &[TreePath],
    ledger: &Ledger,
    findings: &[Finding],
) -> Result<Digest, RecomputeError> {
    let mut recompute = Recompute {
        hasher: TreeHasher::new(algorithm),
        follower: contract.follow(),
        reserved,
        findings: findings.iter().peekable(),
        covered: None,
        last: None,
    };
    for promise in Promises::new(entries, ledger) {
        let promise = promise?;
        recompute.take_findings_before(Some(&promise.path))?;
        let finding = recompute.findings.next_if(|finding| finding.path == promise.path);
        match finding {
            Some(finding) => recompute.found(finding, &promise)?,
            None => recompute.as_promised(&promise)?,
        }
    }
    recompute.take_findings_before(None)?;
    Ok(recompute.hasher.finish())
}

struct Recompute<'a> {
    hasher: TreeHasher,
    follower: Follower<'a>,
    reserved: &'a [TreePath],
    findings: Peekable<slice::Iter<'a, Finding>>,
    /// The unnamed mount that covers what follows, while it does.
    covered: Option<TreePath>,
    /// The finding before.
    last: Option<TreePath>,
}

impl Recompute<'_> {
    /// Takes the findings about paths that nothing was promised of, up to `limit`.
    fn take_findings_before(&mut self, limit: Option<&TreePath>) -> Result<(), RecomputeError> {
        while let Some(finding) =
            self.findings.next_if(|finding| limit.is_none_or(|limit| finding.path < *limit))
        {
            let nothing = Promise { path: finding.path.clone(), baked: None, first: None };
            self.found(finding, &nothing)?;
        }
        Ok(())
    }

    /// Where there is no finding, what was baked stands.
    fn as_promised(&mut self, promise: &Promise) -> Result<(), RecomputeError> {
        if let Some(entry) = &promise.baked
            && !self.is_covered(&promise.path)
        {
            let terms = self.follower.terms_of(&promise.path);
            self.hasher.push(&promise.path, Contribution::of(entry, terms))?;
        }
        Ok(())
    }

    fn found(&mut self, finding: &Finding, promise: &Promise) -> Result<(), RecomputeError> {
        self.check_order(finding)?;
        if self.is_covered(&finding.path) {
            return refuse(finding, "it lies beneath a mount that the contract does not name");
        }
        if is_reserved(self.reserved, &finding.path) {
            check_class(finding, Terms::reserved())?;
            return check_reserved(finding);
        }
        let terms = self.follower.terms_of(&finding.path);
        check_class(finding, terms)?;
        if finding.change == Change::MountedOver {
            return self.mount(finding, promise.baked.as_ref());
        }
        let observed = finding.observed.as_ref().map(|attributes| parse(finding, attributes)).transpose()?;
        let Promise { baked, first, .. } = promise;
        check_content(finding, terms, baked.as_ref(), observed.as_ref())?;
        let sides = Sides { baked: baked.as_ref(), first: first.as_ref(), observed: observed.as_ref() };
        let normalised = normalise(&finding.path, terms, sides);
        match &normalised.finding {
            None => return refuse(finding, "the contract allows what it tells of"),
            Some(own) if own == finding => {}
            Some(own) => return refuse(finding, difference(finding, own)),
        }
        Ok(normalised.contribute(&mut self.hasher, &finding.path, terms, sides)?)
    }

    /// Reserved findings contribute nothing, so the hasher would not see them.
    fn check_order(&mut self, finding: &Finding) -> Result<(), RecomputeError> {
        if self.last.as_ref().is_some_and(|last| *last >= finding.path) {
            return refuse(finding, "findings are not in tree order, or one stands twice");
        }
        self.last = Some(finding.path.clone());
        Ok(())
    }

    fn mount(&mut self, finding: &Finding, baked: Option<&Entry>) -> Result<(), RecomputeError> {
        let Some(observed) = finding.observed.as_ref().filter(|observed| observed.kind == Kind::Mount) else {
            return refuse(finding, "what it observed is not a mount");
        };
        let own = Finding::mounted_over(&finding.path, finding.class, baked, observed.clone());
        if own != *finding {
            return refuse(finding, difference(finding, &own));
        }
        self.covered = Some(finding.path.clone());
        Ok(self.hasher.push(&finding.path, Contribution::Mount)?)
    }

    fn is_covered(&self, path: &TreePath) -> bool {
        self.covered.as_ref().is_some_and(|mount| path.starts_with(mount))
    }
}

fn check_class(finding: &Finding, terms: &Terms) -> Result<(), RecomputeError> {
    if finding.class == terms.class {
        return Ok(());
    }
    refuse(finding, format!("its class is {}, the contract says {}", finding.class, terms.class))
}

/// In reserved places something is there that must not be, or mounted.
fn check_reserved(finding: &Finding) -> Result<(), RecomputeError> {
    match (finding.change, &finding.expected, &finding.observed) {
        (Change::Added, None, Some(observed)) => parse(finding, observed).map(drop),
        (Change::MountedOver, None, Some(_)) => Ok(()),
        _ => refuse(finding, "nothing is baked in a reserved place"),
    }
}

/// Content is keyed where the contract calls it sensitive, and only there: else
/// nobody could tell what it was.
fn check_content(
    finding: &Finding,
    terms: &Terms,
    baked: Option<&Entry>,
    observed: Option<&Entry>,
) -> Result<(), RecomputeError> {
    let content = observed.and_then(Entry::content);
    let is_baked = content == baked.and_then(Entry::content);
    match content {
        Some(digest) if digest.is_keyed() && !terms.sensitive => {
            refuse(finding, "its content is keyed, and the contract does not call it sensitive")
        }
        Some(digest) if !digest.is_keyed() && terms.sensitive && !is_baked => {
            refuse(finding, "its content is sensitive, and is told without a key")
        }
        _ => Ok(()),
    }
}

/// In what a finding is not the one that follows.
fn difference(finding: &Finding, own: &Finding) -> String {
    if finding.expected != own.expected || finding.held_to != own.held_to {
        return "what it expected is not what the manifest or the ledger has".to_owned();
    }
    if finding.change != own.change {
        return format!("it says {}, and what it tells of is {}", finding.change.name(), own.change.name());
    }
    if finding.fields != own.fields {
        return "its fields are not those that differ".to_owned();
    }
    if finding.forbidden != own.forbidden {
        return "what it calls forbidden is not what the rule forbids".to_owned();
    }
    "what it observed has more or less than an entry".to_owned()
}

fn refuse<T>(finding: &Finding, why: impl Into<String>) -> Result<T, RecomputeError> {
    Err(RecomputeError::Finding { path: finding.path.clone(), why: why.into() })
}

fn parse(finding: &Finding, attributes: &Attributes) -> Result<Entry, RecomputeError> {
    attributes.to_entry().map_err(|source| RecomputeError::Attributes { path: finding.path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Class;
    use crate::entry::Node;
    use crate::testing::{directory, entry, file, path, root_of, sample_tree};

    fn run(findings: &[Finding]) -> Result<Digest, RecomputeError> {
        let contract = Contract::linux();
        let reserved = [path("/var/lib/congruent")];
        let ledger = Ledger::empty(root_of(&sample_tree()));
        recompute(
            sample_tree().into_iter().map(Ok),
            Algorithm::Blake3,
            &contract,
            &reserved,
            &ledger,
            findings,
        )
    }

    fn baked(at: &str) -> Entry {
        sample_tree().into_iter().find(|listed| listed.path == path(at)).unwrap().entry
    }

    fn removed(at: &str) -> Finding {
        Finding::removed(&path(at), Class::Immutable, &baked(at))
    }

    fn added(at: &str, class: Class) -> Finding {
        Finding::added(&path(at), class, (&file(b"new")).into())
    }

    fn modified(at: &str, change: impl FnOnce(&mut Entry)) -> Finding {
        let mut observed = baked(at);
        change(&mut observed);
        Finding::compare(&path(at), Terms::immutable(), &baked(at), &observed).unwrap()
    }

    #[test]
    fn no_findings_give_the_baked_root() {
        assert_eq!(run(&[]).unwrap(), root_of(&sample_tree()));
    }

    #[test]
    fn findings_give_the_root_of_the_changed_tree() {
        let mut tree = sample_tree();
        tree.retain(|listed| listed.path != path("/pipe"));
        tree[2].entry.mode = 0o4755;
        tree.insert(2, ListedEntry { path: path("/bin/a"), entry: file(b"new") });
        let findings = [
            added("/bin/a", Class::Immutable),
            modified("/bin/tool", |entry| entry.mode = 0o4755),
            removed("/pipe"),
            Finding::added(&path("/var/lib/congruent/x"), Class::Reserved, (&file(b"")).into()),
        ];
        assert_eq!(run(&findings).unwrap(), root_of(&tree));
    }

    #[test]
    fn a_mount_is_a_leaf_and_unread_content_counts_as_baked() {
        let mount = Attributes::mount(Some("tmpfs".to_owned()), None);
        let over = Finding::mounted_over(&path("/bin"), Class::Immutable, Some(&directory()), mount);
        assert_ne!(run(&[over]).unwrap(), root_of(&sample_tree()));
        let unread = modified("/bin/tool", |entry| {
            entry.uid = 7;
            entry.node = Node::File { size: 4, content: None };
        });
        let mut tree = sample_tree();
        tree[2].entry.uid = 7;
        assert_eq!(run(&[unread]).unwrap(), root_of(&tree));
    }

    #[test]
    fn findings_that_do_not_hold_are_refused() {
        let mount = || Attributes::mount(None, None);
        let reserved = || Finding::added(&path("/var/lib/congruent/x"), Class::Reserved, (&file(b"")).into());
        let mut other_expected = modified("/bin/tool", |entry| entry.mode = 0);
        other_expected.expected = Some((&file(b"other")).into());
        let mut other_fields = modified("/bin/tool", |entry| entry.mode = 0);
        other_fields.fields.clear();
        let mut replaced = Finding::compare(
            &path("/pipe"),
            Terms::immutable(),
            &baked("/pipe"),
            &entry(Node::Socket, 0o600),
        )
        .unwrap();
        replaced.change = Change::Modified;
        let unknown = Finding::removed(&path("/none"), Class::Immutable, &file(b""));
        let covered = vec![
            Finding::mounted_over(&path("/bin"), Class::Immutable, Some(&directory()), mount()),
            removed("/bin/tool"),
        ];
        for (findings, says) in [
            (vec![added("/bin/tool", Class::Immutable)], "not what the manifest or the ledger has"),
            (vec![added("/tmp/x", Class::Ephemeral)], "the contract allows what it tells of"),
            (vec![added("/x", Class::Ephemeral)], "the contract says immutable"),
            (vec![added("/x", Class::Reserved)], "the contract says immutable"),
            (vec![added("/y", Class::Immutable), added("/x", Class::Immutable)], "not in tree order"),
            (vec![reserved(), reserved()], "not in tree order"),
            (vec![Finding { change: Change::Removed, ..reserved() }], "nothing is baked in a reserved place"),
            (vec![Finding { change: Change::MountedOver, ..added("/x", Class::Immutable) }], "not a mount"),
            (vec![removed("/pipe"), removed("/bin/tool")], "not in tree order"),
            (vec![other_expected], "not what the manifest or the ledger has"),
            (vec![other_fields], "not those that differ"),
            (vec![replaced], "it says modified, and what it tells of is replaced"),
            (vec![unknown], "the contract allows what it tells of"),
            (covered, "beneath a mount"),
        ] {
            let error = run(&findings).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
