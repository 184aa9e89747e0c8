//! Normalisation: what each path contributes to the observed root, so that it
//! equals the baked root exactly when nothing in the tree is drift; and the
//! finding, where it is.
//!
//! One function decides for one path. The agent applies it to what it sees, the
//! collector to what it is told (see [`crate::recompute`]), so that both say the
//! same. It is pure: what a path is held to and what is there come in as values.

use crate::contract::{Class, Terms};
use crate::drift::{Field, Finding};
use crate::entry::{Entry, Node};
use crate::path::TreePath;
use crate::tree::{Contribution, OutOfOrder, TreeHasher};

/// Whether `path` is one of the reserved places or beneath one.
pub fn is_reserved(reserved: &[TreePath], path: &TreePath) -> bool {
    reserved.iter().any(|place| path.starts_with(place))
}

/// All that is known of one path.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sides<'a> {
    /// What the stack holds there.
    pub baked: Option<&'a Entry>,
    /// The first value in the ledger.
    pub first: Option<&'a Entry>,
    /// What is there. Of a file that may only be appended to, and is no shorter
    /// than the baked one, the digest is that of the baked length.
    pub observed: Option<&'a Entry>,
}

/// What the contract makes of one path.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalised {
    /// What goes into the observed root.
    pub contributes: Contributes,
    /// The difference, where there is one.
    pub finding: Option<Finding>,
    /// Whether what is there is a first value that the ledger does not have.
    pub is_first_value: bool,
}

/// Which side of a path goes into the observed root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contributes {
    /// None: the path is left out.
    Nothing,
    /// What was baked.
    Baked,
    /// What is there.
    Observed,
    /// What is there, marked as a contradiction of the ledger.
    Contradiction,
}

impl Normalised {
    fn allowed(contributes: Contributes) -> Self {
        Self { contributes, finding: None, is_first_value: false }
    }

    fn refused(contributes: Contributes, finding: Finding) -> Self {
        Self { contributes, finding: Some(finding), is_first_value: false }
    }

    /// Adds what the path contributes to the root under way.
    ///
    /// # Errors
    /// When paths do not come in tree order.
    pub fn contribute(
        &self,
        hasher: &mut TreeHasher,
        path: &TreePath,
        terms: &Terms,
        sides: Sides<'_>,
    ) -> Result<(), OutOfOrder> {
        let filled;
        let observed = match (sides.observed, sides.baked) {
            (Some(observed), Some(baked)) if is_unread(observed) => {
                filled = with_baked_content(observed, baked);
                Some(&filled)
            }
            (observed, _) => observed,
        };
        let contribution = match self.contributes {
            Contributes::Nothing => None,
            Contributes::Baked => sides.baked.map(|entry| Contribution::of(entry, terms)),
            Contributes::Observed => observed.map(|entry| Contribution::of(entry, terms)),
            Contributes::Contradiction => Some(Contribution::Contradiction(observed)),
        };
        contribution.map_or(Ok(()), |contribution| hasher.push(path, contribution))
    }
}

fn is_unread(entry: &Entry) -> bool {
    matches!(entry.node, Node::File { content: None, .. })
}

/// An observed entry with the baked content where its own could not be read.
fn with_baked_content(observed: &Entry, baked: &Entry) -> Entry {
    let mut entry = observed.clone();
    if let (Node::File { content: missing @ None, .. }, Node::File { content, .. }) =
        (&mut entry.node, &baked.node)
    {
        *missing = *content;
    }
    entry
}

/// Decides for one path, by the table in `FORMAT.md`.
pub fn normalise(path: &TreePath, terms: &Terms, sides: Sides<'_>) -> Normalised {
    match (sides.baked, sides.observed) {
        (Some(baked), Some(observed)) => of_both(path, terms, baked, observed, sides.first),
        (None, Some(observed)) => of_unbaked(path, terms, observed, sides.first),
        (Some(_), None) if terms.class == Class::Ephemeral => Normalised::allowed(Contributes::Baked),
        (Some(baked), None) => {
            Normalised::refused(Contributes::Nothing, Finding::removed(path, terms.class, baked))
        }
        (None, None) => match sides.first {
            None => Normalised::allowed(Contributes::Nothing),
            Some(first) => {
                let finding = Finding::removed(path, terms.class, first).from_ledger();
                Normalised::refused(Contributes::Contradiction, finding)
            }
        },
    }
}

