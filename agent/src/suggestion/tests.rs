//! Suggestions over model trees: a table of what is seen, and a property over
//! random boots.

use std::collections::{BTreeMap, BTreeSet};

use congruent_protocol::contract::{Class, Contract, ContractFile, Floor, Forbidden};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::drift::Finding;
use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::normalise::{Sides, normalise};
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::Verification;
use proptest::prelude::*;

use super::*;
use crate::output::testing::with_findings;

/// A tree: what lies where. A value that begins with `->` is a link, with `!` a
/// program, with `~` a file for everyone to write; `/` is a folder; all else is a
/// file's content.
type Tree = BTreeMap<TreePath, String>;

fn tree(places: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, value) in places {
        change(&mut tree, path, value);
    }
    tree
}

/// Puts something at a path, and the folders above it; `-` takes it away.
fn change(tree: &mut Tree, path: &str, value: &str) {
    let path = TreePath::new(path).unwrap();
    tree.retain(|known, _| !known.starts_with(&path) || (value == "/" && *known != path));
    if value == "-" {
        return;
    }
    let mut above = path.clone();
    while let Some(parent) = above.parent() {
        let folder = tree.entry(parent.clone()).or_insert_with(|| "/".to_owned());
        if folder != "/" {
            *folder = "/".to_owned();
        }
        above = parent;
    }
    tree.insert(path, value.to_owned());
}

fn entry(value: &str, baked: Option<&String>, terms: &Terms) -> Entry {
    let file = |content: &str, mode| {
        // What may be appended to is read as far as it was baked.
        let read = baked.filter(|_| terms.class == Class::AppendOnly).map_or(content.len(), String::len);
        let digest = Algorithm::Blake3.digest(&content.as_bytes()[..read.min(content.len())]);
        (Node::File { size: content.len() as u64, content: Some(digest) }, mode)
    };
    let (node, mode) = match value.as_bytes() {
        b"/" => (Node::Directory, 0o755),
        [b'-', b'>', target @ ..] => (Node::Symlink { target: target.to_vec() }, 0o777),
        [b'!', ..] => file(value, 0o755),
        [b'~', ..] => file(value, 0o666),
        _ => file(value, 0o644),
    };
    Entry { node, mode, ..Entry::empty() }
}

/// What a look at `boot` finds under `contract`.
fn verify(contract: &Contract, baked: &Tree, boot: &Tree) -> Verification {
    let paths: BTreeSet<_> = baked.keys().chain(boot.keys()).collect();
    let findings = paths.into_iter().filter_map(|path| -> Option<Finding> {
        let terms = contract.terms_of(path);
        let was = baked.get(path).map(|value| entry(value, None, terms));
        let is = boot.get(path).map(|value| entry(value, baked.get(path), terms));
        normalise(path, terms, Sides { baked: was.as_ref(), first: None, observed: is.as_ref() }).finding
    });
    with_findings(findings.collect())
}

fn suggest_for(contract: &Contract, baked: &Tree, boots: &[Tree]) -> Suggestion {
    let outcomes: Vec<_> = boots.iter().map(|boot| verify(contract, baked, boot)).collect();
    let paths: Vec<_> = baked.keys().cloned().collect();
    let (root, floor) = (outcomes[0].manifest.root, Floor::default());
    suggest(Basis { root, contract, baked: &paths, floor: &floor }, &outcomes).unwrap()
}

fn with(contract: &Contract, suggestion: &Suggestion) -> Contract {
    let toml: String = suggestion.rules.iter().map(|one| to_toml(&one.rule)).collect();
    contract.with(ContractFile::parse(&toml).unwrap()).unwrap()
}

type Changes<'a> = &'a [(&'a str, &'a str)];

