//! Trees that are costly to make: made once, and kept under `target/`.
//!
//! A test copies one and never changes it. Two test runs at once make it once:
//! the second waits at a lock. It is made under another name and renamed when
//! whole, so that a half-made one is never taken.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::binaries;

/// One such tree.
pub(crate) struct Fixture {
    version: &'static str,
    make: fn(&Path) -> Result<()>,
    found: OnceLock<Result<PathBuf, String>>,
}

impl Fixture {
    /// A tree that `make` makes in a folder that is not there yet. `version` is its
    /// name, and changes with anything that changes the tree.
    pub(crate) const fn new(version: &'static str, make: fn(&Path) -> Result<()>) -> Self {
        Self { version, make, found: OnceLock::new() }
    }

    /// The folder with the tree, made where it is not there yet.
    ///
    /// # Errors
    /// When it cannot be made: this needs root.
    pub(crate) fn root(&self) -> Result<&Path> {
        let found = self.found.get_or_init(|| self.find_or_make().map_err(|error| format!("{error:#}")));
        found.as_deref().map_err(|error| anyhow!("{error}"))
    }

    /// The folder with the tree, if it has been made already.
    pub(crate) fn made_before(&self) -> Option<PathBuf> {
        let tree = folder().ok()?.join(self.version);
        tree.is_dir().then_some(tree)
    }

    fn find_or_make(&self) -> Result<PathBuf> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "the tests over a real root file system must run as root"
        );
        let fixtures = folder()?;
        // Closed to others: the trees have setuid programs.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&fixtures)
            .with_context(|| format!("cannot make {}", fixtures.display()))?;
        let lock = File::create(fixtures.join("lock")).context("cannot make the fixtures' lock")?;
        flock(&lock, FlockOperation::LockExclusive).context("cannot lock the fixtures")?;
        let (tree, unfinished) = (fixtures.join(self.version), fixtures.join("unfinished"));
        if !tree.is_dir() {
            remove(&unfinished)?;
            (self.make)(&unfinished)?;
            fs::rename(&unfinished, &tree)
                .with_context(|| format!("cannot put {} in its place", self.version))?;
        }
        Ok(tree)
    }
}

fn folder() -> Result<PathBuf> {
    let target = binaries::folder()?.parent().context("the binaries are in no folder")?.to_owned();
    Ok(target.join("fixtures"))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Runs mmdebstrap for Debian 12's smallest root, with `options` more; its output
/// goes where ours goes, since it takes a minute.
pub(crate) fn bootstrap(folder: &Path, options: &[&str]) -> Result<()> {
    let status = Command::new("mmdebstrap")
        .args(["--variant=minbase", "--format=directory", "--aptopt=Acquire::Retries \"3\"", "--quiet"])
        .args(options)
        .arg("bookworm")
        .arg(folder)
        .stdin(Stdio::null())
        .status()
        .context("cannot start mmdebstrap; make setup installs it")?;
    ensure!(status.success(), "mmdebstrap failed: {status}");
    Ok(())
}
