//! Where changes lie that belong to no package: a few directories, each the
//! deepest that holds what changed around it.

use std::collections::BTreeMap;

use congruent_protocol::drift::Change;
use congruent_protocol::path::TreePath;

use super::{Belongs, Changed, Counts, Diff};

/// What lies in different directories of this depth is never put together.
const DEPTH: usize = 2;

/// A directory, and what changed in it and beneath.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) directory: TreePath,
    /// The changes, in tree order.
    pub(crate) changes: Vec<&'a Changed>,
}

impl Place<'_> {
    pub(crate) fn counts(&self) -> Counts {
        Counts::of(self.changes.iter().copied())
    }

    /// Whether the directory itself came or went, with all in it.
    pub(crate) fn whole(&self) -> Option<Change> {
        let first = self.changes.first().filter(|first| first.path == self.directory)?;
        matches!(first.change, Change::Added | Change::Removed).then_some(first.change)
    }
}

/// The places of all changes that belong to no package.
pub(crate) fn places(diff: &Diff) -> Vec<Place<'_>> {
    let mut groups: BTreeMap<TreePath, Place<'_>> = BTreeMap::new();
    for changed in diff.changes.iter().filter(|changed| changed.belongs == Belongs::Nowhere) {
        let home = home(changed);
        let mut group = home.clone();
        group.truncate(DEPTH);
        let place =
            groups.entry(group).or_insert_with(|| Place { directory: home.clone(), changes: Vec::new() });
        while !home.starts_with(&place.directory) {
            place.directory.truncate(place.directory.depth().saturating_sub(1));
        }
        place.changes.push(changed);
    }
    groups.into_values().collect()
}

/// The directory that changed, or in which something did.
fn home(changed: &Changed) -> TreePath {
    let parent = || changed.path.parent().unwrap_or_else(TreePath::root);
    if changed.is_directory() { changed.path.clone() } else { parent() }
}