fn check(
    what: &str,
    baked: Changes<'_>,
    boots: &[Changes<'_>],
    rules: &[(&str, Class)],
    apart: &[(&str, Why)],
) {
    let baked = tree(baked);
    let boots = boots.iter().map(|changes| {
        let mut boot = baked.clone();
        changes.iter().for_each(|(path, value)| change(&mut boot, path, value));
        boot
    });
    let boots: Vec<_> = boots.collect();
    let suggestion = suggest_for(&Contract::linux(), &baked, &boots);
    let found: Vec<_> =
        suggestion.rules.iter().map(|one| (one.rule.path.as_str(), one.rule.terms.class)).collect();
    assert_eq!(found, rules, "{what}");
    let found: Vec<_> =
        suggestion.not_suggested.iter().map(|one| (one.path.to_string(), one.why.clone())).collect();
    let apart: Vec<_> = apart.iter().map(|(path, why)| ((*path).to_owned(), why.clone())).collect();
    assert_eq!(found, apart, "{what}");
}

#[test]
fn the_narrowest_class_is_chosen() {
    use Class::{AppendOnly, CreateOnly, Ephemeral, Pinned, Rotating};
    let id = "/etc/machine-id";
    let baked: Changes<'_> = &[(id, ""), ("/var/log/a", "1"), ("/var/lib/x/keep.1", "k"), ("/etc/l", "->a")];
    let check = |what, boots: &[Changes<'_>], rules: &[_]| check(what, baked, boots, rules, &[]);
    check("nothing", &[&[], &[]], &[]);
    check("each its own", &[&[(id, "a")], &[(id, "b")]], &[(id, Pinned)]);
    check("the same", &[&[(id, "a")], &[(id, "a")]], &[(id, Pinned)]);
    check("a link set", &[&[("/etc/l", "->b")], &[("/etc/l", "->c")]], &[("/etc/l", Pinned)]);
    check("some of them", &[&[(id, "a")], &[]], &[(id, Rotating)]);
    check("grown logs", &[&[("/var/log/a", "12")], &[]], &[("/var/log/a", AppendOnly)]);
    check("a log that is cut", &[&[("/var/log/a", "12")], &[("/var/log/a", "")]], &[("/var/log/a", Pinned)]);
    check(
        "growth that is no log's",
        &[&[("/var/lib/x/keep.1", "kk")], &[]],
        &[("/var/lib/x/keep.1", Rotating)],
    );
    check("gone", &[&[(id, "-")], &[]], &[(id, Ephemeral)]);
    check("another kind", &[&[(id, "->x")], &[(id, "->x")]], &[(id, Ephemeral)]);
    check("new and alike", &[&[("/etc/n", "a")], &[("/etc/n", "a")]], &[("/etc/n", CreateOnly)]);
    check("new and different", &[&[("/etc/n", "a")], &[("/etc/n", "b")]], &[("/etc/n", Pinned)]);
    check("new in some", &[&[("/etc/n", "a")], &[]], &[("/etc/n", CreateOnly)]);
    let three: &[Changes<'_>] = &[&[("/etc/n", "a")], &[("/etc/n", "b")], &[]];
    check("new in some and different", three, &[("/etc/n", Ephemeral)]);
    check(
        "a new folder",
        &[&[("/srv/d/f", "a")], &[("/srv/d/f", "b")]],
        &[("/srv", CreateOnly), ("/srv/d", CreateOnly), ("/srv/d/f", Pinned)],
    );
    check("a name with wildcards", &[&[("/etc/[a]*", "x")]], &[("/etc/\\[a\\]\\*", CreateOnly)]);
}

#[test]
fn names_become_globs_where_they_are_made_up() {
    use Class::{CreateOnly, Ephemeral, Pinned};
    let baked: Changes<'_> = &[("/var/lib/x/keep.1", "k"), ("/var/cache", "/"), ("/a1", "")];
    let check = |what, boots: &[Changes<'_>], rules: &[_]| check(what, baked, boots, rules, &[]);
    check(
        "made-up names",
        &[&[("/var/cache/s_1", "a")], &[("/var/cache/s_2", "a")]],
        &[("/var/cache/s_*", Ephemeral)],
    );
    check("one name is no evidence", &[&[("/var/cache/s_1", "a")], &[]], &[("/var/cache/s_1", CreateOnly)]);
    check(
        "words",
        &[&[("/var/cache/foo", "a")], &[("/var/cache/bar", "a")]],
        &[("/var/cache/bar", CreateOnly), ("/var/cache/foo", CreateOnly)],
    );
    check(
        "names that are always there",
        &[
            &[("/var/cache/s_1", "a"), ("/var/cache/s_2", "a")],
            &[("/var/cache/s_1", "a"), ("/var/cache/s_2", "b")],
        ],
        &[("/var/cache/s_1", CreateOnly), ("/var/cache/s_2", Pinned)],
    );
    check(
        "a glob that would reach a baked entry",
        &[&[("/var/lib/x/keep.2", "a")], &[("/var/lib/x/keep.3", "a")]],
        &[("/var/lib/x/keep.2", CreateOnly), ("/var/lib/x/keep.3", CreateOnly)],
    );
    check(
        "a glob that would reach the floor",
        &[&[("/b2", "a")], &[("/c3", "a")]],
        &[("/b2", CreateOnly), ("/c3", CreateOnly)],
    );
    check(
        "folders by made-up names",
        &[&[("/var/cache/j1/log", "a")], &[("/var/cache/j2/log", "b")]],
        &[("/var/cache/*", Ephemeral), ("/var/cache/*/log", Ephemeral)],
    );
    let names: Vec<String> = (b'a'..=b'k').map(|c| format!("/var/cache/j1/{}", char::from(c))).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    check(
        "much beneath a folder by a made-up name",
        &[&many, &[("/var/cache/j2/x", "b")]],
        &[("/var/cache/*/**", Ephemeral), ("/var/cache/*", Ephemeral)],
    );
}

#[test]
fn what_no_rule_should_allow_is_told_apart() {
    let baked: Changes<'_> = &[("/usr/bin/x", "!x"), ("/etc/conf", "a"), ("/etc/script", "!a")];
    let check = |what, boots: &[Changes<'_>], apart: &[_]| check(what, baked, boots, &[], apart);
    let exec = || Why::Suspicious(vec![Forbidden::Exec]);
    check("a program", &[&[("/etc/evil", "!x")], &[]], &[("/etc/evil", exec())]);
    check("a program under the floor", &[&[("/usr/bin/y", "!x")]], &[("/usr/bin/y", exec())]);
    check("another program", &[&[("/etc/script", "!b")]], &[("/etc/script", exec())]);
    check("once a program", &[&[("/etc/conf", "b")], &[("/etc/conf", "!b")]], &[("/etc/conf", exec())]);
    check(
        "the floor",
        &[&[("/usr/x", "a")], &[("/lib64", "->x")]],
        &[("/lib64", Why::Floor("/lib*".to_owned())), ("/usr/x", Why::Floor("/usr".to_owned()))],
    );
    check("metadata", &[&[("/etc/conf", "~a")]], &[("/etc/conf", Why::Metadata(vec!["mode".to_owned()]))]);
    check("a name that nobody can read", &[&[("/etc/a\nb", "x")]], &[("/etc/a\\x0ab", Why::Unreadable)]);
}

#[test]
fn outcomes_of_another_image_are_refused() {
    let outcomes = [with_findings(Vec::new())];
    let (contract, floor) = (Contract::linux(), Floor::default());
    let basis =
        Basis { root: Algorithm::Blake3.digest(b"other"), contract: &contract, baked: &[], floor: &floor };
    let error = suggest(basis, &outcomes).unwrap_err().to_string();
    assert!(error.contains("outcome 1 is of the image with the root blake3:af13"), "{error}");
}

/// A ledger shows that a first value changed; a class held to it shows that a log
/// was rewritten.
#[test]
fn a_second_look_under_the_contract_widens_what_it_refutes() {
    use Class::{AppendOnly, Ephemeral, Pinned, Rotating};
    let baked = tree(&[("/etc/id", ""), ("/var/log/a", "1")]);
    let boot = tree(&[("/etc/id", "x"), ("/var/log/a", "23"), ("/etc/n", "a")]);
    let boots = [boot.clone(), {
        let mut other = boot;
        change(&mut other, "/etc/n", "b");
        other
    }];
    let classes = |suggestion: &Suggestion| {
        suggestion.rules.iter().map(|one| (one.rule.path.clone(), one.rule.terms.class)).collect::<Vec<_>>()
    };
    let of = |path: &str, class| (path.to_owned(), class);
    let first = suggest_for(&Contract::linux(), &baked, &boots);
    assert_eq!(classes(&first), [of("/etc/id", Pinned), of("/etc/n", Pinned), of("/var/log/a", AppendOnly)]);
    let contract = with(&Contract::linux(), &first);
    let mut again = verify(&contract, &baked, &boots[0]);
    for (path, value) in [("/etc/id", "x"), ("/etc/n", "a")] {
        let path = TreePath::new(path).unwrap();
        let terms = contract.terms_of(&path);
        let (first, now) = (entry(value, None, terms), entry("later", None, terms));
        again.findings.extend(Finding::compare(&path, terms, &first, &now).map(Finding::from_ledger));
    }
    let paths: Vec<_> = baked.keys().cloned().collect();
    let (root, floor) = (again.manifest.root, Floor::default());
    let basis = Basis { root, contract: &contract, baked: &paths, floor: &floor };
    let second = suggest(basis, &[again]).unwrap();
    assert_eq!(
        classes(&second),
        [of("/etc/id", Rotating), of("/etc/n", Ephemeral), of("/var/log/a", Pinned)]
    );
}

fn arbitrary_changes() -> impl Strategy<Value = Vec<(String, String)>> {
    let folder = prop::sample::select(vec![
        "",
        "/etc",
        "/var/log",
        "/var/lib/a",
        "/usr/lib",
        "/var/lib/j1",
        "/var/lib/j2",
    ]);
    let name = prop::sample::select(vec!["a", "b", "s_1", "s_2", "s_3", "k1", "k2", "x.1.gz", "x.2.gz", "*"]);
    let value =
        prop::sample::select(vec!["", "one", "one and more", "two", "->x", "/", "-", "!run", "~open"]);
    let place = (folder, name, value)
        .prop_map(|(folder, name, value)| (format!("{folder}/{name}"), value.to_owned()));
    prop::collection::vec(place, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    /// Every boot that rules were suggested from is congruent under them, but for
    /// what was told apart, and for logs that a second turn shows to be rewritten.
    #[test]
    fn what_was_seen_is_allowed_or_told_apart(
        baked in arbitrary_changes(),
        boots in prop::collection::vec(arbitrary_changes(), 1..4),
    ) {
        let base = tree(&[("/var/lib/a/keep", "k"), ("/var/log/a", "one"), ("/etc/conf", "c"), ("/usr/lib", "/")]);
        let changed = |tree: &Tree, changes: &[(String, String)]| {
            let mut tree = tree.clone();
            changes.iter().for_each(|(path, value)| change(&mut tree, path, value));
            tree
        };
        let baked = changed(&base, &baked);
        let boots: Vec<_> = boots.iter().map(|changes| changed(&baked, changes)).collect();
        let mut contract = Contract::linux();
        let mut apart = BTreeSet::new();
        for _ in 0..2 {
            let suggestion = suggest_for(&contract, &baked, &boots);
            let unfit = suggestion.not_suggested.iter().find(|one| one.why == Why::Unfit);
            prop_assert_eq!(unfit, None);
            apart.extend(suggestion.not_suggested.iter().map(|one| one.path.clone()));
            contract = with(&contract, &suggestion);
        }
        prop_assert_eq!(Floor::default().loosenings(&contract), vec![]);
        for boot in &boots {
            let left = verify(&contract, &baked, boot).findings;
            let left: Vec<_> = left.iter().filter(|finding| !apart.contains(&finding.path)).collect();
            prop_assert!(left.is_empty(), "{:#?} under {:#?}", left, contract.rules());
        }
    }
}
