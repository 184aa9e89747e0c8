//! Promises: what a stack and a ledger say of each path, in tree order.

use std::collections::btree_map;
use std::iter::Peekable;

use crate::entry::Entry;
use crate::ledger::Ledger;
use crate::manifest::{EntriesError, ListedEntry};
use crate::path::TreePath;

/// What is promised of one path; at least one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// Where.
    pub path: TreePath,
    /// What the stack holds there.
    pub baked: Option<Entry>,
    /// The first value that was recorded after the bake.
    pub first: Option<Entry>,
}

/// Merges baked entries with the first values in a ledger. Ends after the first
/// error.
pub struct Promises<'a, I: Iterator> {
    entries: Peekable<I>,
    firsts: Peekable<btree_map::Iter<'a, TreePath, Entry>>,
}

impl<'a, I: Iterator<Item = Result<ListedEntry, EntriesError>>> Promises<'a, I> {
    /// Of these entries, in tree order, and this ledger.
    pub fn new(entries: I, ledger: &'a Ledger) -> Self {
        Self { entries: entries.peekable(), firsts: ledger.first_values().iter().peekable() }
    }
}

impl<I: Iterator<Item = Result<ListedEntry, EntriesError>>> Iterator for Promises<'_, I> {
    type Item = Result<Promise, EntriesError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next_baked = match self.entries.peek() {
            Some(Err(_)) => return self.entries.next().and_then(Result::err).map(Err),
            Some(Ok(listed)) => Some(&listed.path),
            None => None,
        };
        let is_next = |path: &TreePath| next_baked.is_none_or(|baked| path <= baked);
        let first = self.firsts.next_if(|(path, _)| is_next(path));
        let Some((path, first)) = first else {
            let ListedEntry { path, entry } = self.entries.next()?.ok()?;
            return Some(Ok(Promise { path, baked: Some(entry), first: None }));
        };
        let baked = self.entries.next_if(|listed| listed.as_ref().is_ok_and(|listed| listed.path == *path));
        let baked = baked.and_then(Result::ok).map(|listed| listed.entry);
        Some(Ok(Promise { path: path.clone(), baked, first: Some(first.clone()) }))
    }
}
