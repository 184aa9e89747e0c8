//! What the entries of a manifest must be by its own statement, one by one.

use super::{EntriesError, ListedEntry, Predicate};
use crate::contract::{Class, Follower, Terms};
use crate::normalise::is_reserved;
use crate::path::{TreePath, escape};

/// The rules for the entries of one manifest, which come in tree order.
pub(crate) struct Rules<'a> {
    reserved: &'a [TreePath],
    packages: usize,
    follower: Follower<'a>,
    /// No term of the contract matters to what an entry without xattrs contributes.
    is_plain: bool,
}

impl<'a> Rules<'a> {
    pub(crate) fn of(predicate: &'a Predicate) -> Self {
        let Predicate { reserved, packages, contract, .. } = predicate;
        Self {
            reserved,
            packages: packages.as_ref().map_or(0, |packages| packages.list.len()),
            follower: contract.follow(),
            is_plain: !contract.has(|terms| terms.mtime || terms.class == Class::AppendOnly),
        }
    }

    /// Checks the next entry. Gives its terms, or others by which it contributes the
    /// same.
    pub(crate) fn check(
        &mut self,
        ListedEntry { path, entry }: &ListedEntry,
    ) -> Result<&'a Terms, EntriesError> {
        if is_reserved(self.reserved, path) {
            return Err(EntriesError::Reserved(path.clone()));
        }
        if entry.package as usize > self.packages {
            let (path, package) = (path.clone(), entry.package);
            return Err(EntriesError::NoSuchPackage { path, package, listed: self.packages });
        }
        // Classifying costs; most entries need none of it here.
        if self.is_plain && entry.xattrs.is_empty() {
            return Ok(Terms::immutable());
        }
        let terms = self.follower.terms_of(path);
        match entry.xattrs.iter().find(|(name, _)| !terms.xattrs.contains(name)) {
            Some((name, _)) => {
                let name = escape(name).into_owned();
                Err(EntriesError::XattrOutOfScope { path: path.clone(), name })
            }
            None => Ok(terms),
        }
    }
}
