//! Which of many findings people and policy get to see: the gravest, since a hundred of
//! little weight would hide one. Pure.

use std::cmp::Reverse;
use std::io;

use congruent_protocol::contract::CAPABILITY;
use congruent_protocol::drift::{Attributes, Change, Field, Finding, Mode};
use congruent_protocol::entry::Kind;

/// Any of the execute bits.
const EXECUTE: u16 = 0o111;
/// setuid and setgid.
const OTHERS_RIGHTS: u16 = 0o6000;

/// How grave a finding is by itself, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Something more that runs nowhere.
    Added,
    /// Other metadata, or something is gone.
    Changed,
    /// Other content, another thing in its place, or a mark by which a layer shows something else.
    Content,
    /// Something that may run, which is more or another.
    Runs,
    /// Rights of somebody else, devices, and what the contract forbids.
    Rights,
}

/// The gravest of all, at most `count`, the gravest first and otherwise in their order.
pub(crate) fn gravest(
    findings: impl Iterator<Item = io::Result<Finding>>,
    count: usize,
) -> io::Result<Vec<Finding>> {
    let mut kept: Vec<(Weight, Finding)> = Vec::new();
    for finding in findings {
        let finding = finding?;
        kept.push((weight(&finding), finding));
        // However many there are, only a few are kept in memory.
        if kept.len() >= 2 * count {
            keep_gravest(&mut kept, count);
        }
    }
    keep_gravest(&mut kept, count);
    Ok(kept.into_iter().map(|(_, finding)| finding).collect())
}

fn keep_gravest(kept: &mut Vec<(Weight, Finding)>, count: usize) {
    kept.sort_by_key(|(weight, _)| Reverse(*weight));
    kept.truncate(count);
}

fn weight(finding: &Finding) -> Weight {
    let Finding { change, fields, expected, observed, .. } = finding;
    let is_observed = |of: fn(&Attributes) -> bool| observed.as_ref().is_some_and(of);
    let is_other = match change {
        Change::Added | Change::Replaced => true,
        Change::Modified => fields.iter().any(is_content),
        Change::Removed | Change::MountedOver => false,
    };
    let gains = |of: fn(&Attributes) -> bool| {
        let had = *change == Change::Modified && expected.as_ref().is_some_and(of);
        is_observed(of) && (is_other || !had)
    };
    let is_marked = [expected, observed].into_iter().flatten().any(is_mark);
    if !finding.forbidden.is_empty() || gains(gives_rights) {
        Weight::Rights
    } else if gains(runs) {
        Weight::Runs
    } else if is_marked || *change == Change::MountedOver || (is_other && *change != Change::Added) {
        Weight::Content
    } else if *change == Change::Added {
        Weight::Added
    } else {
        Weight::Changed
    }
}

fn gives_rights(attributes: &Attributes) -> bool {
    let is_device = matches!(attributes.kind, Kind::CharDevice | Kind::BlockDevice);
    let is_capable = attributes.xattrs.iter().any(|xattr| xattr.name.as_bytes() == CAPABILITY);
    let is_file = attributes.kind == Kind::File;
    is_device || is_capable || (is_file && has_bits(attributes, OTHERS_RIGHTS))
}

/// Whether it is what is read there; of overlay's notes, whether it is what shows.
fn is_content(field: &Field) -> bool {
    let is_overlays = |name: &str| name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.");
    match field {
        Field::Content | Field::Size | Field::Link | Field::Device => true,
        Field::Xattr(name) => is_overlays(name),
        Field::Mode | Field::Uid | Field::Gid | Field::Mtime | Field::Nlink => false,
    }
}

fn is_mark(attributes: &Attributes) -> bool {
    matches!(attributes.kind, Kind::Whiteout | Kind::Opaque)
}

fn runs(attributes: &Attributes) -> bool {
    attributes.kind == Kind::File && has_bits(attributes, EXECUTE)
}

fn has_bits(attributes: &Attributes, bits: u16) -> bool {
    attributes.mode.is_some_and(|Mode(mode)| mode & bits != 0)
}

#[cfg(test)]
mod tests {
    use congruent_protocol::contract::Class;
    use congruent_protocol::entry::{Entry, Node};
    use congruent_protocol::path::TreePath;

    use super::*;

    fn file(mode: u16, size: u64) -> Entry {
        Entry { node: Node::File { size, content: None }, mode, ..Entry::empty() }
    }

    fn path(name: &str) -> TreePath {
        TreePath::new(name).unwrap()
    }

    fn added(name: &str, entry: &Entry) -> Finding {
        Finding::added(&path(name), Class::Immutable, entry.into())
    }

    fn modified(name: &str, field: Field, was: &Entry, is: &Entry) -> Finding {
        Finding::modified(&path(name), Class::Immutable, vec![field], was, is)
    }

    #[test]
    fn the_gravest_are_kept_first() {
        let directory = Entry { mode: 0o2755, ..Entry::empty() };
        let capable = Entry { xattrs: vec![(CAPABILITY.to_vec(), vec![1])], ..file(0o644, 1) };
        let mark =
            Finding::added(&path("/etc/.wh..wh..opq"), Class::Immutable, Attributes::of_kind(Kind::Opaque));
        let all = [
            added("/a", &file(0o644, 1)),
            modified("/b", Field::Uid, &file(0o755, 1), &file(0o755, 1)),
            added("/c", &directory),
            modified("/d", Field::Size, &file(0o644, 1), &file(0o644, 2)),
            mark,
            added("/f", &file(0o755, 1)),
            modified("/g", Field::Size, &file(0o755, 1), &file(0o755, 2)),
            modified("/h", Field::Mode, &file(0o644, 1), &file(0o755, 1)),
            modified("/i", Field::Mode, &file(0o755, 1), &file(0o4755, 1)),
            added("/j", &capable),
            Finding::removed(&path("/k"), Class::Immutable, &file(0o4755, 1)),
        ];
        let kept = |count: usize| -> Vec<String> {
            let kept = gravest(all.iter().cloned().map(Ok), count).unwrap();
            kept.iter().map(|finding| finding.path.to_string()).collect()
        };
        let order = ["/i", "/j", "/f", "/g", "/h", "/d", "/etc/.wh..wh..opq", "/b", "/k", "/a", "/c"];
        assert_eq!(kept(100), order);
        for count in 0..order.len() {
            assert_eq!(kept(count), order[..count]);
        }
    }
}
