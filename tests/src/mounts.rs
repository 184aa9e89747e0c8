//! Mounts for tests: of a command's own, which are gone with the command, and of
//! file systems in image files, which are gone with their guard.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::program;

/// A command that runs the shell commands `before` in a mount namespace of its
/// own and then becomes `program`; `$ROOT` is `root`. Needs root.
pub fn command(before: &str, root: &Path, program: &Path) -> Command {
    let script = format!("set -e; {before}; exec \"$@\"");
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    unshare.arg(program).env("ROOT", root);
    unshare
}

/// A file system that is mounted as long as this lives.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts `source` on the folder `at`, which is made where it is not there.
    ///
    /// # Errors
    /// When it cannot be mounted: this needs root, and a kernel that has the file
    /// system.
    pub fn new(filesystem: &str, options: &str, source: &OsStr, at: &Path) -> Result<Self> {
        fs::create_dir_all(at).with_context(|| format!("cannot make {}", at.display()))?;
        let words = ["-t", filesystem, "-o", options].map(OsStr::new);
        program::succeed("mount", words.into_iter().chain([source, at.as_os_str()])).with_context(|| {
            format!("cannot mount {filesystem}; this takes root, a kernel that has it, and loop devices")
        })?;
        Ok(Self(at.to_owned()))
    }

    /// Mounts the image in a file.
    ///
    /// # Errors
    /// As [`Mounted::new`].
    pub fn image(filesystem: &str, options: &str, image: &Path, at: &Path) -> Result<Self> {
        Self::new(filesystem, &format!("loop,{options}"), image.as_os_str(), at)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: another test's command may hold a copy of it for a moment.
        let _ = program::succeed("umount", ["--lazy".as_ref(), self.0.as_os_str()]);
    }
}

/// Makes a file that holds nothing, for an image of so many bytes.
///
/// # Errors
/// When it cannot be made.
pub fn blank_image(path: &Path, bytes: u64) -> Result<()> {
    let make = || File::create(path)?.set_len(bytes);
    make().with_context(|| format!("cannot make the image {}", path.display()))
}