fn of_both(
    path: &TreePath,
    terms: &Terms,
    baked: &Entry,
    observed: &Entry,
    first: Option<&Entry>,
) -> Normalised {
    let difference = Finding::compare(path, terms, baked, observed);
    if let Some(finding) = difference.clone().and_then(|finding| refuse(terms, baked, observed, finding)) {
        return Normalised::refused(Contributes::Observed, finding);
    }
    let first = first.filter(|_| terms.class == Class::Pinned);
    if let Some(finding) = first.and_then(|first| Finding::compare(path, terms, first, observed)) {
        return Normalised::refused(Contributes::Contradiction, finding.from_ledger());
    }
    // What is exactly as baked is never a finding, whatever the rule forbids; nor
    // is growth, which the root does not show.
    let Some(difference) = difference.filter(|_| terms.class != Class::AppendOnly) else {
        return Normalised::allowed(Contributes::Baked);
    };
    let forbidden = terms.forbidden_of(observed);
    if !forbidden.is_empty() {
        return Normalised::refused(Contributes::Observed, difference.forbidding(forbidden));
    }
    let is_first_value = terms.class == Class::Pinned && first.is_none();
    Normalised { is_first_value, ..Normalised::allowed(Contributes::Baked) }
}

/// What remains of a difference from what was baked once the class has allowed
/// what it allows.
fn refuse(terms: &Terms, baked: &Entry, observed: &Entry, mut finding: Finding) -> Option<Finding> {
    if terms.class == Class::Ephemeral {
        return None;
    }
    if finding.fields.is_empty() {
        return Some(finding);
    }
    let grew = matches!(
        (&baked.node, &observed.node),
        (Node::File { size: was, .. }, Node::File { size: is, .. }) if is > was
    );
    finding.fields.retain(|field| is_held(terms.class, field, grew));
    (!finding.fields.is_empty()).then_some(finding)
}

fn is_held(class: Class, field: &Field, grew: bool) -> bool {
    match class {
        Class::Immutable | Class::CreateOnly | Class::AddOn | Class::Reserved => true,
        Class::AppendOnly => *field != Field::Size || !grew,
        Class::Pinned => matches!(field, Field::Mode | Field::Uid | Field::Gid),
        Class::Rotating => !matches!(field, Field::Content | Field::Size | Field::Link | Field::Mtime),
        Class::Ephemeral => false,
    }
}

