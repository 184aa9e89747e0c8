//! Normalisation: what each path contributes to the observed root, so that it
//! equals the baked root exactly when nothing in the tree is drift.
//!
//! [`recompute`] derives the observed root from manifest and findings alone. The
//! collector runs it against what an agent claims: findings cannot be left out,
//! and classes are assigned anew, not believed.

use std::iter::Peekable;
use std::slice;

use crate::contract::{Class, Contract};
use crate::digest::{Algorithm, Digest};
use crate::drift::{Attributes, AttributesError, Change, Finding, differing_fields};
use crate::entry::{Entry, Kind, Node};
use crate::manifest::{EntriesError, ListedEntry};
use crate::path::TreePath;
use crate::tree::{Contribution, OutOfOrder, TreeHasher};

/// Why findings do not fit a manifest.
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

/// Whether `path` is one of the reserved places or beneath one.
pub fn is_reserved(reserved: &[TreePath], path: &TreePath) -> bool {
    reserved.iter().any(|place| path.starts_with(place))
}

/// An observed entry with the baked value where it could not be verified.
pub fn with_baked_content(observed: &Entry, baked: &Entry) -> Entry {
    let mut entry = observed.clone();
    if let (Node::File { content: missing @ None, .. }, Node::File { content, .. }) =
        (&mut entry.node, &baked.node)
    {
        *missing = *content;
    }
    entry
}

/// Derives the observed root from the baked `entries` and the `findings`, and
/// holds each finding to manifest and contract.
///
/// # Errors
/// When the entries cannot be read, or a finding does not hold.
pub fn recompute(
    entries: impl Iterator<Item = Result<ListedEntry, EntriesError>>,
    algorithm: Algorithm,
    contract: &Contract,
    reserved: &[TreePath],
    findings: &[Finding],
) -> Result<Digest, RecomputeError> {
    let mut recompute = Recompute {
        hasher: TreeHasher::new(algorithm),
        contract,
        reserved,
        findings: findings.iter().peekable(),
        covered: None,
        last: None,
    };
    for listed in entries {
        let ListedEntry { path, entry } = listed?;
        recompute.take_findings_before(Some(&path))?;
        let finding = recompute.findings.next_if(|finding| finding.path == path);
        if let Some(finding) = finding {
            recompute.check_order(finding)?;
        }
        recompute.baked(&path, &entry, finding)?;
    }
    recompute.take_findings_before(None)?;
    Ok(recompute.hasher.finish())
}

struct Recompute<'a> {
    hasher: TreeHasher,
    contract: &'a Contract,
    reserved: &'a [TreePath],
    findings: Peekable<slice::Iter<'a, Finding>>,
    /// The unnamed mount that covers what follows, while it does.
    covered: Option<TreePath>,
    /// The finding before.
    last: Option<TreePath>,
}

