//! Small images, compared.

mod allow;

use congruent_protocol::digest::Algorithm;
use proptest::prelude::*;

use super::testing::{Image, List, Opened, Tree, between};
use super::*;

fn diff(old: &Image<'_>, new: &Image<'_>) -> Diff {
    between(&old.bake(), &new.bake()).unwrap()
}

/// Everything that differs, a line each: entries with what explains them.
fn lines(diff: &Diff) -> Vec<String> {
    let mut lines = Vec::new();
    for changed in &diff.changes {
        let why = match changed.belongs {
            Belongs::Package(index) => {
                format!("with {}", diff.packages.as_ref().unwrap().changes[index].name)
            }
            Belongs::Outside(_) => format!("outside {}", diff.outside_of(changed).unwrap().name),
            Belongs::Nowhere => "alone".to_owned(),
        };
        lines.push(format!("{} {} {why}", changed.change.name(), changed.path));
    }
    for change in diff.packages.iter().flat_map(|packages| &packages.changes) {
        let version = |version: &Option<String>| version.clone().unwrap_or("-".to_owned());
        let (from, to) = (version(&change.from), version(&change.to));
        lines.push(format!(
            "{} {} {from} {to} {}",
            change.kind().name(),
            change.name,
            change.entries.total()
        ));
    }
    lines
}

fn check(old: &Image<'_>, new: &Image<'_>, expected: &[&str]) {
    assert_eq!(lines(&diff(old, new)), expected);
}

#[test]
fn changes_go_with_what_explains_them() {
    let rows: &[(Tree<'_>, List<'_>, Tree<'_>, List<'_>, &[&str])] = &[
        (&[("/a", "1", 1)], &[("p", "1")], &[("/a", "1", 1)], &[("p", "1")], &[]),
        // Who owns what is not part of an image.
        (&[("/a", "1", 1)], &[("p", "1")], &[("/a", "1", 0)], &[("p", "1")], &[]),
        (&[("/a", "1@5", 0)], &[], &[("/a", "1@6", 0)], &[], &[]),
        (
            &[("/a", "1", 1), ("/b", "1", 1)],
            &[("p", "1")],
            &[("/a", "2", 1), ("/c", "1", 1)],
            &[("p", "2")],
            &["modified /a with p", "removed /b with p", "added /c with p", "updated p 1 2 3"],
        ),
        (
            &[("/a", "1", 1), ("/b", "1", 1)],
            &[("p", "1")],
            &[("/a", "2", 1), ("/c", "1", 1)],
            &[("p", "1")],
            &["modified /a outside p", "removed /b outside p", "added /c outside p"],
        ),
        (&[("/a", "1", 1)], &[("p", "1")], &[], &[], &["removed /a with p", "removed p 1 - 1"]),
        (&[], &[], &[("/a", "1", 1)], &[("p", "1")], &["added /a with p", "added p - 1 1"]),
        // What is left behind is not explained.
        (&[("/a", "1", 1)], &[("p", "1")], &[("/a", "2", 0)], &[], &["modified /a alone", "removed p 1 - 0"]),
        (&[("/a", "1", 0)], &[], &[("/a", "2", 1)], &[("p", "1")], &["modified /a with p", "added p - 1 1"]),
        // A package that is the same cannot lose a file to another by claim alone.
        (
            &[("/sudo", "1", 2)],
            &[("p", "1"), ("sudo", "1")],
            &[("/sudo", "2", 1)],
            &[("p", "2"), ("sudo", "1")],
            &["modified /sudo outside sudo", "updated p 1 2 0"],
        ),
        // Kernels of several versions side by side.
        (
            &[("/k1", "1", 1), ("/k2", "2", 2)],
            &[("k", "1"), ("k", "2")],
            &[("/k2", "2", 1), ("/k3", "3", 2)],
            &[("k", "2"), ("k", "3")],
            &["removed /k1 with k", "added /k3 with k", "updated k 1 3 2"],
        ),
        (
            &[("/k1", "1", 1)],
            &[("k", "1")],
            &[("/k2", "2", 1), ("/k3", "3", 2)],
            &[("k", "2"), ("k", "3")],
            &[
                "removed /k1 with k",
                "added /k2 with k",
                "added /k3 with k",
                "removed k 1 - 1",
                "added k - 2 1",
                "added k - 3 1",
            ],
        ),
        // Directories that packages share come with them, others do not.
        (
            &[],
            &[],
            &[("/d", "", 0), ("/d/e", "", 0), ("/d/e/a", "1", 1), ("/x", "", 0), ("/x/b", "2", 0)],
            &[("p", "1")],
            &[
                "added /d with p",
                "added /d/e with p",
                "added /d/e/a with p",
                "added /x alone",
                "added /x/b alone",
                "added p - 1 3",
            ],
        ),
        (&[("/a", "1", 0)], &[], &[("/a", "", 0)], &[], &["replaced /a alone"]),
    ];
    for (was, old, is, new, expected) in rows {
        let image =
            |version, tree, packages| Image { version, tree, packages: Some(packages), ..Image::default() };
        check(&image("1", was, old), &image("2", is, new), expected);
    }
}

