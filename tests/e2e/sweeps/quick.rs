//! Quick sweeps: what they find, what they do not read, and when they are full.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use congruent_protocol::drift::Change;
use congruent_protocol::verification::{State, SweepMode};
use congruent_tests::agent;
use congruent_tests::program::succeed;

use super::Swept;

#[test]
fn nothing_is_read_again_that_has_not_changed() -> Result<()> {
    let swept = Swept::new(|_| Ok(()))?;
    let full = swept.fill()?;
    let quick = swept.look(SweepMode::Quick, &["--quick"])?;
    assert_eq!((quick.state, quick.observed_root), (State::Congruent, full.observed_root));
    let (all, coverage) = (full.coverage.entries_seen, &quick.coverage);
    assert_eq!((coverage.entries_seen, coverage.bytes_hashed), (all, 0));
    let find = ["-mindepth", "1", "!", "-type", "d", "-printf", "."];
    let root = swept.scene.root.to_string_lossy().into_owned();
    let files = succeed("find", [&[root.as_str()], &find[..]].concat())?.stdout.len() as u64;
    assert_eq!((coverage.entries_recalled, full.coverage.entries_recalled), (files, 0));
    let json: serde_json::Value = serde_json::from_slice(&swept.verify(&["--quick"])?.stdout)?;
    assert_eq!(json["coverage"]["mode"], "quick");
    Ok(())
}

