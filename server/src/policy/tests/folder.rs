//! Policies in folders: what is read, what is refused, what the digest covers.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{chain, shipped};
use crate::policy::Policy;
use crate::policy::source::{self, MAX_FILE_BYTES, MAX_FILES, Source};

const DECIDES: &str = r#"package congruent
decision := {"action": "none", "severity": "none", "reasons": [data.text, data.deep.er.text], "controls": []}
"#;

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    folder
}

fn refusal(folder: &Path) -> String {
    chain(&Policy::from_directory(folder).map(drop).unwrap_err())
}

#[test]
fn the_shipped_folder_is_the_embedded_policy() {
    let folder = Policy::from_directory(&shipped()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(folder.digest(), Policy::embedded().unwrap().digest());
}

#[test]
fn the_engine_is_the_one_in_the_lock_file() {
    let lock = fs::read_to_string(shipped().join("../Cargo.lock")).unwrap();
    let (name, version) = crate::policy::engine::ENGINE.split_once(' ').unwrap();
    assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")));
}

#[test]
fn a_policy_can_be_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Policy>();
}

#[test]
fn data_stands_where_its_folder_does() {
    let folder = folder(&[
        ("a.rego", DECIDES),
        ("data.json", r#"{"text": "one"}"#),
        ("deep/er/data.json", r#"{"text": "two"}"#),
        ("README.md", "Not policy."),
        ("cases/a.json", "not even JSON"),
        ("a_test.rego", "not even Rego"),
        (".hidden/b.rego", "not even Rego"),
    ]);
    let policy = Policy::from_directory(folder.path()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let input = super::Shelf::open().given(&serde_json::json!({}), &[]).input();
    assert_eq!(policy.decide(&input).unwrap().reasons, ["one", "two"]);
    let before = policy.digest();
    for (file, counts) in [("README.md", false), ("a_test.rego", false), ("deep/er/data.json", true)] {
        let text = fs::read_to_string(folder.path().join(file)).unwrap();
        write(folder.path(), &[(file, &format!("{text}\n"))]);
        let after = Policy::from_directory(folder.path()).unwrap().digest();
        assert_eq!(before != after, counts, "{file}");
        write(folder.path(), &[(file, &text)]);
    }
}

/// A mounted ConfigMap is links to links into a hidden folder.
#[test]
fn links_are_followed() {
    let folder = folder(&[(
        "..2026/a.rego",
        r#"package congruent
decision := {"action": "none", "severity": "none", "reasons": [], "controls": []}"#,
    )]);
    std::os::unix::fs::symlink("..2026", folder.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.rego", folder.path().join("a.rego")).unwrap();
    assert!(Policy::from_directory(folder.path()).is_ok());
    std::os::unix::fs::symlink(".", folder.path().join("round")).unwrap();
    assert!(refusal(folder.path()).contains("folders over 16 deep"), "{}", refusal(folder.path()));
}

#[test]
fn folders_that_hold_no_policy_are_refused() {
    let empty = folder(&[("README.md", ""), ("data.json", "{}")]);
    assert!(refusal(empty.path()).contains("holds no .rego file"));
    assert!(refusal(&empty.path().join("gone")).contains("cannot list the policy folder"));

    let long = format!("package a\n#{}", "x".repeat(MAX_FILE_BYTES as usize));
    let large = folder(&[("a/large.rego", &long)]);
    assert!(refusal(large.path()).contains("a/large.rego is over 1048576 bytes; split it"));

    let bytes = folder(&[("b.rego", "package b")]);
    fs::write(bytes.path().join("a.rego"), b"package \xff").unwrap();
    assert!(refusal(bytes.path()).contains("a.rego is not UTF-8"));

    let many: Vec<_> = (0..=MAX_FILES).map(|i| format!("{i}.rego")).collect();
    let many = folder(&many.iter().map(|name| (name.as_str(), "package a")).collect::<Vec<_>>());
    assert!(refusal(many.path()).contains("over 1000 policy files"));
}

#[test]
fn data_that_does_not_fit_is_refused() {
    for (files, says) in [
        (
            &[("data.json", "{\n  \"a\": }")][..],
            "the policy data data.json: not JSON: expected value at line 2",
        ),
        (&[("x/data.json", "[]")], "x/data.json: it has to hold an object"),
        (
            &[("data.json", r#"{"x": {"a": 1}}"#), ("x/data.json", r#"{"a": 2}"#)],
            "the policy data x/data.json",
        ),
    ] {
        let folder = folder(files);
        write(folder.path(), &[("a.rego", DECIDES)]);
        assert!(refusal(folder.path()).contains(says), "{}", refusal(folder.path()));
    }
}

#[test]
fn digests_tell_sources_apart() {
    let digest = |sources: &[(&str, &str)]| {
        let sources: Vec<_> = sources
            .iter()
            .map(|(path, text)| Source { path: (*path).to_owned(), text: (*text).to_owned() })
            .collect();
        source::digest(&sources).to_string()
    };
    let all = [
        digest(&[]),
        digest(&[("a", "")]),
        digest(&[("", "a")]),
        digest(&[("a", "b")]),
        digest(&[("ab", "")]),
        digest(&[("a", "b"), ("c", "")]),
        digest(&[("a", "bc")]),
    ];
    let unique: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(unique.len(), all.len());
    // Frozen: recorded decisions name it.
    assert_eq!(all[3], "blake3:a420cb56b22bac417a87ea53ad1d331dc5630c1bc47a6ad86ccf6b28079a564c");
}
