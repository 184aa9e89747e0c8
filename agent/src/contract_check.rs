//! Holding a contract beside what was baked: which entries it puts into which
//! class, which of its rules do anything, and which entries its own words
//! contradict.
//!
//! Values in, values out. What the floor says of a contract is in `Floor`.

use std::collections::BTreeMap;

use congruent_protocol::contract::{Class, Contract, Follower, Forbidden, Rule, Terms};
use congruent_protocol::entry::Entry;
use congruent_protocol::manifest::{EntriesError, ListedEntry, ManifestKind};
use congruent_protocol::path::{TreePath, escape};
use congruent_protocol::verification::Protected;
use serde::Serialize;

/// What a contract makes of one manifest's entries.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Classified {
    /// How many entries have each class that any has.
    pub(crate) classes: BTreeMap<Class, u64>,
    pub(crate) protected: Option<Protected>,
    /// How many entries lie where a mount may hide them.
    pub(crate) may_be_hidden: u64,
    pub(crate) contradictions: Vec<Contradiction>,
    /// Every entry, where that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) entries: Vec<Place>,
}

/// Where an entry stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    #[serde(flatten)]
    pub(crate) path: TreePath,
    pub(crate) class: Class,
    /// The rule that decides, counted from 1; none where no rule matches.
    pub(crate) rule: Option<usize>,
}

/// An entry that the contract's own words contradict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Contradiction {
    #[serde(flatten)]
    pub(crate) place: Place,
    #[serde(flatten)]
    pub(crate) what: Contradicted,
}

/// What the contract says that the entry is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "contradiction", content = "what")]
pub(crate) enum Contradicted {
    /// The rule forbids what was baked.
    Forbidden(Forbidden),
    /// The rule ignores an attribute that was baked, named here escaped.
    XattrOutOfScope(String),
    /// An add-on holds it, and its place is not an add-on's.
    OutsideAddOn,
}

/// How much a rule does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Use {
    /// Entries that its glob matches.
    pub(crate) matches: u64,
    /// Entries whose terms it decides.
    pub(crate) decides: u64,
    /// A later rule, counted from 1, that decides wherever this one could, also
    /// where nothing is baked yet.
    pub(crate) overruled_by: Option<usize>,
}

/// A contract that is held beside manifests.
pub(crate) struct Check<'a> {
    contract: &'a Contract,
    follower: Follower<'a>,
    uses: Vec<Use>,
    matching: Vec<usize>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(contract: &'a Contract) -> Self {
        let rules = contract.rules();
        let overruled = (0..rules.len())
            .map(|at| Use { overruled_by: overruler(contract, at).map(|later| later + 1), ..Use::default() });
        Self { contract, follower: contract.follow(), uses: overruled.collect(), matching: Vec::new() }
    }

    /// Puts every entry of a manifest into its class; `next` reads one after the
    /// other, until there is none.
    pub(crate) fn classify(
        &mut self,
        kind: ManifestKind,
        keep_entries: bool,
        mut next: impl FnMut(&mut ListedEntry) -> Result<bool, EntriesError>,
    ) -> Result<Classified, EntriesError> {
        let mut classified = Classified::default();
        let mut protected = Protected { entries: 0, of: 0 };
        let mut listed = ListedEntry { path: TreePath::root(), entry: Entry::empty() };
        while next(&mut listed)? {
            let path = &listed.path;
            let rule = self.deciding(path);
            let terms = rule.map_or(Terms::immutable(), |rule| &self.contract.rules()[rule].terms);
            let place = || Place { path: path.clone(), class: terms.class, rule: rule.map(|rule| rule + 1) };
            *classified.classes.entry(terms.class).or_default() += 1;
            protected.count(self.contract, path, terms.class);
            classified.may_be_hidden += u64::from(self.contract.may_hide(path));
            let what = contradicted(kind, terms, &listed.entry);
            let contradictions = what.into_iter().map(|what| Contradiction { place: place(), what });
            classified.contradictions.extend(contradictions);
            if keep_entries {
                classified.entries.push(place());
            }
        }
        classified.protected = Some(protected);
        Ok(classified)
    }

    /// What each rule did, for all manifests so far.
    pub(crate) fn into_uses(self) -> Vec<Use> {
        self.uses
    }

    /// The rule that decides, once every rule that matches is counted.
    fn deciding(&mut self, path: &TreePath) -> Option<usize> {
        self.follower.matching(path, &mut self.matching);
        for &rule in &self.matching {
            self.uses[rule].matches += 1;
        }
        let deciding = self.matching.last().copied();
        if let Some(rule) = deciding {
            self.uses[rule].decides += 1;
        }
        deciding
    }
}

fn contradicted(kind: ManifestKind, terms: &Terms, entry: &Entry) -> Vec<Contradicted> {
    let mut found = Vec::new();
    let is_foreign = kind == ManifestKind::AddOn && terms.class != Class::AddOn;
    // Directories on the way to an add-on's places are the base's.
    if is_foreign && !entry.node.is_directory() {
        found.push(Contradicted::OutsideAddOn);
    }
    found.extend(terms.forbidden_of(entry).into_iter().map(Contradicted::Forbidden));
    let ignored = entry.xattrs.iter().filter(|(name, _)| !terms.xattrs.contains(name));
    found.extend(ignored.map(|(name, _)| Contradicted::XattrOutOfScope(escape(name).into_owned())));
    found
}

