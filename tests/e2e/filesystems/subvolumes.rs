//! Btrfs: a subvolume in the tree has a device number of its own and no mount, and
//! its inodes are numbered from the start again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::path::TreePath;
use congruent_tests::program::succeed;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::tree;

use super::disk::mount_new;
use crate::mutation::check::change_and_hold;
use crate::mutation::row::{Baked, modified, nothing, removed, row};

/// Each has a file with two names, made first of all that is in it.
const TWINS: [&str; 2] = ["srv/one", "srv/two"];

#[test]
fn subvolumes_are_walked_through_and_their_inodes_told_apart() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let disk = mount_new("btrfs", &sandbox)?;
    let root = disk.path().join("root");
    fs::create_dir(&root)?;
    tree::small(&root)?;
    fs::create_dir(root.join("srv"))?;
    for twin in TWINS {
        make_subvolume(&root, twin)?;
    }
    check_that_numbers_repeat(&root)?;
    let baked = Baked::bake(&root, "", &sandbox)?;
    check_baked(&baked)?;
    let rows = [
        row("subvolumes, intact", |_| Ok(()), nothing),
        row(
            "content behind one of two hard links in one of them",
            |root| Ok(fs::write(root.join("srv/two/file"), "srv/TWO")?),
            |_| ["/srv/two/file", "/srv/two/linked"].map(|path| modified(path, &["content"])).into(),
        ),
        row(
            "the content back, and the other one gone",
            |root| {
                fs::write(root.join("srv/two/file"), "srv/two")?;
                let gone = root.join("srv/one");
                succeed("btrfs", ["subvolume".as_ref(), "delete".as_ref(), gone.as_os_str()])?;
                Ok(())
            },
            |_| ["/srv/one", "/srv/one/file", "/srv/one/linked"].map(removed).into(),
        ),
    ];
    for row in &rows {
        change_and_hold(row, &baked, sandbox.folder(), &root).context(row.name)?;
    }
    Ok(())
}

fn make_subvolume(root: &Path, path: &str) -> Result<()> {
    let at = root.join(path);
    succeed("btrfs", ["subvolume".as_ref(), "create".as_ref(), at.as_os_str()])?;
    fs::write(at.join("file"), path)?;
    Ok(fs::hard_link(at.join("file"), at.join("linked"))?)
}

/// Else there is nothing to mix up.
fn check_that_numbers_repeat(root: &Path) -> Result<()> {
    let [one, two] = TWINS.map(|twin| fs::metadata(root.join(twin).join("file")));
    let (one, two) = (one?, two?);
    ensure!(one.ino() == two.ino() && one.dev() != two.dev(), "the inodes are not numbered alike");
    Ok(())
}

/// Each has its own content, and only the names within one are one file.
fn check_baked(baked: &Baked) -> Result<()> {
    let mut groups = Vec::new();
    for twin in TWINS {
        for name in ["file", "linked"] {
            let path = TreePath::new(format!("/{twin}/{name}"))?;
            let mut entries = baked.entries.iter().map(|listed| (&listed.path, &listed.entry));
            let (_, entry) = entries.find(|(at, _)| **at == path).context("it was not baked")?;
            let content = Algorithm::Blake3.digest(twin.as_bytes());
            ensure!(entry.content() == Some(&content), "{path} was baked with other content");
            groups.push(entry.link_group);
        }
    }
    ensure!(
        groups[0] != 0 && groups[0] == groups[1] && groups[2] == groups[3] && groups[1] != groups[2],
        "the link groups are {groups:?}"
    );
    Ok(())
}
