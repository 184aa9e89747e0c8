//! How a set of findings is told: by its digest, and by the difference to a set
//! that the collector has.
//!
//! Where the difference is small it stands in the report. A large one goes ahead in
//! *pages*, each named by its digest; the report then has a *cover*, which says where
//! in the tree how much has changed. The report and its pages are one: they are
//! committed together or not at all.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::digest::{Algorithm, Digest};
use crate::drift::Finding;
use crate::path::TreePath;

use super::findings_digest;

/// The most JSON of findings that stands in the report itself, in bytes.
pub const MAX_INLINE_BYTES: usize = 64 << 10;
/// The most JSON of findings in a page, in bytes, but for a page of a single one.
pub const PAGE_BYTES: usize = 1 << 20;
/// The most pages of a report.
pub const MAX_PAGES: usize = 1024;
/// The most places in a cover.
pub const MAX_COVERS: usize = 64;

/// The whole current set of findings, as the difference to an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetChange {
    /// The digest of the whole set, as [`findings_digest`] makes it.
    pub digest: Digest,
    /// How many findings it has.
    pub count: u64,
    /// The digest of the set that this is the difference to; without it, to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// Findings that are new or have become others, in tree order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Finding>,
    /// Where there is none any more, in tree order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<TreePath>,
    /// Where the pages' findings lie, in tree order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cover: Vec<Cover>,
    /// Where `added` is too long: the pages that it is on, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<PageId>,
}

/// A part of the tree in which findings lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cover {
    /// The topmost path: it and all beneath.
    #[serde(flatten)]
    pub path: TreePath,
    /// How many findings lie there.
    pub count: u64,
    /// Their digest, as [`findings_digest`] makes it.
    pub digest: Digest,
}

/// A page: the JSON of findings, as an array without white space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageId {
    /// The digest of the JSON.
    pub digest: Digest,
    /// How many findings it has.
    pub count: u64,
}

/// A page as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its name.
    pub id: PageId,
    /// Its JSON.
    pub json: Vec<u8>,
}

/// Why a difference does not lead to the set that it names.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The set that it is the difference to is not known.
    #[error("the set of findings {0} is not known here; send the whole set")]
    UnknownBase(Digest),
    /// Pages are missing.
    #[error("{} of the report's pages have not arrived; send them first", .0.len())]
    MissingPages(Vec<Digest>),
    /// More pages than a report may have.
    #[error("the report has {0} pages, the limit is {MAX_PAGES}")]
    TooManyPages(usize),
    /// A page is not JSON of findings, or not as many as it says.
    #[error("the page {0} is not the {1} findings that the report says")]
    Page(Digest, u64),
    /// A path stands twice, or out of order.
    #[error("the findings are not in tree order at {0}, or one stands twice")]
    Order(TreePath),
    /// What is resolved was never there.
    #[error("{0} is resolved, and was no finding of the base")]
    NotThere(TreePath),
    /// The cover does not say what the pages have.
    #[error("the report's cover is not that of its pages")]
    Cover,
    /// The set is another.
    #[error("the findings come to the set {found}, the report names {stated}")]
    Digest {
        /// As computed.
        found: Digest,
        /// As stated.
        stated: Digest,
    },
}

impl SetChange {
    /// The set `now` as the difference to `base`, and the pages that go ahead of it.
    /// Both are in tree order.
    pub fn between(base: Option<&[Finding]>, now: &[Finding]) -> (Self, Vec<Page>) {
        let (added, resolved) = difference(base.unwrap_or_default(), now);
        let mut change = Self {
            digest: findings_digest(now),
            count: now.len() as u64,
            base: base.map(findings_digest),
            added: Vec::new(),
            resolved,
            cover: Vec::new(),
            pages: Vec::new(),
        };
        let pages = paged(&added);
        if let [] | [_] = &pages[..]
            && pages.iter().all(|page| page.json.len() <= MAX_INLINE_BYTES)
        {
            change.added = added.into_iter().cloned().collect();
            return (change, Vec::new());
        }
        change.cover = covers(&added);
        change.pages = pages.iter().map(|page| page.id.clone()).collect();
        (change, pages)
    }

    /// The whole set: `base` is the one that it names, `page` gives what has arrived.
    ///
    /// # Errors
    /// When the difference does not lead there.
    pub fn apply(
        self,
        base: impl FnOnce(&Digest) -> Option<Vec<Finding>>,
        mut page: impl FnMut(&Digest) -> Option<Vec<u8>>,
    ) -> Result<Vec<Finding>, ChangeError> {
        let Self { digest, added, resolved, cover, pages, .. } = self;
        let added = if pages.is_empty() { added } else { read_pages(&pages, &mut page)? };
        check_order(added.iter().map(|finding| &finding.path))?;
        check_order(resolved.iter())?;
        if cover != covers_of_pages(&added, !pages.is_empty()) {
            return Err(ChangeError::Cover);
        }
        let set = match self.base {
            None => merge(Vec::new(), added, resolved)?,
            Some(name) => merge(base(&name).ok_or(ChangeError::UnknownBase(name))?, added, resolved)?,
        };
        let found = findings_digest(&set);
        if found == digest && set.len() as u64 == self.count {
            return Ok(set);
        }
        Err(ChangeError::Digest { found, stated: digest })
    }
}

