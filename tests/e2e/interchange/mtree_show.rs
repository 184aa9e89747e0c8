//! What `congruent show --format mtree` prints, NetBSD's mtree verifies.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use anyhow::Result;
use congruent_tests::program::run;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{agent, debian};

use super::{Change, bake, bake_with, change_beneath, mtree, odd_tree, show};

/// Shows a manifest of `root` and lets mtree verify `root` with it.
fn round_trip(sandbox: &Sandbox, root: &Path) -> Result<()> {
    let manifest = bake(sandbox, root)?;
    let shown = show(&manifest, root)?;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let spec = sandbox.write("web.mtree", &shown.stdout)?;
    let verified = mtree(root, &["-f".as_ref(), spec.as_os_str()])?;
    // It says what is extra, but exits as if nothing were.
    assert_eq!((verified.code, verified.text()), (Some(0), String::new()), "{}", verified.stderr);
    Ok(())
}

#[test]
fn mtree_finds_no_difference_in_a_debian_root() -> Result<()> {
    round_trip(&Sandbox::new()?, debian::root()?)
}

#[test]
fn mtree_finds_no_difference_in_odd_names_and_kinds() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let root = sandbox.path("root");
    odd_tree(&root)?;
    round_trip(&sandbox, &root)
}

#[test]
fn a_manifest_with_sha256_needs_no_root() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let root = sandbox.path("root");
    odd_tree(&root)?;
    let manifest = bake_with(&sandbox, &root, "sha256")?;
    let with_root = show(&manifest, &root)?;
    let shown = run(agent::command(&["show", "--format", "mtree"])?.arg(&manifest))?;
    assert_eq!((shown.code, &*shown.stderr), (Some(0), ""));
    assert!(shown.text().contains(" sha256digest="), "{}", shown.text());
    assert_eq!(shown.text(), with_root.text());
    let spec = sandbox.write("web.mtree", &shown.stdout)?;
    let verified = mtree(&root, &["-f".as_ref(), spec.as_os_str()])?;
    assert_eq!((verified.code, verified.text()), (Some(0), String::new()), "{}", verified.stderr);
    Ok(())
}

#[test]
fn mtree_finds_each_change() -> Result<()> {
    let changes: [(&str, Change); 8] = [
        ("sha256", |root| Ok(fs::write(root.join("*"), "!")?)),
        ("size", |root| Ok(fs::write(root.join("?"), "longer")?)),
        ("permissions", |root| Ok(fs::set_permissions(root.join("[a]"), PermissionsExt::from_mode(0o4755))?)),
        ("user", |root| Ok(chown(root.join("#"), Some(7), None)?)),
        ("missing: ./ ", |root| Ok(fs::remove_file(root.join(" "))?)),
        ("extra: new", |root| Ok(fs::write(root.join("new"), "")?)),
        ("link ref", |root| {
            fs::remove_file(root.join("link"))?;
            Ok(symlink("elsewhere", root.join("link"))?)
        }),
        ("link count", |root| Ok(fs::hard_link(root.join("null"), root.join("etc/null"))?)),
    ];
    for (says, change) in changes {
        let sandbox = Sandbox::new()?;
        let root = sandbox.path("root");
        odd_tree(&root)?;
        let shown = show(&bake(&sandbox, &root)?, &root)?;
        let spec = sandbox.write("web.mtree", &shown.stdout)?;
        change_beneath(&root, change)?;
        let found = mtree(&root, &["-f".as_ref(), spec.as_os_str()])?.text();
        assert!(found.contains(says), "{says:?} is not in: {found}");
    }
    Ok(())
}

#[test]
fn only_the_baked_tree_gives_digests() -> Result<()> {
    let changes: [(&str, &str, Change); 4] = [
        ("is not what was baked", "etc/passwd", |root| {
            Ok(fs::write(root.join("etc/passwd"), "root::0:0::/:")?)
        }),
        ("cannot open", "etc/passwd", |root| Ok(fs::remove_file(root.join("etc/passwd"))?)),
        ("not a regular file", "/\\x01", |root| {
            fs::remove_file(root.join("\u{1}"))?;
            Ok(fs::create_dir(root.join("\u{1}"))?)
        }),
        // The content is the baked one, but the way leads through a link.
        ("cannot open", "etc/group", |root| {
            fs::rename(root.join("etc"), root.join("moved"))?;
            Ok(symlink("moved", root.join("etc"))?)
        }),
    ];
    for (says, path, change) in changes {
        let sandbox = Sandbox::new()?;
        let root = sandbox.path("root");
        odd_tree(&root)?;
        let manifest = bake(&sandbox, &root)?;
        change(&root)?;
        let shown = show(&manifest, &root)?;
        assert_eq!((shown.code, shown.text()), (Some(2), String::new()), "{says}");
        assert!(shown.stderr.contains(says) && shown.stderr.contains(path), "{}", shown.stderr);
    }
    Ok(())
}