#[test]
fn without_packages_on_both_sides_nothing_is_told_by_package() {
    let tree: Tree<'_> = &[("/a", "1", 1)];
    let old = Image { version: "1", tree, packages: Some(&[("p", "1")]), ..Image::default() };
    let new = Image { version: "2", tree: &[("/a", "2", 0)], ..Image::default() };
    check(&old, &new, &["modified /a alone"]);
    assert!(diff(&old, &new).packages.is_none());
}

#[test]
fn contracts_are_compared_and_are_as_strict_as_the_stricter() {
    fn image<'a>(version: &'a str, contract: &'a str, tree: Tree<'a>) -> Image<'a> {
        Image { version, tree, contract, ..Image::default() }
    }
    let (early, late): (Tree<'_>, Tree<'_>) = (&[("/a", "x@1", 0)], &[("/a", "x@2", 0)]);
    let strict = "[[rule]]\npath = '/a'\nclass = 'immutable'\nmtime = true\n";
    for (old, new) in [("", strict), (strict, ""), (strict, strict)] {
        check(&image("1", old, early), &image("2", new, late), &["modified /a alone"]);
        check(&image("1", old, early), &image("2", new, early), &[]);
    }
    let rule = |path: &str, class: &str| format!("[[rule]]\npath = '{path}'\nclass = '{class}'\n");
    let mount = "[[mount]]\npath = '/m'\ncontent = 'hide'\n";
    let (a, b) = (rule("/a", "pinned"), rule("/b", "rotating"));
    for (old, new, (added, removed, changed, reordered, mounts)) in [
        (a.clone(), a.clone(), (0, 0, 0, false, 0)),
        (String::new(), a.clone(), (1, 0, 0, false, 0)),
        (a.clone(), String::new(), (0, 1, 0, false, 0)),
        (a.clone(), rule("/a", "ephemeral"), (0, 0, 1, false, 0)),
        (format!("{a}{b}"), format!("{b}{a}"), (0, 0, 0, true, 0)),
        (format!("{a}{a}{b}"), format!("{a}{b}"), (0, 1, 0, false, 0)),
        (a.clone(), format!("{a}{mount}"), (0, 0, 0, false, 1)),
    ] {
        let contract = diff(&image("1", &old, early), &image("2", &new, early)).contract;
        let rules = &contract.rules;
        let counts = (rules.added.len(), rules.removed.len(), rules.changed.len());
        let found = (counts.0, counts.1, counts.2, contract.reordered, contract.mounts.added.len());
        assert_eq!(found, (added, removed, changed, reordered, mounts), "{old} {new}");
        assert_eq!(contract.is_empty(), found == (0, 0, 0, false, 0));
    }
}

