//! A real Debian image of three layers, in a layout that umoci made, and what umoci
//! unpacks of it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::fixture::Fixture;
use crate::program::succeed;
use crate::{debian, tree};

static LAYERED: Fixture = Fixture::new("layered-bookworm-1", make);
/// The image's tag.
pub const TAG: &str = "debian";

/// The layout; it is shared, and only read.
///
/// # Errors
/// When it cannot be made: this needs root, umoci and what Debian's tree needs.
pub fn layout() -> Result<PathBuf> {
    Ok(root()?.join("layout"))
}

/// What umoci unpacks of it.
///
/// # Errors
/// As of [`layout`].
pub fn unpacked() -> Result<PathBuf> {
    Ok(root()?.join("bundle/rootfs"))
}

fn root() -> Result<&'static Path> {
    // Two trees are not made at once, so Debian's comes before.
    debian::root()?;
    LAYERED.root()
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).context("cannot make the image's folder")?;
    let layout = folder.join("layout");
    succeed("umoci", ["init".as_ref(), "--layout".as_ref(), layout.as_os_str()])?;
    succeed("umoci", ["new", "--image", &image(folder)])?;
    add_layer(folder, debian_without_sockets)?;
    add_layer(folder, take_away_and_change)?;
    add_layer(folder, |root| {
        // Docker takes no whiteouts beneath what is a file now, which umoci writes.
        fs::remove_dir_all(root.join("opt/deep"))?;
        fs::write(root.join("opt/file"), "new")?;
        fs::remove_dir_all(root.join("var/log"))?;
        Ok(fs::create_dir(root.join("var/log"))?)
    })?;
    // What came before is left in the layout.
    succeed("umoci", ["gc".as_ref(), "--layout".as_ref(), layout.as_os_str()])?;
    unpack(folder).map(drop)
}

fn image(folder: &Path) -> String {
    format!("{}:{TAG}", folder.join("layout").display())
}

fn add_layer(folder: &Path, change: fn(&Path) -> Result<()>) -> Result<()> {
    let bundle = unpack(folder)?;
    change(&bundle.join("rootfs")).context("cannot change the tree")?;
    let image = image(folder);
    let arguments = ["repack", "--image", &image].map(AsRef::as_ref);
    succeed("umoci", arguments.into_iter().chain([bundle.as_os_str()]))?;
    fs::remove_dir_all(bundle).context("cannot remove the bundle")
}

fn unpack(folder: &Path) -> Result<PathBuf> {
    let (bundle, image) = (folder.join("bundle"), image(folder));
    let arguments = ["unpack", "--image", &image].map(AsRef::as_ref);
    succeed("umoci", arguments.into_iter().chain([bundle.as_os_str()]))?;
    Ok(bundle)
}

/// Debian, but for sockets, which no archive holds.
fn debian_without_sockets(root: &Path) -> Result<()> {
    tree::copy(debian::root()?, &root.join("all"))?;
    for entry in fs::read_dir(root.join("all"))? {
        let entry = entry?;
        fs::rename(entry.path(), root.join(entry.file_name()))?;
    }
    fs::remove_dir(root.join("all"))?;
    for entry in fs::read_dir(root.join(debian::EXTRAS))? {
        let entry = entry?;
        if entry.file_type()?.is_socket() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn take_away_and_change(root: &Path) -> Result<()> {
    fs::remove_dir_all(root.join("usr/share/doc"))?;
    fs::create_dir(root.join("usr/share/doc"))?;
    fs::write(root.join("usr/share/doc/new"), "new")?;
    fs::remove_file(root.join("etc/debian_version"))?;
    fs::write(root.join("etc/issue"), "changed")?;
    fs::set_permissions(root.join("etc/issue.net"), fs::Permissions::from_mode(0o600))?;
    fs::hard_link(root.join("usr/bin/env"), root.join("usr/bin/env-too"))?;
    fs::create_dir_all(root.join("opt/deep/er"))?;
    Ok(symlink("nowhere", root.join("opt/link"))?)
}
