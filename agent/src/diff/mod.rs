//! What changed between two images, from their manifests alone.
//!
//! Values from values: entries are merged as they are read, so that memory follows
//! the number of changes and not the size of the images. Nothing here says whether
//! a change is good; [`allow`] says whether it was declared.

pub(crate) mod allow;
mod attribution;
mod entries;
mod places;
mod promise;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::io::{Read, Seek};

use congruent_protocol::contract::{Class, Contract, Terms};
use congruent_protocol::digest::{Algorithm, ContentKey, Digest};
use congruent_protocol::drift::{Attributes, Change, Field, Finding};
use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::manifest::{EntriesError, Manifest, Package};
use congruent_protocol::path::TreePath;
use serde::Serialize;

pub(crate) use attribution::{PackageChange, PackageChangeKind, PackageChanges};
pub(crate) use places::{Place, places};
pub(crate) use promise::{ContractChanges, Delta, Pair, WordChange};

/// Everything that differs between an old and a new image.
#[derive(Debug)]
pub(crate) struct Diff {
    /// The entries that differ, in tree order.
    pub(crate) changes: Vec<Changed>,
    /// What became of the packages; none where they are not recorded on both
    /// sides, by the same manager.
    pub(crate) packages: Option<PackageChanges>,
    /// What became of the contract.
    pub(crate) contract: ContractChanges,
    /// What became of the words that tell the origin.
    pub(crate) origin: Vec<WordChange>,
}

/// An entry that differs. Times do not count, unless a contract is strict about them.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) path: TreePath,
    pub(crate) change: Change,
    pub(crate) fields: Vec<Field>,
    /// The new contract's class for the path.
    pub(crate) class: Class,
    pub(crate) old: Option<Entry>,
    pub(crate) new: Option<Entry>,
    pub(crate) belongs: Belongs,
}

/// What explains that an entry differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belongs {
    /// A package came, went or has another version: its place among the changes.
    Package(usize),
    /// It belongs to a package that is the same in both images, and differs
    /// nonetheless: the package's place among those.
    Outside(usize),
    /// No package.
    Nowhere,
}

/// How many entries differ, by how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) added: u64,
    pub(crate) removed: u64,
    pub(crate) modified: u64,
    pub(crate) replaced: u64,
}

