//! Where the binaries under test are: beside this one.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// The folder that cargo puts binaries into, such as `target/debug`.
///
/// # Errors
/// When the running program cannot be found.
pub fn folder() -> Result<PathBuf> {
    let mut folder = env::current_exe().context("cannot find the running program")?;
    folder.pop();
    // Test executables live one level deeper than binaries.
    if folder.ends_with("deps") {
        folder.pop();
    }
    Ok(folder)
}

/// The path of a binary of this workspace, such as `congruent`.
///
/// # Errors
/// When it has not been built.
pub fn path(name: &str) -> Result<PathBuf> {
    let path = folder()?.join(name);
    ensure!(path.is_file(), "{} is missing; build it first: cargo build --workspace", path.display());
    Ok(path)
}
