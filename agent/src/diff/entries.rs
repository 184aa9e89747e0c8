//! Merging the entries of two manifests, both in tree order.

use std::cmp::Ordering;
use std::io::Read;

use congruent_protocol::contract::{Class, Contract, Terms};
use congruent_protocol::drift::{Change, Field, differing_fields};
use congruent_protocol::entry::Entry;
use congruent_protocol::manifest::{EntriesError, EntriesReader, ListedEntry};
use congruent_protocol::path::TreePath;

use super::{Belongs, Changed, DiffError};

/// How strictly entries are compared: as strictly as either contract is.
pub(super) struct Contracts<'a> {
    old: &'a Contract,
    new: &'a Contract,
    /// Whether either is strict about any time. Asking for each path costs.
    compare_times: bool,
}

impl<'a> Contracts<'a> {
    pub(super) fn new(old: &'a Contract, new: &'a Contract) -> Self {
        let compare_times = [old, new].into_iter().any(|contract| contract.has(|terms| terms.mtime));
        Self { old, new, compare_times }
    }

    fn differing(&self, path: &TreePath, old: &Entry, new: &Entry) -> Vec<Field> {
        let mut terms = Terms::of(Class::Immutable);
        terms.mtime = self.compare_times
            && old.mtime != new.mtime
            && [self.old, self.new].into_iter().any(|contract| contract.terms_of(path).mtime);
        differing_fields(&terms, old, new)
    }

    fn changed(
        &self,
        path: &TreePath,
        change: Change,
        (old, new): (Option<&Entry>, Option<&Entry>),
    ) -> Changed {
        Changed {
            path: path.clone(),
            change,
            fields: Vec::new(),
            class: self.new.class_of(path),
            old: old.cloned(),
            new: new.cloned(),
            belongs: Belongs::Nowhere,
        }
    }

    fn compare(&self, path: &TreePath, old: &Entry, new: &Entry) -> Option<Changed> {
        let sides = (Some(old), Some(new));
        if old.node.kind() != new.node.kind() {
            return Some(self.changed(path, Change::Replaced, sides));
        }
        let fields = self.differing(path, old, new);
        (!fields.is_empty()).then(|| Changed { fields, ..self.changed(path, Change::Modified, sides) })
    }
}

/// One side: its reader and the entry that is next, if there is one.
struct Side<R: Read> {
    reader: EntriesReader<R>,
    next: ListedEntry,
    is_there: bool,
}

impl<R: Read> Side<R> {
    fn begin(reader: EntriesReader<R>) -> Result<Self, EntriesError> {
        let next = ListedEntry { path: TreePath::root(), entry: Entry::empty() };
        let mut side = Self { reader, next, is_there: true };
        side.advance()?;
        Ok(side)
    }

    fn advance(&mut self) -> Result<(), EntriesError> {
        self.is_there = self.reader.read(&mut self.next)?;
        Ok(())
    }
}

/// Hands what differs to `take`, in tree order.
pub(super) fn merge<R: Read>(
    old: EntriesReader<R>,
    new: EntriesReader<R>,
    contracts: &Contracts<'_>,
    mut take: impl FnMut(Changed),
) -> Result<(), DiffError> {
    let mut old = Side::begin(old).map_err(DiffError::Old)?;
    let mut new = Side::begin(new).map_err(DiffError::New)?;
    loop {
        let order = match (old.is_there, new.is_there) {
            (true, true) => old.next.path.cmp(&new.next.path),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => return Ok(()),
        };
        let (was, is) = (&old.next, &new.next);
        match order {
            Ordering::Less => take(contracts.changed(&was.path, Change::Removed, (Some(&was.entry), None))),
            Ordering::Greater => take(contracts.changed(&is.path, Change::Added, (None, Some(&is.entry)))),
            Ordering::Equal => {
                if let Some(changed) = contracts.compare(&is.path, &was.entry, &is.entry) {
                    take(changed);
                }
            }
        }
        if order.is_le() {
            old.advance().map_err(DiffError::Old)?;
        }
        if order.is_ge() {
            new.advance().map_err(DiffError::New)?;
        }
    }
}