/// What it is, how it is done, and what must be found.
type Row = (&'static str, fn(&Path) -> Result<()>, &'static [(Change, &'static str)]);

/// What a quick sweep finds, a full one finds, and the reverse.
#[test]
fn whatever_changes_is_found() -> Result<()> {
    let rows: [Row; 9] = [
        ("content of the same size, with its time set back", rewrite, &[(Change::Modified, "/etc/passwd")]),
        (
            "a mode",
            |root| Ok(fs::set_permissions(root.join("etc/passwd"), Permissions::from_mode(0o600))?),
            &[(Change::Modified, "/etc/passwd")],
        ),
        (
            "an xattr",
            |root| {
                succeed("setfattr", ["-n".as_ref(), "user.x".as_ref(), root.join("etc/passwd").as_os_str()])?;
                Ok(())
            },
            &[(Change::Modified, "/etc/passwd")],
        ),
        ("an added file", |root| Ok(fs::write(root.join("etc/new"), "")?), &[(Change::Added, "/etc/new")]),
        (
            "a removed file",
            |root| Ok(fs::remove_file(root.join("etc/passwd"))?),
            &[(Change::Removed, "/etc/passwd")],
        ),
        (
            "a link in its place",
            |root| {
                fs::remove_file(root.join("etc/passwd"))?;
                Ok(symlink("group", root.join("etc/passwd"))?)
            },
            &[(Change::Replaced, "/etc/passwd")],
        ),
        (
            "two that changed places",
            |root| {
                let at = |name: &str| root.join("etc").join(name);
                fs::rename(at("one"), at("between"))?;
                fs::rename(at("two"), at("one"))?;
                Ok(fs::rename(at("between"), at("two"))?)
            },
            &[(Change::Modified, "/etc/one"), (Change::Modified, "/etc/two")],
        ),
        (
            "two directories that changed places",
            |root| {
                fs::rename(root.join("etc/a"), root.join("etc/between"))?;
                fs::rename(root.join("etc/b"), root.join("etc/a"))?;
                Ok(fs::rename(root.join("etc/between"), root.join("etc/b"))?)
            },
            &[(Change::Modified, "/etc/a/x"), (Change::Modified, "/etc/b/x")],
        ),
        ("nothing", |_| Ok(()), &[]),
    ];
    for (what, mutate, expected) in rows {
        let swept = Swept::new(more)?;
        swept.fill()?;
        mutate(&swept.scene.root)?;
        let quick = swept.look(SweepMode::Quick, &["--quick"])?;
        let found: Vec<_> =
            quick.findings.iter().map(|finding| (finding.change, finding.path.to_string())).collect();
        let expected: Vec<_> = expected.iter().map(|(change, path)| (*change, (*path).to_owned())).collect();
        assert_eq!(found, expected, "{what}");
        // What differs is looked at each time, and a full sweep says the same.
        let again = swept.look(SweepMode::Quick, &["--quick"])?;
        let full = swept.look(SweepMode::Full, &[])?;
        assert_eq!((&again.findings, again.observed_root), (&quick.findings, quick.observed_root), "{what}");
        assert_eq!((&full.findings, full.observed_root), (&quick.findings, quick.observed_root), "{what}");
        let after = swept.look(SweepMode::Quick, &["--quick"])?;
        assert_eq!((&after.findings, after.observed_root), (&quick.findings, quick.observed_root), "{what}");
    }
    Ok(())
}

fn more(root: &Path) -> Result<()> {
    fs::write(root.join("etc/one"), "1")?;
    fs::write(root.join("etc/two"), "2")?;
    for (name, content) in [("a", "1"), ("b", "2")] {
        fs::create_dir(root.join("etc").join(name))?;
        fs::write(root.join("etc").join(name).join("x"), content)?;
    }
    Ok(())
}

/// Changes one byte, and restores size and modification time.
fn rewrite(root: &Path) -> Result<()> {
    let path = root.join("etc/passwd");
    let (mut content, before) = (fs::read(&path)?, fs::metadata(&path)?);
    *content.first_mut().context("it is empty")? ^= 1;
    fs::write(&path, content)?;
    File::options().write(true).open(&path)?.set_times(FileTimes::new().set_modified(before.modified()?))?;
    let after = fs::metadata(&path)?;
    assert_eq!((before.size(), before.mtime_nsec()), (after.size(), after.mtime_nsec()));
    Ok(())
}

#[test]
fn without_a_usable_cache_the_sweep_is_full_and_says_why() -> Result<()> {
    let swept = Swept::new(|_| Ok(()))?;
    let check = |what: &str, says: &str| -> Result<()> {
        let ended = swept.verify(&["--quick"])?;
        let verification = agent::verification(&ended)?;
        assert_eq!(verification.coverage.mode, SweepMode::Full, "{what}");
        assert!(ended.stderr.contains(says), "{what}: {}", ended.stderr);
        assert_eq!(ended.code, Some(0), "{what}: {}", ended.stderr);
        // It left one that is.
        swept.look(SweepMode::Quick, &["--quick"]).context(what.to_owned()).map(drop)
    };
    check("the first time", "no full sweep has left one yet")?;
    let mut damaged = fs::read(&swept.cache)?;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&swept.cache, damaged)?;
    check("damaged", "it is damaged")?;
    fs::write(&swept.cache, "")?;
    check("empty", "it is damaged")?;
    agent::bake_command(&swept.scene.root, &swept.scene.manifest)?;
    // Another bake of a changed tree is another stack.
    fs::write(swept.scene.root.join("etc/new"), "")?;
    agent::bake(&swept.scene.root, None, &swept.scene.keys, &swept.scene.manifest)?;
    check("another stack", "of another root, or of another stack")?;
    let moved = swept.scene.sandbox.path("moved");
    congruent_tests::tree::copy(&swept.scene.root, &moved)?;
    fs::remove_dir_all(&swept.scene.root)?;
    fs::rename(&moved, &swept.scene.root)?;
    check("another root", "of another root, or of another stack")
}

#[test]
fn a_damaged_manifest_is_refused_before_anything_is_said() -> Result<()> {
    let swept = Swept::new(|_| Ok(()))?;
    swept.fill()?;
    let mut manifest = fs::read(&swept.scene.manifest)?;
    let last = manifest.len() - 9;
    manifest[last] ^= 1;
    fs::write(&swept.scene.manifest, manifest)?;
    let ended = swept.verify(&["--quick"])?;
    assert_eq!((ended.code, ended.text()), (Some(2), String::new()), "{}", ended.stderr);
    assert!(ended.stderr.contains("the manifest's entries"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn a_cache_must_not_be_drift_itself() -> Result<()> {
    let mut swept = Swept::new(|root| Ok(fs::create_dir_all(root.join("var/lib/congruent"))?))?;
    swept.cache = swept.scene.root.join("etc/cache");
    let ended = swept.verify(&[])?;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--cache /etc/cache lies in the tree that is watched"), "{}", ended.stderr);
    swept.cache = swept.scene.root.join("var/lib/congruent/cache");
    swept.fill()?;
    assert_eq!(swept.look(SweepMode::Quick, &["--quick"])?.state, State::Congruent);
    let ended = swept.scene.verify(["--insecure-unsigned", "--quick"])?;
    assert!(ended.code == Some(2) && ended.stderr.contains("--cache"), "{}", ended.stderr);
    Ok(())
}
