//! The smallest root that a container can run: Debian's static busybox and little
//! else, as a tar archive that runtimes import.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::program;

/// Where Debian's package `busybox-static` has it.
const BUSYBOX: &str = "/bin/busybox";
/// What it is called in the root as well.
const NAMES: [&str; 6] = ["cat", "chmod", "ls", "sh", "sleep", "true"];

/// Makes the root in `folder`, and gives its archive beside it.
///
/// # Errors
/// When it cannot be made: this needs Debian's package `busybox-static`.
pub fn archive(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("busybox");
    for directory in ["bin", "etc"] {
        fs::create_dir_all(root.join(directory)).context("cannot make the root")?;
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).with_context(|| format!("cannot copy {BUSYBOX}"))?;
    for name in NAMES {
        symlink("busybox", root.join("bin").join(name)).context("cannot make a link")?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").context("cannot write a file")?;
    let archive = folder.join("busybox.tar");
    let words = ["--directory".as_ref(), root.as_os_str(), "--create".as_ref(), "--file".as_ref()];
    program::succeed("tar", words.into_iter().chain([archive.as_os_str(), ".".as_ref()]))?;
    Ok(archive)
}

/// Writes a folder to build an image in: two layers more on top of `base`.
///
/// # Errors
/// When it cannot be written.
pub fn context(folder: &Path, base: &str) -> Result<PathBuf> {
    let context = folder.join("context");
    fs::create_dir_all(&context).context("cannot make the folder to build in")?;
    for (name, text) in [("one", "1\n"), ("two", "2\n")] {
        fs::write(context.join(name), text).context("cannot write a file")?;
    }
    let recipe = format!("FROM {base}\nCOPY one /one\nCOPY two /two\n");
    fs::write(context.join("Dockerfile"), recipe).context("cannot write the Dockerfile")?;
    Ok(context)
}