fn of_unbaked(path: &TreePath, terms: &Terms, observed: &Entry, first: Option<&Entry>) -> Normalised {
    let added = || Finding::added(path, terms.class, observed.into());
    let is_admitted = terms.class.admits_first_values() || terms.class == Class::Ephemeral;
    let forbidden = terms.forbidden_of(observed);
    if !is_admitted || !forbidden.is_empty() {
        return Normalised::refused(Contributes::Observed, added().forbidding(forbidden));
    }
    let first = first.filter(|_| terms.class.admits_first_values());
    match first.map(|first| Finding::compare(path, terms, first, observed)) {
        Some(Some(finding)) => Normalised::refused(Contributes::Contradiction, finding.from_ledger()),
        Some(None) => Normalised::allowed(Contributes::Nothing),
        None => {
            let is_first_value = terms.class.admits_first_values();
            Normalised { is_first_value, ..Normalised::allowed(Contributes::Nothing) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Forbidden;
    use crate::digest::Algorithm;
    use crate::drift::{Change, HeldTo};
    use crate::testing::{directory, entry, file, path};

    /// One row of the table: what the finding is, and what contributes.
    type Outcome = (Option<(Change, &'static str)>, Contributes);

    fn check(what: &str, terms: &Terms, sides: [Option<&Entry>; 3], expected: Outcome) -> Normalised {
        let [baked, first, observed] = sides;
        let found = normalise(&path("/p"), terms, Sides { baked, first, observed });
        let told = found.finding.as_ref().map(|finding| {
            let fields: Vec<_> = finding.fields.iter().map(ToString::to_string).collect();
            let forbidden = finding.forbidden.iter().map(|forbidden| format!("!{forbidden}"));
            let ledger = (finding.held_to == HeldTo::Ledger).then(|| "ledger".to_owned());
            (finding.change, fields.into_iter().chain(forbidden).chain(ledger).collect::<Vec<_>>().join(" "))
        });
        let expected_finding = expected.0.map(|(change, words)| (change, words.to_owned()));
        assert_eq!((told, found.contributes), (expected_finding, expected.1), "{what}, {}", terms.class);
        found
    }

    fn sized(content: &[u8], size: u64) -> Entry {
        entry(Node::File { size, content: Some(Algorithm::Blake3.digest(content)) }, 0o644)
    }

    #[test]
    fn each_class_allows_what_it_says_and_no_more() {
        use Change::{Added, Modified, Removed, Replaced};
        use Contributes::{Baked, Nothing, Observed};
        let baked = file(b"baked");
        let link = entry(Node::Symlink { target: b"x".to_vec() }, 0o777);
        let (other, grown, cut) = (file(b"other words"), sized(b"baked", 9), sized(b"bak", 3));
        let open = Entry { mode: 0o666, ..baked.clone() };
        let labelled = Entry { xattrs: vec![(b"user.a".to_vec(), b"1".to_vec())], ..baked.clone() };
        let content = Some((Modified, "content size"));
        let seen = [&other, &grown, &cut, &open, &labelled, &link].map(Some);
        // Other content, grown, cut, another mode, an xattr, a link, gone; unbaked.
        let rows: [(Class, [Outcome; 8]); 6] = [
            (
                Class::Immutable,
                [
                    (content, Observed),
                    (Some((Modified, "size")), Observed),
                    (content, Observed),
                    (Some((Modified, "mode")), Observed),
                    (Some((Modified, "xattr:user.a")), Observed),
                    (Some((Replaced, "")), Observed),
                    (Some((Removed, "")), Nothing),
                    (Some((Added, "")), Observed),
                ],
            ),
            (
                Class::AppendOnly,
                [
                    (Some((Modified, "content")), Observed),
                    (None, Baked),
                    (content, Observed),
                    (Some((Modified, "mode")), Observed),
                    (Some((Modified, "xattr:user.a")), Observed),
                    (Some((Replaced, "")), Observed),
                    (Some((Removed, "")), Nothing),
                    (Some((Added, "")), Observed),
                ],
            ),
            (
                Class::CreateOnly,
                [
                    (content, Observed),
                    (Some((Modified, "size")), Observed),
                    (content, Observed),
                    (Some((Modified, "mode")), Observed),
                    (Some((Modified, "xattr:user.a")), Observed),
                    (Some((Replaced, "")), Observed),
                    (Some((Removed, "")), Nothing),
                    (None, Nothing),
                ],
            ),
            (
                Class::Pinned,
                [
                    (None, Baked),
                    (None, Baked),
                    (None, Baked),
                    (Some((Modified, "mode")), Observed),
                    (None, Baked),
                    (Some((Replaced, "")), Observed),
                    (Some((Removed, "")), Nothing),
                    (None, Nothing),
                ],
            ),
            (
                Class::Rotating,
                [
                    (None, Baked),
                    (None, Baked),
                    (None, Baked),
                    (Some((Modified, "mode")), Observed),
                    (Some((Modified, "xattr:user.a")), Observed),
                    (Some((Replaced, "")), Observed),
                    (Some((Removed, "")), Nothing),
                    (Some((Added, "")), Observed),
                ],
            ),
            (
                Class::Ephemeral,
                [(None, Baked); 7]
                    .into_iter()
                    .chain([(None, Nothing)])
                    .collect::<Vec<_>>()
                    .try_into()
                    .unwrap(),
            ),
        ];
        for (class, outcomes) in rows {
            let terms = Terms::of(class);
            let (last, first) = outcomes.split_last().unwrap();
            for (observed, outcome) in seen.into_iter().chain([None]).zip(first) {
                check("a change", &terms, [Some(&baked), None, observed], *outcome);
            }
            check("a new path", &terms, [None, None, Some(&other)], *last);
            check("as baked", &terms, [Some(&baked), None, Some(&baked)], (None, Baked));
        }
    }

    #[test]
    fn first_values_are_held_to_once_they_are_recorded() {
        let (baked, first, other) = (file(b""), file(b"first"), file(b"other"));
        let pinned = Terms::of(Class::Pinned);
        let create_only = Terms::of(Class::CreateOnly);
        let changed = (Some((Change::Modified, "content ledger")), Contributes::Contradiction);
        let back = (Some((Change::Modified, "content size ledger")), Contributes::Contradiction);
        let gone = (Some((Change::Removed, "ledger")), Contributes::Contradiction);
        check("kept", &pinned, [Some(&baked), Some(&first), Some(&first)], (None, Contributes::Baked));
        check("changed", &pinned, [Some(&baked), Some(&first), Some(&other)], changed);
        check("set back", &pinned, [Some(&baked), Some(&first), Some(&baked)], back);
        for terms in [&pinned, &create_only] {
            check("kept", terms, [None, Some(&first), Some(&first)], (None, Contributes::Nothing));
            check("changed", terms, [None, Some(&first), Some(&other)], changed);
            check("gone", terms, [None, Some(&first), None], gone);
            let new = check("new", terms, [None, None, Some(&first)], (None, Contributes::Nothing));
            assert!(new.is_first_value);
        }
        let same = check("as baked", &pinned, [Some(&baked), None, Some(&baked)], (None, Contributes::Baked));
        let set = check("set", &pinned, [Some(&baked), None, Some(&first)], (None, Contributes::Baked));
        assert!(!same.is_first_value && set.is_first_value);
    }

    #[test]
    fn what_is_forbidden_is_found_unless_it_was_baked() {
        let mut terms = Terms::of(Class::Ephemeral);
        terms.forbid = Forbidden::ALL.to_vec();
        let plain = file(b"x");
        let program = Entry { mode: 0o4755, ..file(b"x") };
        let other = Entry { mode: 0o755, ..file(b"y") };
        let device = entry(Node::CharDevice(crate::entry::Device { major: 1, minor: 3 }), 0o600);
        let capable = Entry { xattrs: vec![(b"security.capability".to_vec(), vec![1])], ..file(b"x") };
        let found = |words| (Some((Change::Added, words)), Contributes::Observed);
        check("a program", &terms, [None, None, Some(&program)], found("!exec !setuid"));
        check("a device", &terms, [None, None, Some(&device)], found("!device"));
        check("a capability", &terms, [None, None, Some(&capable)], found("!exec"));
        check("a file", &terms, [None, None, Some(&plain)], (None, Contributes::Nothing));
        check("a folder", &terms, [None, None, Some(&directory())], (None, Contributes::Nothing));
        check("as baked", &terms, [Some(&program), None, Some(&program)], (None, Contributes::Baked));
        let changed = (Some((Change::Modified, "content mode !exec")), Contributes::Observed);
        check("changed", &terms, [Some(&program), None, Some(&other)], changed);
        check("made plain", &terms, [Some(&program), None, Some(&plain)], (None, Contributes::Baked));
    }

    #[test]
    fn strictness_sees_the_time() {
        let terms = Terms { mtime: true, ..Terms::of(Class::Immutable) };
        let baked = file(b"x");
        let mut touched = baked.clone();
        touched.mtime.seconds += 1;
        let found = (Some((Change::Modified, "mtime")), Contributes::Observed);
        check("touched", &terms, [Some(&baked), None, Some(&touched)], found);
        check(
            "touched",
            Terms::immutable(),
            [Some(&baked), None, Some(&touched)],
            (None, Contributes::Baked),
        );
        let mut folder = directory();
        folder.mtime.seconds += 1;
        check("a folder", &terms, [Some(&directory()), None, Some(&folder)], (None, Contributes::Baked));
    }
}
