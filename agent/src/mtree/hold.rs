//! Holding one observed entry to what a spec says of it. Pure: content that had
//! to be read again comes in as what that showed.

use std::collections::BTreeMap;

use congruent_protocol::contract::{Class, Terms};
use congruent_protocol::drift::{Attributes, Change, Field, Finding};
use congruent_protocol::entry::{Entry, Kind, Node};
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::Unchecked;

use super::claims::{Claims, Reason};

/// How many different things are named before the rest is called other things.
const MAX_NAMED: usize = 1_000;

/// What an entry's content is, held to the spec's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// It is what the spec says, or the spec says nothing, or nobody could look.
    /// SHA-256, which the sweep computes, is compared with the entry.
    Fits,
    /// It is not, by a digest that no sweep computes.
    Differs,
}

/// An entry as the spec asks for it, and the finding where it is not that.
pub(super) struct Held {
    pub(super) expected: Entry,
    pub(super) finding: Option<Finding>,
}

/// Holds `observed`, of `links` names, to `claims`.
pub(super) fn hold(path: &TreePath, claims: &Claims, observed: &Entry, links: u32, content: Content) -> Held {
    if claims.nochange {
        return Held { expected: observed.clone(), finding: None };
    }
    let kind = observed.node.kind();
    if claims.implied_kind().is_some_and(|expected| expected != kind) {
        let expected = missing_entry(claims);
        let mut finding = Finding::compare(path, Terms::immutable(), &expected, observed);
        if let Some(finding) = &mut finding {
            finding.expected = Some(claims.attributes());
        }
        return Held { expected, finding };
    }
    let mut expected = claims.lay_over(observed);
    let mut more = Vec::new();
    if let (Node::File { content: digest, .. }, Content::Differs) = (&mut expected.node, content) {
        *digest = None;
        more.push(Field::Content);
    }
    if claims.mtime.is_some_and(|mtime| !mtime.fits(observed.mtime)) {
        more.push(Field::Mtime);
    }
    let nlink = claims.nlink.filter(|nlink| kind != Kind::Directory && *nlink != links);
    if nlink.is_some() {
        more.push(Field::Nlink);
    }
    let mut finding = finding_of(path, &expected, observed, more);
    if let (Some(nlink), Some(finding)) = (nlink, &mut finding) {
        set_links(&mut finding.expected, nlink);
        set_links(&mut finding.observed, links);
    }
    Held { expected, finding }
}

fn finding_of(path: &TreePath, expected: &Entry, observed: &Entry, more: Vec<Field>) -> Option<Finding> {
    let compared = Finding::compare(path, Terms::immutable(), expected, observed);
    if more.is_empty() {
        return compared;
    }
    let mut finding = compared.unwrap_or_else(|| Finding {
        change: Change::Modified,
        expected: Some(expected.into()),
        ..Finding::added(path, Class::Immutable, observed.into())
    });
    finding.fields.extend(more);
    finding.fields.sort();
    Some(finding)
}

fn set_links(attributes: &mut Option<Attributes>, links: u32) {
    if let Some(attributes) = attributes {
        attributes.nlink = Some(links);
    }
}

/// What is known of an entry that is not there: only what is said of it. It
/// stands for the entry in the expected root alone.
pub(super) fn missing_entry(claims: &Claims) -> Entry {
    let device = claims.device.unwrap_or(congruent_protocol::entry::Device { major: 0, minor: 0 });
    let node = match claims.implied_kind().unwrap_or(Kind::File) {
        Kind::File | Kind::Mount | Kind::Whiteout | Kind::Opaque => {
            Node::File { size: 0, content: claims.sha256() }
        }
        Kind::Directory => Node::Directory,
        Kind::Symlink => Node::Symlink { target: Vec::new() },
        Kind::Fifo => Node::Fifo,
        Kind::Socket => Node::Socket,
        Kind::CharDevice => Node::CharDevice(device),
        Kind::BlockDevice => Node::BlockDevice(device),
    };
    claims.lay_over(&Entry { node, ..Entry::empty() })
}

/// What a spec says and what is not checked of it, each named once.
#[derive(Debug, Default)]
pub(super) struct Notes(BTreeMap<(String, Reason), u64>);

impl Notes {
    /// Counts one thing of one entry.
    pub(super) fn note(&mut self, what: &str, reason: Reason) {
        let key = (what.to_owned(), reason);
        let key = if self.0.len() < MAX_NAMED || self.0.contains_key(&key) {
            key
        } else {
            ("other things".to_owned(), reason)
        };
        *self.0.entry(key).or_default() += 1;
    }

    /// Counts what is not checked of an entry of this kind.
    pub(super) fn take(&mut self, claims: &Claims, kind: Kind) {
        if claims.nochange {
            return;
        }
        let is_proved = claims.proof().is_some() && kind == Kind::File;
        for (keyword, reason) in &claims.unsupported {
            let is_covered = *reason == Reason::WeakDigest && is_proved;
            self.note(keyword, if is_covered { Reason::ProvedAlready } else { *reason });
        }
        for digest in &claims.digests {
            match kind {
                Kind::File if claims.proof() == Some(digest) => {}
                Kind::File => self.note(digest.name(), Reason::ProvedAlready),
                _ => self.note(digest.name(), Reason::WrongType),
            }
        }
        if claims.link.is_some() && kind != Kind::Symlink {
            self.note("link", Reason::WrongType);
        }
        if claims.device.is_some() && !matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
            self.note("device", Reason::WrongType);
        }
        if claims.size.is_some() && kind != Kind::File {
            self.note("size", Reason::FileSystemDetail);
        }
        if claims.nlink.is_some() && kind == Kind::Directory {
            self.note("nlink", Reason::FileSystemDetail);
        }
    }

    /// All that was noted, for coverage.
    pub(super) fn into_unchecked(self) -> Vec<Unchecked> {
        let unchecked = |((what, reason), entries): ((String, Reason), u64)| Unchecked {
            what,
            reason: reason.text().to_owned(),
            entries,
            gap: reason.is_gap(),
        };
        self.0.into_iter().map(unchecked).collect()
    }
}