/// Why two manifests cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiffError {
    #[error(
        "{name} {version} was baked twice: OLD has the root {old}, NEW has the root {new}; a version names one \
         image, so give the later one another version"
    )]
    BakedTwice { name: String, version: String, old: Digest, new: Digest },
    #[error(
        "OLD was baked with {} and NEW with {}, so their contents cannot be compared; bake one of them again with \
         the other's --digest",
        .old.name(),
        .new.name()
    )]
    TwoAlgorithms { old: Algorithm, new: Algorithm },
    #[error("cannot read the entries of OLD")]
    Old(#[source] EntriesError),
    #[error("cannot read the entries of NEW")]
    New(#[source] EntriesError),
}

impl Diff {
    /// Compares two manifests, each with the file that it was read from. Content
    /// that either contract calls sensitive is told under `key` alone.
    ///
    /// # Errors
    /// When they cannot be compared, or the files cannot be read.
    pub(crate) fn between<R: Read + Seek>(
        (old, old_file): (&Manifest, R),
        (new, new_file): (&Manifest, R),
        key: &ContentKey,
    ) -> Result<Self, DiffError> {
        let (was, is) = (old.predicate(), new.predicate());
        if was.root.algorithm() != is.root.algorithm() {
            return Err(DiffError::TwoAlgorithms { old: was.root.algorithm(), new: is.root.algorithm() });
        }
        if (&was.name, &was.version) == (&is.name, &is.version) && was.root != is.root {
            let (name, version) = (is.name.clone(), is.version.clone());
            return Err(DiffError::BakedTwice { name, version, old: was.root, new: is.root });
        }
        let mut attribution = attribution::Attribution::of(was.packages.as_ref(), is.packages.as_ref());
        let mut changes = Vec::new();
        entries::merge(
            old.entries(old_file).map_err(DiffError::Old)?,
            new.entries(new_file).map_err(DiffError::New)?,
            &entries::Contracts::new(&was.contract, &is.contract),
            |mut changed| {
                changed.belongs = attribution.of_entry(&changed);
                changed.conceal(&[&was.contract, &is.contract], key);
                changes.push(changed);
            },
        )?;
        attribution::adopt_directories(&mut changes);
        Ok(Self {
            packages: attribution.finish(&changes),
            changes,
            contract: ContractChanges::between(was, is),
            origin: promise::words(was, is),
        })
    }

    /// Whether nothing differs that is part of an image.
    pub(crate) fn is_empty(&self) -> bool {
        let packages = self.packages.as_ref().is_none_or(|packages| packages.changes.is_empty());
        self.changes.is_empty() && packages && self.contract.is_empty()
    }

    /// All entries that differ.
    pub(crate) fn counts(&self) -> Counts {
        Counts::of(&self.changes)
    }

    /// The package that an entry belongs to, where it changed outside its version.
    pub(crate) fn outside_of(&self, changed: &Changed) -> Option<&Package> {
        match changed.belongs {
            Belongs::Outside(index) => self.packages.as_ref()?.unchanged.get(index),
            _ => None,
        }
    }

    /// The packages that are the same in both images, each with its entries that
    /// differ nonetheless.
    pub(crate) fn outside(&self) -> Vec<(&Package, Vec<&Changed>)> {
        let unchanged = self.packages.iter().flat_map(|packages| &packages.unchanged);
        let mut outside: Vec<_> = unchanged.map(|package| (package, Vec::new())).collect();
        for changed in &self.changes {
            if let Belongs::Outside(index) = changed.belongs {
                outside[index].1.push(changed);
            }
        }
        outside
    }
}

impl Changed {
    /// It as a finding, with what is old as what was expected.
    pub(crate) fn finding(&self) -> Finding {
        let Self { path, class, fields, .. } = self;
        match (&self.old, &self.new) {
            (Some(old), Some(new)) if self.change == Change::Modified => {
                Finding::modified(path, *class, fields.clone(), old, new)
            }
            (Some(old), Some(new)) => Finding::replaced(path, *class, old, new),
            (Some(old), None) => Finding::removed(path, *class, old),
            (None, new) => {
                let empty = Entry::empty();
                Finding::added(path, *class, Attributes::from(new.as_ref().unwrap_or(&empty)))
            }
        }
    }

    /// Whether either side is a directory.
    fn is_directory(&self) -> bool {
        [&self.old, &self.new].into_iter().flatten().any(|entry| entry.node.is_directory())
    }

    /// What a change board reads must tell nobody what is secret.
    fn conceal(&mut self, contracts: &[&Contract], key: &ContentKey) {
        let is_secret = |terms: &Terms| terms.sensitive;
        let names_it =
            |contract: &&Contract| contract.has(is_secret) && is_secret(contract.terms_of(&self.path));
        if !contracts.iter().any(names_it) {
            return;
        }
        for entry in [&mut self.old, &mut self.new].into_iter().flatten() {
            if let Node::File { content: Some(content), .. } = &mut entry.node {
                *content = content.keyed(key);
            }
        }
    }
}

impl Counts {
    /// Counts these.
    pub(crate) fn of<'a>(changes: impl IntoIterator<Item = &'a Changed>) -> Self {
        let mut counts = Self::default();
        changes.into_iter().for_each(|changed| counts.add(changed.change));
        counts
    }

    fn add(&mut self, change: Change) {
        *match change {
            Change::Added => &mut self.added,
            Change::Removed => &mut self.removed,
            Change::Modified => &mut self.modified,
            Change::Replaced | Change::MountedOver => &mut self.replaced,
        } += 1;
    }

    /// All together.
    pub(crate) fn total(&self) -> u64 {
        self.added + self.removed + self.modified + self.replaced
    }
}
