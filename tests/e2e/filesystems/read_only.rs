//! File systems that are built whole and never written to: squashfs and erofs.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use congruent_protocol::verification::State;
use congruent_tests::agent;
use congruent_tests::mounts::Mounted;
use congruent_tests::program::{self, succeed};
use congruent_tests::sandbox::Sandbox;

use super::disk::make_tree;
use super::writable::CONTRACT;
use crate::mutation::check::change_and_hold;
use crate::mutation::row::{Baked, Expected, modified, nothing, row};

type Build = fn(&Path, &Path) -> Result<()>;

#[test]
fn on_squashfs() -> Result<()> {
    // It has no access control lists: what had one lost it as the image was built.
    check("squashfs", squash, |_| vec![modified("/usr/share/guarded", &["xattr:system.posix_acl_access"])])
}

#[test]
fn on_erofs() -> Result<()> {
    check("erofs", build_erofs, nothing)
}

/// Builds an image of a tree, and another of the tree with one byte changed; holds
/// both to a manifest that was baked on the first, and the first also to one that
/// was baked from the tree before it was built, which differs by `lost`.
fn check(filesystem: &str, build: Build, lost: fn(&Baked) -> Vec<Expected>) -> Result<()> {
    let sandbox = Sandbox::for_trees()?;
    let tree = sandbox.path("tree");
    fs::create_dir(&tree)?;
    make_tree(&tree)?;
    let image = |name: &str| sandbox.path(format!("{name}.img"));
    build(&tree, &image("intact"))?;
    let from_tree = Baked::bake(&tree, CONTRACT, &sandbox)?;
    File::options().write(true).open(tree.join("usr/bin/large"))?.write_all_at(b"x", 1000)?;
    build(&tree, &image("changed"))?;

    let intact = Mounted::image(filesystem, "ro", &image("intact"), &sandbox.path("intact"))?;
    let changed = Mounted::image(filesystem, "ro", &image("changed"), &sandbox.path("changed"))?;
    let folder = sandbox.folder();
    let hold = |row, baked: &Baked, disk: &Mounted| change_and_hold(&row, baked, folder, disk.path());
    hold(row("", |_| Ok(()), lost), &from_tree, &intact).context("held to what it was built from")?;
    let baked = Baked::bake(intact.path(), CONTRACT, &sandbox)?;
    hold(row("", |_| Ok(()), nothing), &baked, &intact).context("the image that was baked")?;
    let one_byte = row("", |_| Ok(()), |_| vec![modified("/usr/bin/large", &["content"])]);
    hold(one_byte, &baked, &changed).context("the image with one byte changed")?;
    read_directly(&baked, intact.path(), &sandbox).context("read past the page cache")?;
    let [upper, work] = ["upper", "work"].map(|name| sandbox.path(name));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    let (lower, upper, work) = (intact.path().display(), upper.display(), work.display());
    let layers = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let merged = Mounted::new("overlay", &layers, OsStr::new("overlay"), &sandbox.path("merged"))?;
    read_directly(&baked, merged.path(), &sandbox).context("read past the page cache through an overlay")
}

/// Where a file system has no way past its cache it says so, at once or only when
/// it is read: every file is verified all the same, and counted.
fn read_directly(baked: &Baked, root: &Path, sandbox: &Sandbox) -> Result<()> {
    let mut verify = agent::command(&[])?;
    verify.args(agent::verify_arguments(&baked.manifest_file, &baked.public_key, root)).arg("--direct");
    let ended = program::run(verify.current_dir(sandbox.folder()))?;
    let verification = agent::verification(&ended)?;
    ensure!(verification.state == State::Congruent, "it found {:?}", verification.findings);
    let direct = verification.coverage.direct.context("it does not say how files were read")?;
    ensure!(direct.files > 0 && direct.through_cache <= direct.files, "it counts {direct:?}");
    Ok(())
}

fn squash(tree: &Path, image: &Path) -> Result<()> {
    let options = ["-noappend", "-quiet", "-no-progress", "-xattrs"].map(OsStr::new);
    succeed("mksquashfs", [tree.as_os_str(), image.as_os_str()].into_iter().chain(options))?;
    Ok(())
}

fn build_erofs(tree: &Path, image: &Path) -> Result<()> {
    succeed("mkfs.erofs", [image.as_os_str(), tree.as_os_str()])?;
    Ok(())
}