/// What is in `now` and not alike in `base`, and where `base` has something and `now`
/// nothing.
fn difference<'a>(base: &[Finding], now: &'a [Finding]) -> (Vec<&'a Finding>, Vec<TreePath>) {
    let (mut added, mut resolved) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (base.iter().peekable(), now.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return (added, resolved),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(&new.path),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        match (before, after) {
            (Some(before), None) => resolved.push(before.path.clone()),
            (before, Some(after)) if before != Some(after) => added.push(after),
            _ => {}
        }
    }
}

/// Puts findings onto pages.
fn paged(findings: &[&Finding]) -> Vec<Page> {
    let mut pages = Vec::new();
    let (mut json, mut count) = (vec![b'['], 0);
    for finding in findings {
        let one = serde_json::to_vec(finding).expect("findings always serialise");
        if count > 0 && json.len() + one.len() > PAGE_BYTES {
            pages.push(page(std::mem::replace(&mut json, vec![b'[']), count));
            count = 0;
        }
        if count > 0 {
            json.push(b',');
        }
        json.extend_from_slice(&one);
        count += 1;
    }
    if count > 0 {
        pages.push(page(json, count));
    }
    pages
}

fn page(mut json: Vec<u8>, count: u64) -> Page {
    json.push(b']');
    Page { id: PageId { digest: Algorithm::Blake3.digest(&json), count }, json }
}

fn read_pages(
    pages: &[PageId],
    page: &mut impl FnMut(&Digest) -> Option<Vec<u8>>,
) -> Result<Vec<Finding>, ChangeError> {
    if pages.len() > MAX_PAGES {
        return Err(ChangeError::TooManyPages(pages.len()));
    }
    let (mut findings, mut missing) = (Vec::new(), Vec::new());
    for PageId { digest, count } in pages {
        let Some(json) = page(digest) else {
            missing.push(*digest);
            continue;
        };
        let on_page: Vec<Finding> =
            serde_json::from_slice(&json).map_err(|_| ChangeError::Page(*digest, *count))?;
        if on_page.len() as u64 != *count || Algorithm::Blake3.digest(&json) != *digest {
            return Err(ChangeError::Page(*digest, *count));
        }
        findings.extend(on_page);
    }
    if missing.is_empty() { Ok(findings) } else { Err(ChangeError::MissingPages(missing)) }
}

/// The cover of findings that stand on pages; those in the report have none.
fn covers_of_pages(findings: &[Finding], are_on_pages: bool) -> Vec<Cover> {
    if are_on_pages { covers(&findings.iter().collect::<Vec<_>>()) } else { Vec::new() }
}

/// The deepest cover that has no more than [`MAX_COVERS`] places.
fn covers(findings: &[&Finding]) -> Vec<Cover> {
    let deepest = findings.iter().map(|finding| finding.path.depth()).max().unwrap_or(0);
    // The first depths at which the tree branches too much end the search.
    let mut depth = 0;
    while depth < deepest && places_at(findings, depth + 1) <= MAX_COVERS {
        depth += 1;
    }
    let mut covers = Vec::new();
    for beneath in findings.chunk_by(|one, other| at_depth(one, depth) == at_depth(other, depth)) {
        let digest = digest_of(beneath);
        let path = TreePath::new(at_depth(beneath[0], depth)).unwrap_or_else(|_| TreePath::root());
        covers.push(Cover { path, count: beneath.len() as u64, digest });
    }
    covers
}

/// How many places there are at a depth, counted no further than need be.
fn places_at(findings: &[&Finding], depth: usize) -> usize {
    let same = |one: &&Finding, other: &&Finding| at_depth(one, depth) == at_depth(other, depth);
    findings.chunk_by(same).take(MAX_COVERS + 1).count()
}

/// The bytes of a finding's path down to a depth.
fn at_depth(finding: &Finding, depth: usize) -> &[u8] {
    let bytes = finding.path.as_bytes();
    let mut slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    match slashes.nth(depth) {
        Some(0) => b"/",
        Some(end) => &bytes[..end],
        None => bytes,
    }
}

fn digest_of(findings: &[&Finding]) -> Digest {
    Algorithm::Blake3.digest(&serde_json::to_vec(findings).expect("findings always serialise"))
}

fn check_order<'a>(paths: impl Iterator<Item = &'a TreePath>) -> Result<(), ChangeError> {
    let mut last: Option<&TreePath> = None;
    for path in paths {
        if last.is_some_and(|last| last >= path) {
            return Err(ChangeError::Order(path.clone()));
        }
        last = Some(path);
    }
    Ok(())
}

/// Puts what was added into a set, and takes what was resolved out of it.
fn merge(
    base: Vec<Finding>,
    added: Vec<Finding>,
    resolved: Vec<TreePath>,
) -> Result<Vec<Finding>, ChangeError> {
    let mut set = Vec::with_capacity(base.len() + added.len());
    let (mut added, mut resolved) = (added.into_iter().peekable(), resolved.into_iter().peekable());
    for finding in base {
        while let Some(new) = added.next_if(|new| new.path < finding.path) {
            set.push(new);
        }
        let is_resolved = resolved.next_if(|path| *path == finding.path).is_some();
        match added.next_if(|new| new.path == finding.path) {
            Some(new) if !is_resolved => set.push(new),
            Some(new) => return Err(ChangeError::Order(new.path)),
            None if !is_resolved => set.push(finding),
            None => {}
        }
    }
    set.extend(added);
    match resolved.next() {
        None => Ok(set),
        Some(path) => Err(ChangeError::NotThere(path)),
    }
}

#[cfg(test)]
mod tests;
