//! What was declared, and what was not.

use crate::diff::allow::{Allow, Judgement, Undeclared};
use crate::diff::testing::{Image, between};

fn judge(text: &str) -> Judgement {
    let old = Image {
        version: "1",
        tree: &[("/a", "1", 1), ("/b", "1", 2), ("/c", "1", 0)],
        packages: Some(&[("p", "1"), ("q", "1"), ("r", "1")]),
        ..Image::default()
    };
    let new = Image {
        version: "2",
        tree: &[("/a", "2", 1), ("/b", "2", 2), ("/c", "2", 0)],
        packages: Some(&[("p", "2"), ("q", "1")]),
        contract: "[[rule]]\npath = '/c'\nclass = 'pinned'\n",
        owner: Some("someone"),
    };
    Allow::from_toml(text).unwrap().judge(&between(&old.bake(), &new.bake()).unwrap())
}

#[test]
fn what_was_not_declared_is_named() {
    use Undeclared::{Contract, Entry, Package};
    let all = "contract = true\n[[package]]\nname = '[pr]'\n[[path]]\nglob = '/[bc]'\n";
    for (text, undeclared, unused) in [
        ("", &[Package(0), Package(1), Entry(1), Entry(2), Contract][..], &[][..]),
        (all, &[], &[]),
        ("contract = true", &[Package(0), Package(1), Entry(1), Entry(2)], &[]),
        ("[[package]]\nname = '*'", &[Entry(1), Entry(2), Contract], &[]),
        ("[[package]]\nname = 'p'\nfrom = '1'\nto = '2*'", &[Package(1), Entry(1), Entry(2), Contract], &[]),
        (
            "[[package]]\nname = 'p'\nto = '3'",
            &[Package(0), Package(1), Entry(1), Entry(2), Contract],
            &["package p to 3"],
        ),
        // What went has no new version.
        (
            "[[package]]\nname = 'r'\nto = '*'",
            &[Package(0), Package(1), Entry(1), Entry(2), Contract],
            &["package r to *"],
        ),
        // A declared package covers its own entries only, and a path no package.
        ("[[package]]\nname = 'q'", &[Package(0), Package(1), Entry(1), Entry(2), Contract], &["package q"]),
        ("[[path]]\nglob = '/**'\n[[path]]\nglob = '/x'", &[Package(0), Package(1), Contract], &["path /x"]),
    ] {
        let judgement = judge(text);
        assert_eq!(
            (&judgement.undeclared[..], &judgement.unused[..]),
            (undeclared, &unused.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
            "{text}"
        );
    }
}

#[test]
fn bad_declarations_are_named_with_their_place() {
    for (text, says) in [
        ("[[package]]\n", "missing field `name`"),
        ("[[package]]\nname = 'a['\n", "line 2, column 8: `a[` is not a glob"),
        ("[[package]]\nname = 'a'\nversion = '1'\n", "line 3, column 1: unknown field `version`"),
        ("[[path]]\nglob = 'etc/**'\n", "line 2, column 8: glob `etc/**` must start with `/`"),
        ("[[paths]]\n", "did you mean `path`?"),
        ("contract = 'yes'\n", "line 1, column 12"),
    ] {
        let error = Allow::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let many = "[[path]]\nglob = '/a'\n".repeat(10_001);
    assert!(Allow::from_toml(&many).unwrap_err().to_string().contains("over 10000"));
}