impl Recompute<'_> {
    /// Takes the findings about paths that were not baked, up to `limit`.
    fn take_findings_before(&mut self, limit: Option<&TreePath>) -> Result<(), RecomputeError> {
        while let Some(finding) =
            self.findings.next_if(|finding| limit.is_none_or(|limit| finding.path < *limit))
        {
            self.unbaked(finding)?;
        }
        Ok(())
    }

    fn baked(
        &mut self,
        path: &TreePath,
        entry: &Entry,
        finding: Option<&Finding>,
    ) -> Result<(), RecomputeError> {
        let Some(finding) = finding else {
            if !self.is_covered(path) {
                self.hasher.push(path, Contribution::Entry(entry))?;
            }
            return Ok(());
        };
        self.check_class(finding)?;
        if finding.expected.as_ref() != Some(&Attributes::from(entry)) {
            return refuse(finding, "what it expected is not what the manifest has");
        }
        match (finding.change, &finding.observed) {
            (Change::Removed, None) => {}
            (Change::MountedOver, Some(_)) => self.mount(finding)?,
            (Change::Modified | Change::Replaced, Some(observed)) => {
                let observed = parse(finding, observed)?;
                let same_kind = observed.node.kind() == entry.node.kind();
                if same_kind != (finding.change == Change::Modified) {
                    return refuse(finding, "`replaced` is for another kind, `modified` for the same");
                }
                let differs = if same_kind { differing_fields(entry, &observed) } else { Vec::new() };
                if differs != finding.fields || (same_kind && differs.is_empty()) {
                    return refuse(finding, "its fields are not those that differ");
                }
                self.hasher.push(path, Contribution::Entry(&with_baked_content(&observed, entry)))?;
            }
            _ => return refuse(finding, "its change is not one that a baked path can have"),
        }
        Ok(())
    }

    fn unbaked(&mut self, finding: &Finding) -> Result<(), RecomputeError> {
        self.check_order(finding)?;
        self.check_class(finding)?;
        match (finding.change, &finding.expected, &finding.observed) {
            (Change::Added, None, Some(observed)) if finding.class == Class::Reserved => {
                parse(finding, observed).map(drop)
            }
            (Change::MountedOver, None, Some(_)) if finding.class == Class::Reserved => Ok(()),
            (Change::Added, None, Some(observed)) => {
                let observed = parse(finding, observed)?;
                Ok(self.hasher.push(&finding.path, Contribution::Entry(&observed))?)
            }
            (Change::MountedOver, None, Some(_)) => self.mount(finding),
            _ => refuse(finding, "the manifest has no such path"),
        }
    }

    /// Reserved findings contribute nothing, so the hasher would not see them.
    fn check_order(&mut self, finding: &Finding) -> Result<(), RecomputeError> {
        if self.last.as_ref().is_some_and(|last| *last >= finding.path) {
            return refuse(finding, "findings are not in tree order, or one stands twice");
        }
        self.last = Some(finding.path.clone());
        Ok(())
    }

    fn mount(&mut self, finding: &Finding) -> Result<(), RecomputeError> {
        if finding.observed.as_ref().is_none_or(|observed| observed.kind != Kind::Mount) {
            return refuse(finding, "what it observed is not a mount");
        }
        self.covered = Some(finding.path.clone());
        Ok(self.hasher.push(&finding.path, Contribution::Mount)?)
    }

    fn check_class(&self, finding: &Finding) -> Result<(), RecomputeError> {
        if self.is_covered(&finding.path) {
            return refuse(finding, "it lies beneath a mount that the contract does not name");
        }
        let class = if is_reserved(self.reserved, &finding.path) {
            Class::Reserved
        } else {
            self.contract.class_of(&finding.path)
        };
        if finding.class != class {
            return refuse(finding, format!("its class is {}, the contract says {class}", finding.class));
        }
        if class == Class::Ephemeral && finding.change != Change::MountedOver {
            return refuse(finding, "an ephemeral path may change in any way");
        }
        Ok(())
    }

    fn is_covered(&self, path: &TreePath) -> bool {
        self.covered.as_ref().is_some_and(|mount| path.starts_with(mount))
    }
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
    use crate::testing::{directory, entry, file, path, root_of, sample_tree};

    fn run(findings: &[Finding]) -> Result<Digest, RecomputeError> {
        let contract = Contract::linux();
        let reserved = [path("/var/lib/congruent")];
        recompute(sample_tree().into_iter().map(Ok), Algorithm::Blake3, &contract, &reserved, findings)
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
        Finding::compare(&path(at), Class::Immutable, &baked(at), &observed).unwrap()
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
        let mut replaced =
            Finding::compare(&path("/pipe"), Class::Immutable, &baked("/pipe"), &entry(Node::Socket, 0o600))
                .unwrap();
        replaced.change = Change::Modified;
        let unknown = Finding::removed(&path("/none"), Class::Immutable, &file(b""));
        let covered = vec![
            Finding::mounted_over(&path("/bin"), Class::Immutable, Some(&directory()), mount()),
            removed("/bin/tool"),
        ];
        for (findings, says) in [
            (vec![added("/bin/tool", Class::Immutable)], "not what the manifest has"),
            (vec![added("/tmp/x", Class::Ephemeral)], "may change in any way"),
            (vec![added("/x", Class::Ephemeral)], "the contract says immutable"),
            (vec![added("/x", Class::Reserved)], "the contract says immutable"),
            (vec![added("/y", Class::Immutable), added("/x", Class::Immutable)], "not in tree order"),
            (vec![reserved(), reserved()], "not in tree order"),
            (vec![Finding { change: Change::Removed, ..reserved() }], "no such path"),
            (vec![Finding { change: Change::MountedOver, ..added("/x", Class::Immutable) }], "not a mount"),
            (vec![removed("/pipe"), removed("/bin/tool")], "not in tree order"),
            (vec![other_expected], "not what the manifest has"),
            (vec![other_fields], "not those that differ"),
            (vec![replaced], "`replaced` is for another kind"),
            (vec![unknown], "no such path"),
            (covered, "beneath a mount"),
        ] {
            let error = run(&findings).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