/// A later rule that decides wherever rule `at` could, as far as its text shows:
/// the same glob again, or all beneath a directory that it keeps to.
fn overruler(contract: &Contract, at: usize) -> Option<usize> {
    let (rule, later) = (&contract.rules()[at], &contract.rules()[at + 1..]);
    let overrules = |later: &Rule| {
        let covers = |directory: &str| {
            let is_plain = !directory.contains(['*', '?', '[', '{', '\\']);
            is_plain && rule.path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
        };
        later.path == rule.path || later.path.strip_suffix("/**").is_some_and(covers)
    };
    later.iter().position(overrules).map(|offset| at + 1 + offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use congruent_protocol::entry::Node;

    fn entry(path: &str, node: Node, mode: u16) -> ListedEntry {
        ListedEntry { path: TreePath::new(path).unwrap(), entry: Entry { node, mode, ..Entry::empty() } }
    }

    fn file(path: &str, mode: u16) -> ListedEntry {
        entry(path, Node::File { size: 0, content: None }, mode)
    }

    fn reading(entries: &[ListedEntry]) -> impl FnMut(&mut ListedEntry) -> Result<bool, EntriesError> {
        let mut entries = entries.iter();
        move |into| {
            let next = entries.next().map(|next| into.clone_from(next));
            Ok(next.is_some())
        }
    }

    fn contract(rules: &[(&str, &str)]) -> Contract {
        let rules = rules.iter().map(|(path, more)| format!("[[rule]]\npath = '{path}'\n{more}\n"));
        Contract::from_toml(&format!("base = 'none'\n{}", rules.collect::<String>())).unwrap()
    }

    #[test]
    fn entries_are_counted_by_class_and_rule() {
        let contract = contract(&[
            ("/var/**", "class = 'ephemeral'"),
            ("/var/log/**", "class = 'append-only'"),
            ("/srv/**", "class = 'pinned'"),
        ]);
        let mut check = Check::new(&contract);
        let entries =
            ["/", "/var", "/var/log", "/var/log/a", "/var/x"].map(|path| entry(path, Node::Directory, 0o755));
        let found = check.classify(ManifestKind::Base, true, reading(&entries)).unwrap();
        let classes: Vec<_> = found.classes.into_iter().collect();
        assert_eq!(classes, [(Class::Immutable, 2), (Class::AppendOnly, 1), (Class::Ephemeral, 2)]);
        assert_eq!(found.protected, Some(Protected { entries: 2, of: 5 }));
        assert_eq!(
            found.entries.iter().map(|place| place.rule).collect::<Vec<_>>(),
            [None, None, Some(1), Some(2), Some(1)]
        );
        let uses: Vec<_> = check.into_uses().iter().map(|one| (one.matches, one.decides)).collect();
        assert_eq!(uses, [(3, 2), (1, 1), (0, 0)]);
    }

    #[test]
    fn entries_that_the_contract_contradicts_are_named() {
        let contract = contract(&[
            ("/log/**", "class = 'append-only'\nforbid = ['exec', 'setuid', 'device']"),
            ("/x", "class = 'immutable'\nignore-xattrs = ['user.*']"),
            ("/own/**", "class = 'add-on'"),
        ]);
        let mut labelled = file("/x", 0o644);
        labelled.entry.xattrs = vec![(b"user.a\n".to_vec(), Vec::new())];
        let entries = [
            file("/log/plain", 0o644),
            file("/log/program", 0o4755),
            file("/outside", 0o4755),
            file("/own/mine", 0o755),
            labelled,
        ];
        let told = |kind| {
            let found = Check::new(&contract).classify(kind, false, reading(&entries)).unwrap();
            found
                .contradictions
                .into_iter()
                .map(|one| (one.place.path.to_string(), one.what))
                .collect::<Vec<_>>()
        };
        let of = |path: &str, what| (path.to_owned(), what);
        let words = [
            of("/log/program", Contradicted::Forbidden(Forbidden::Exec)),
            of("/log/program", Contradicted::Forbidden(Forbidden::Setuid)),
            of("/x", Contradicted::XattrOutOfScope("user.a\\x0a".to_owned())),
        ];
        assert_eq!(told(ManifestKind::Base), words);
        let outside: Vec<_> = told(ManifestKind::AddOn)
            .into_iter()
            .filter(|(_, what)| *what == Contradicted::OutsideAddOn)
            .map(|(path, _)| path)
            .collect();
        assert_eq!(outside, ["/log/plain", "/log/program", "/outside", "/x"]);
    }

    #[test]
    fn rules_that_can_never_decide_name_their_overruler() {
        for (rules, expected) in [
            (&["/a", "/a"][..], Some(2)),
            (&["/a/b", "/a/**"], Some(2)),
            (&["/a/**/c*", "/b", "/a/**"], Some(3)),
            (&["/a/{b,c}", "/**"], Some(2)),
            (&["/a", "/a/**"], None),
            (&["/ab/c", "/a/**"], None),
            (&["/a/b", "/*/**"], None),
            (&["/a/**", "/a/b"], None),
        ] {
            let rules: Vec<_> = rules.iter().map(|path| (*path, "class = 'ephemeral'")).collect();
            assert_eq!(Check::new(&contract(&rules)).into_uses()[0].overruled_by, expected, "{rules:?}");
        }
    }
}