#[test]
fn sensitive_content_is_told_under_a_key() {
    let contract = "[[rule]]\npath = '/s'\nclass = 'immutable'\nsensitive = true\n";
    let old = Image { version: "1", tree: &[("/s", "1", 0)], contract, ..Image::default() };
    let new = Image { version: "2", tree: &[("/s", "2", 0)], ..Image::default() };
    let diff = diff(&old, &new);
    let Changed { old, new, .. } = &diff.changes[0];
    for entry in [old, new] {
        assert!(entry.as_ref().unwrap().content().unwrap().is_keyed());
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let bake = |version, content| Image { version, tree: &[("/a", content, 0)], ..Image::default() }.bake();
    let refuse = |old: &Opened, new: &Opened| between(old, new).unwrap_err().to_string();
    let (old, new) = (bake("1", "x"), bake("1", "y"));
    let error = refuse(&old, &new);
    assert!(error.contains("web 1 was baked twice"), "{error}");
    for opened in [&old, &new] {
        assert!(error.contains(&opened.0.predicate().root.to_string()), "{error}");
    }
    assert!(between(&old, &bake("1", "x@9")).unwrap().is_empty());
    let error = refuse(&old, &Image { version: "2", ..Image::default() }.bake_with(Algorithm::Sha256));
    assert!(error.contains("blake3") && error.contains("sha256") && error.contains("--digest"), "{error}");
}

#[test]
fn places_hold_what_changed_around_them() {
    let tree: Tree<'_> = &[
        ("/etc", "", 0),
        ("/etc/a", "1", 0),
        ("/etc/app", "", 0),
        ("/etc/app/x", "1", 0),
        ("/opt", "", 0),
        ("/opt/new", "", 0),
        ("/opt/new/d", "", 0),
        ("/opt/new/d/f", "1", 0),
        ("/top", "1", 0),
        ("/usr", "", 0),
        ("/usr/share", "", 0),
        ("/usr/share/doc", "", 0),
        ("/usr/share/doc/a", "1", 0),
        ("/usr/share/doc/b", "1", 0),
    ];
    let before: Vec<_> = tree
        .iter()
        .copied()
        .filter(|(_, content, _)| content.is_empty())
        .filter(|one| !one.0.contains("new"))
        .collect();
    let old = Image { version: "1", tree: &before, ..Image::default() };
    let diff = diff(&old, &Image { version: "2", tree, ..Image::default() });
    let found: Vec<_> = places(&diff)
        .iter()
        .map(|place| format!("{} {} {}", place.directory, place.counts().added, place.whole().is_some()))
        .collect();
    let expected =
        ["/ 1 false", "/etc 1 false", "/etc/app 1 false", "/opt/new 3 true", "/usr/share/doc 2 false"];
    assert_eq!(found, expected);
}

fn arbitrary_tree() -> impl Strategy<Value = Vec<(&'static str, &'static str, u32)>> {
    let paths = ["/a", "/a/b", "/a/b/c", "/a-b", "/d", "/d/e", "/f"];
    let one = (any::<bool>(), prop::sample::select(vec!["x", "y", "x@7"]), 0..3u32);
    prop::collection::vec(one, paths.len()).prop_map(move |picks| {
        let holds = |path: &str| matches!(path, "/a" | "/a/b" | "/d");
        let picked = paths.iter().zip(picks);
        picked
            // A directory is always there, so that every tree is one.
            .filter(|(path, (is_there, ..))| *is_there || holds(path))
            .map(|(path, (_, content, package))| (*path, if holds(path) { "" } else { content }, package))
            .collect()
    })
}

proptest! {
    #[test]
    fn nothing_differs_from_itself_and_all_else_does(a in arbitrary_tree(), b in arbitrary_tree()) {
        let list: List<'_> = &[("p", "1"), ("q", "1")];
        let image = |version, tree| Image { version, tree, packages: Some(list), ..Image::default() };
        prop_assert!(diff(&image("1", &a), &image("2", &a)).is_empty());
        let found = diff(&image("1", &a), &image("2", &b));
        let content = |tree: &[(&'static str, &'static str, u32)]| -> std::collections::BTreeMap<_, _> {
            tree.iter().map(|(path, content, _)| (*path, content.split('@').next())).collect()
        };
        let (was, is) = (content(&a), content(&b));
        let paths: std::collections::BTreeSet<_> = was.keys().chain(is.keys()).collect();
        let differ = paths.into_iter().filter(|path| was.get(*path) != is.get(*path)).count();
        prop_assert_eq!(found.changes.len(), differ);
        prop_assert_eq!(found.counts().total(), differ as u64);
        prop_assert!(found.changes.is_sorted_by(|a, b| a.path < b.path));
        prop_assert_eq!(image("1", &a).bake().0.predicate().root == image("2", &b).bake().0.predicate().root, differ == 0);
    }
}
