//! Root file systems for tests: a small one made by hand, and copies.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use crate::program;

/// Copies a whole tree with every attribute, links and devices as they are.
///
/// # Errors
/// When `to` exists, or anything cannot be copied.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let arguments = ["-a".as_ref(), "--no-target-directory".as_ref(), from.as_os_str(), to.as_os_str()];
    program::succeed::<&OsStr>("cp", arguments).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// Makes a tree of a few entries, for tests that are about something else.
///
/// # Errors
/// When it cannot be written.
pub fn small(root: &Path) -> Result<()> {
    for folder in ["etc", "usr/bin", "usr/share/doc", "tmp", "var/log"] {
        fs::create_dir_all(root.join(folder)).with_context(|| format!("cannot make {folder}"))?;
    }
    for (path, content) in [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("etc/web.conf", "listen 80\n"),
        ("usr/bin/web", "#!/bin/sh\necho served\n"),
        ("usr/share/doc/README", "Read this.\n"),
    ] {
        fs::write(root.join(path), content).with_context(|| format!("cannot write {path}"))?;
    }
    symlink("usr/bin", root.join("bin")).context("cannot make a link")
}
