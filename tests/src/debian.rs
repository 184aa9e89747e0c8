//! A real Debian root file system, made once by mmdebstrap and kept under `target/`.
//!
//! A test copies it and never changes it. Two test runs at once make it once:
//! the second waits at a lock. It is made under another name and renamed when
//! whole, so that a half-made one is never taken.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::fs::{FlockOperation, Mode, XattrFlags, flock};

use crate::{binaries, program};

/// Changes with anything that changes the tree that is made.
const VERSION: &str = "debian-bookworm-1";
const SUITE: &str = "bookworm";
/// What is added to Debian's own files, since these have no such attributes.
pub const EXTRAS: &str = "opt/extras";

/// The folder with the tree, made where it is not there yet.
///
/// # Errors
/// When it cannot be made: this needs root, mmdebstrap and Debian's mirror.
pub fn root() -> Result<&'static Path> {
    static ROOT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = ROOT.get_or_init(|| find_or_make().map_err(|error| format!("{error:#}")));
    made.as_deref().map_err(|error| anyhow!("{error}"))
}

/// The folder with the tree, if it has been made already.
pub fn made_before() -> Option<PathBuf> {
    let tree = fixtures().ok()?.join(VERSION);
    tree.is_dir().then_some(tree)
}

fn fixtures() -> Result<PathBuf> {
    let target = binaries::folder()?.parent().context("the binaries are in no folder")?.to_owned();
    Ok(target.join("fixtures"))
}

fn find_or_make() -> Result<PathBuf> {
    ensure!(rustix::process::geteuid().is_root(), "the tests over a real root file system must run as root");
    let fixtures = fixtures()?;
    // Closed to others: the tree has setuid programs.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&fixtures)
        .with_context(|| format!("cannot make {}", fixtures.display()))?;
    let lock = File::create(fixtures.join("lock")).context("cannot make the fixtures' lock")?;
    flock(&lock, FlockOperation::LockExclusive).context("cannot lock the fixtures")?;
    let (tree, unfinished) = (fixtures.join(VERSION), fixtures.join("unfinished"));
    if !tree.is_dir() {
        remove(&unfinished)?;
        bootstrap(&unfinished)?;
        add_extras(&unfinished.join(EXTRAS))?;
        // As in an image that is made for it: the manifest's place is reserved,
        // the folder that holds it is baked.
        fs::create_dir(unfinished.join("etc/congruent")).context("cannot make etc/congruent")?;
        fs::rename(&unfinished, &tree).context("cannot put the Debian tree in its place")?;
    }
    Ok(tree)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Runs mmdebstrap; its output goes where ours goes, since it takes a minute.
fn bootstrap(folder: &Path) -> Result<()> {
    let status = Command::new("mmdebstrap")
        .args([
            "--variant=minbase",
            "--format=directory",
            "--aptopt=Acquire::Retries \"3\"",
            "--quiet",
            SUITE,
        ])
        .arg(folder)
        .stdin(Stdio::null())
        .status()
        .context("cannot start mmdebstrap; make setup installs it")?;
    ensure!(status.success(), "mmdebstrap failed: {status}");
    Ok(())
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
