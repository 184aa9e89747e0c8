//! Units of systemd, held to what systemd itself says of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::binaries;
use crate::program::run;
use crate::sandbox::Sandbox;

/// Holds a unit to be well formed, and gives its exposure as `systemd-analyze security`
/// has it: 0 is none, 10 is all. `program` is one of ours, which the unit has in
/// `/usr/bin`.
///
/// # Errors
/// When systemd finds anything amiss, or cannot be asked.
pub fn exposure(unit: &Path, program: &str) -> Result<f64> {
    let sandbox = Sandbox::new()?;
    // Its program is looked for where it will be.
    let text = fs::read_to_string(unit).context("cannot read the unit")?;
    let text = text.replace(&format!("/usr/bin/{program}"), &binaries::path(program)?.to_string_lossy());
    let name = unit.file_name().context("the unit has no name")?;
    let file = sandbox.write(Path::new(name), text)?;
    let verified = run(Command::new("systemd-analyze").arg("verify").arg(&file))?;
    ensure!(verified.code == Some(0) && verified.stderr.is_empty(), "{}", verified.stderr);
    let mut security = Command::new("systemd-analyze");
    let said = run(security.args(["security", "--offline=true", "--no-pager"]).arg(&file))?.text();
    let exposure = said.lines().find_map(|line| line.split_once("exposure level for ")?.1.split_once(": "));
    let figure = exposure.and_then(|(_, figure)| figure.split(' ').next()?.parse().ok());
    figure.with_context(|| said.clone())
}
