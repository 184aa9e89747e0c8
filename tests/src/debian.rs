//! A real Debian root file system, with one of each kind and attribute.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Mode, XattrFlags};

use crate::fixture::{Fixture, bootstrap};
use crate::program;

static DEBIAN: Fixture = Fixture::new("debian-bookworm-2", make);
static WITH_COMPILERS: Fixture = Fixture::new("compilers-bookworm-1", |folder| {
    bootstrap(folder, &["--include=build-essential,git,python3"])
});
/// What is added to Debian's own files, since these have no such attributes.
pub const EXTRAS: &str = "opt/extras";

/// The folder with the tree, made where it is not there yet.
///
/// # Errors
/// When it cannot be made: this needs root, mmdebstrap and Debian's mirror.
pub fn root() -> Result<&'static Path> {
    DEBIAN.root()
}

/// The folder with a Debian in which software is built, as many images have it.
///
/// # Errors
/// As of [`root`].
pub fn with_compilers() -> Result<&'static Path> {
    WITH_COMPILERS.root()
}

/// The folder with the tree, if it has been made already.
pub fn made_before() -> Option<PathBuf> {
    DEBIAN.made_before()
}

fn make(folder: &Path) -> Result<()> {
    bootstrap(folder, &[])?;
    add_extras(&folder.join(EXTRAS))?;
    // As in an image that is made for it: the manifest's place is reserved, the
    // folder that holds it is baked.
    fs::create_dir(folder.join("etc/congruent")).context("cannot make etc/congruent")
}

/// Adds one of each attribute and kind that Debian's minimal root lacks.
fn add_extras(extras: &Path) -> Result<()> {
    fs::create_dir_all(extras).context("cannot make the extras")?;
    let file = |name: &str, content: &[u8]| {
        let path = extras.join(name);
        fs::write(&path, content).map(|()| path).with_context(|| format!("cannot write {name}"))
    };
    let labelled = file("labelled", b"labelled")?;
    rustix::fs::setxattr(&labelled, "user.note", b"baked", XattrFlags::empty())
        .context("cannot set an xattr")?;
    let capable = file("capable", b"capable")?;
    program::succeed("setcap", ["cap_net_raw+ep".as_ref(), capable.as_os_str()])?;
    let guarded = file("guarded", b"guarded")?;
    program::succeed("setfacl", ["-m".as_ref(), "u:1000:r".as_ref(), guarded.as_os_str()])?;
    let handed_down = extras.join("handed-down");
    fs::create_dir(&handed_down).context("cannot make a folder")?;
    let lists = "u:1000:rx,d:u:1000:rwx".as_ref();
    program::succeed("setfacl", ["-m".as_ref(), lists, handed_down.as_os_str()])?;
    let linked = file("linked", b"linked")?;
    fs::hard_link(&linked, extras.join("linked-too")).context("cannot make a hard link")?;
    file("twin", b"linked")?;
    file("odd\nname", b"odd")?;
    file("zeros", &[0; 65536])?;
    fs::create_dir_all(extras.join("scratch/folder")).context("cannot make a folder")?;
    file("scratch/note", b"scratch")?;
    file("scratch/folder/note", b"scratch")?;
    file("scratch/folder/keep", b"keep")?;
    symlink("labelled", extras.join("link")).context("cannot make a link")?;
    rustix::fs::mkfifoat(rustix::fs::CWD, extras.join("pipe"), Mode::from_raw_mode(0o600))
        .context("cannot make a pipe")?;
    // A socket stays where it was bound when its listener is gone.
    std::os::unix::net::UnixListener::bind(extras.join("socket")).context("cannot make a socket")?;
    Ok(())
}
