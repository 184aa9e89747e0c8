//! Programs by others that check the same formats: `tests/peers/`, run by the
//! Python that `make setup` prepares, and packages of Node.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::binaries;

/// Runs `peers/SCRIPT` with these arguments and this input; gives what it prints.
///
/// # Errors
/// When the peer refuses, with its reason, or is not installed.
pub fn ask<S: AsRef<OsStr>>(script: &str, arguments: &[S], input: &[u8]) -> Result<Vec<u8>> {
    let mut stdin: File = tempfile::tempfile().context("cannot make the peer's input")?;
    stdin.write_all(input).and_then(|()| stdin.rewind()).context("cannot write the peer's input")?;
    let mut command = Command::new(python()?);
    command.arg(folder().join(script)).args(arguments).stdin(Stdio::from(stdin));
    let output = command.output().context("cannot run the peer")?;
    ensure!(output.status.success(), "{script} refuses: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// `python -m MODULE`, of a module or package in `peers/`; ready for arguments.
///
/// # Errors
/// When Python is not installed.
pub fn module(name: &str) -> Result<Command> {
    let mut command = Command::new(python()?);
    // It leaves nothing in the sources, and takes no module from where it is run.
    command.args(["-B", "-P", "-m", name]).env("PYTHONPATH", folder());
    Ok(command)
}

/// A program that `make setup` installed with the peers; ready for arguments.
///
/// # Errors
/// When it is missing.
pub fn program(name: &str) -> Result<Command> {
    let program = python()?.with_file_name(name);
    ensure!(program.is_file(), "{} is missing; run: make setup", program.display());
    Ok(Command::new(program))
}

/// A file in `peers/`.
pub fn file(name: &str) -> PathBuf {
    folder().join(name)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

fn python() -> Result<PathBuf> {
    let python = binaries::folder()?.join("../venv/bin/python");
    ensure!(python.is_file(), "{} is missing; run: make setup", python.display());
    Ok(python)
}

/// A file of a Node package that `make setup` installed.
///
/// # Errors
/// When it is missing.
pub fn node_file(path: &str) -> Result<PathBuf> {
    let file = binaries::folder()?.join("../node/node_modules").join(path);
    ensure!(file.is_file(), "{} is missing; run: make setup", file.display());
    Ok(file)
}
