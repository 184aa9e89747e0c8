//! Which package explains that an entry differs.
//!
//! A package explains a difference only where it came, went or has another
//! version. An entry of a package that is the same in both images has no business
//! to differ, and is set apart: a database that now says otherwise of its owner
//! must not hide that.

use std::collections::BTreeMap;

use congruent_protocol::drift::Change;
use congruent_protocol::entry::Entry;
use congruent_protocol::manifest::{Package, Packages};
use serde::Serialize;

use super::{Belongs, Changed, Counts};

/// What became of the packages.
#[derive(Debug)]
pub(crate) struct PackageChanges {
    /// Whose database it is, such as `dpkg`.
    pub(crate) manager: String,
    /// The packages that came, went or have another version, by name.
    pub(crate) changes: Vec<PackageChange>,
    /// The packages that are the same in both and have entries that differ.
    pub(crate) unchanged: Vec<Package>,
}

/// A package that came, went or has another version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackageChange {
    pub(crate) name: String,
    pub(crate) architecture: String,
    /// The old version; none where it came.
    pub(crate) from: Option<String>,
    /// The new version; none where it went.
    pub(crate) to: Option<String>,
    /// Its entries that differ.
    pub(crate) entries: Counts,
}

/// In what way a package differs. Whether a version is higher is for its manager
/// to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PackageChangeKind {
    Added,
    Removed,
    Updated,
}

impl PackageChangeKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Updated => "updated",
        }
    }
}

impl PackageChange {
    pub(crate) fn kind(&self) -> PackageChangeKind {
        match (&self.from, &self.to) {
            (None, _) => PackageChangeKind::Added,
            (_, None) => PackageChangeKind::Removed,
            _ => PackageChangeKind::Updated,
        }
    }
}

/// What became of one package of a list.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is the same in both images: its place in the new list.
    Kept(usize),
    /// Its place among the changes.
    Changed(usize),
}

/// Says of each entry what it belongs to.
pub(super) struct Attribution {
    /// None where packages cannot be compared.
    manager: Option<String>,
    old: Vec<Fate>,
    new: Vec<Fate>,
    changes: Vec<PackageChange>,
    /// The new list, and where each of its packages that is needed went.
    listed: Vec<Package>,
    unchanged: Vec<Package>,
    places: BTreeMap<usize, usize>,
}

impl Attribution {
    pub(super) fn of(old: Option<&Packages>, new: Option<&Packages>) -> Self {
        let mut attribution = Self {
            manager: None,
            old: Vec::new(),
            new: Vec::new(),
            changes: Vec::new(),
            listed: Vec::new(),
            unchanged: Vec::new(),
            places: BTreeMap::new(),
        };
        if let (Some(old), Some(new)) = (old, new)
            && old.manager == new.manager
        {
            attribution.manager = Some(new.manager.clone());
            attribution.listed.clone_from(&new.list);
            attribution.pair(&old.list, &new.list);
        }
        attribution
    }

    /// Pairs what is the same, then by name and architecture what is left.
    fn pair(&mut self, old: &[Package], new: &[Package]) {
        let mut fates = [vec![None; old.len()], vec![None; new.len()]];
        let mut same: BTreeMap<&Package, Vec<usize>> = BTreeMap::new();
        for (index, package) in new.iter().enumerate().rev() {
            same.entry(package).or_default().push(index);
        }
        for (index, package) in old.iter().enumerate() {
            if let Some(kept) = same.get_mut(package).and_then(Vec::pop) {
                fates[0][index] = Some(Fate::Kept(kept));
                fates[1][kept] = Some(Fate::Kept(kept));
            }
        }
        let mut left: BTreeMap<(&str, &str), [Vec<usize>; 2]> = BTreeMap::new();
        for (side, list) in [old, new].into_iter().enumerate() {
            for (index, package) in list.iter().enumerate().filter(|(index, _)| fates[side][*index].is_none())
            {
                left.entry((&package.name, &package.architecture)).or_default()[side].push(index);
            }
        }
        for ((name, architecture), [was, is]) in left {
            // Several versions at once, as of kernels, do not follow on one another.
            let pairs: Vec<_> = match (&was[..], &is[..]) {
                (&[was], &[is]) => vec![(Some(was), Some(is))],
                _ => {
                    was.iter().map(|&w| (Some(w), None)).chain(is.iter().map(|&i| (None, Some(i)))).collect()
                }
            };
            for (was, is) in pairs {
                let fate = Some(Fate::Changed(self.changes.len()));
                was.into_iter().for_each(|was| fates[0][was] = fate);
                is.into_iter().for_each(|is| fates[1][is] = fate);
                self.changes.push(PackageChange {
                    name: name.to_owned(),
                    architecture: architecture.to_owned(),
                    from: was.map(|was| old[was].version.clone()),
                    to: is.map(|is| new[is].version.clone()),
                    entries: Counts::default(),
                });
            }
        }
        let [old, new] = fates.map(|fates| fates.into_iter().flatten().collect());
        (self.old, self.new) = (old, new);
    }

    /// What the difference of an entry belongs to.
    pub(super) fn of_entry(&mut self, changed: &Changed) -> Belongs {
        let fate = |fates: &[Fate], entry: &Option<Entry>| {
            let place = entry.as_ref()?.package.checked_sub(1)?;
            fates.get(place as usize).copied()
        };
        let (was, is) = (fate(&self.old, &changed.old), fate(&self.new, &changed.new));
        match (was, is) {
            (_, Some(Fate::Kept(kept))) | (Some(Fate::Kept(kept)), _) => {
                Belongs::Outside(self.place_of(kept))
            }
            (_, Some(Fate::Changed(change))) => Belongs::Package(change),
            // What is left behind when its package goes is not explained by that.
            (Some(Fate::Changed(change)), None) if changed.change == Change::Removed => {
                Belongs::Package(change)
            }
            _ => Belongs::Nowhere,
        }
    }

    fn place_of(&mut self, kept: usize) -> usize {
        *self.places.entry(kept).or_insert_with(|| {
            self.unchanged.push(self.listed[kept].clone());
            self.unchanged.len() - 1
        })
    }

    /// The packages, each with how many of these entries belong to it.
    pub(super) fn finish(mut self, changes: &[Changed]) -> Option<PackageChanges> {
        for changed in changes {
            if let Belongs::Package(index) = changed.belongs {
                self.changes[index].entries.add(changed.change);
            }
        }
        let Self { changes, unchanged, .. } = self;
        Some(PackageChanges { manager: self.manager?, changes, unchanged })
    }
}

/// A directory that came or went, that no package owns alone, and beneath which
/// all belongs to packages that changed: it came or went with them.
pub(super) fn adopt_directories(changes: &mut [Changed]) {
    for index in (0..changes.len()).rev() {
        let changed = &changes[index];
        let is_whole = matches!(changed.change, Change::Added | Change::Removed) && changed.is_directory();
        if !is_whole || changed.belongs != Belongs::Nowhere {
            continue;
        }
        let beneath =
            || changes[index + 1..].iter().take_while(|other| other.path.starts_with(&changed.path));
        if let Some(first) = beneath().next()
            && beneath().all(|other| matches!(other.belongs, Belongs::Package(_)))
        {
            changes[index].belongs = first.belongs;
        }
    }
}
