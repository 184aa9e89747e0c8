//! The agent's command line, `congruent`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use congruent_protocol::verification::Verification;

use crate::binaries;
use crate::program::{Ended, run};
use crate::sandbox::KeyFiles;

/// The name and version that [`bake`] bakes.
pub const BAKED: (&str, &str) = ("web", "1.4.2");

/// A `congruent` command with these first arguments.
///
/// # Errors
/// When the binary is missing.
pub fn command(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(binaries::path("congruent")?);
    command.args(arguments);
    Ok(command)
}

/// `congruent bake` of `root` into `output`, ready for more arguments.
///
/// # Errors
/// When the binary is missing.
pub fn bake_command(root: &Path, output: &Path) -> Result<Command> {
    let mut bake = command(&["bake"])?;
    bake.arg(root).args(["--name", BAKED.0, "--version", BAKED.1, "--output"]).arg(output);
    Ok(bake)
}

/// Bakes `root` into `output`, signed.
///
/// # Errors
/// When that fails.
pub fn bake(root: &Path, contract: Option<&Path>, keys: &KeyFiles, output: &Path) -> Result<()> {
    bake_composed(root, contract.as_slice(), keys, output)
}

/// The same with a contract of several files.
///
/// # Errors
/// When that fails.
pub fn bake_composed<P: AsRef<Path>>(
    root: &Path,
    contracts: &[P],
    keys: &KeyFiles,
    output: &Path,
) -> Result<()> {
    let mut bake = bake_command(root, output)?;
    bake.arg("--key").arg(&keys.secret);
    for contract in contracts {
        bake.arg("--contract").arg(contract.as_ref());
    }
    let ended = run(&mut bake)?;
    ensure!(ended.code == Some(0), "congruent bake failed ({:?}): {}", ended.code, ended.stderr);
    Ok(())
}

/// `congruent verify` with JSON output, as arguments.
pub fn verify_arguments<'a>(manifest: &'a Path, trust: &'a Path, root: &'a Path) -> [&'a std::ffi::OsStr; 9] {
    let word = std::ffi::OsStr::new;
    [
        word("verify"),
        word("--manifest"),
        manifest.as_os_str(),
        word("--trust"),
        trust.as_os_str(),
        word("--root"),
        root.as_os_str(),
        word("--format"),
        word("json"),
    ]
}

/// Verifies `root` against `manifest`.
///
/// # Errors
/// When the program cannot be run.
pub fn verify(manifest: &Path, trust: &Path, root: &Path) -> Result<Ended> {
    run(command(&[])?.args(verify_arguments(manifest, trust, root)))
}

/// The verification that `congruent verify --format json` printed.
///
/// # Errors
/// When it printed anything else; with what it said.
pub fn verification(ended: &Ended) -> Result<Verification> {
    serde_json::from_slice(&ended.stdout)
        .with_context(|| format!("no verification: {}{}", ended.text(), ended.stderr))
}
