//! What operators of a collector rely on: its metrics with their alerts, its logs, how it
//! stops, and its systemd unit.

mod logs;
mod metrics;
mod refused;
mod stopping;
mod unit;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use congruent_tests::binaries;
use congruent_tests::program::{Ended, run};

/// A file of the project.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Debian's promtool, which `make setup` brings.
fn promtool_path() -> Result<PathBuf> {
    let path = binaries::folder()?.join("../promtool/promtool");
    ensure!(path.exists(), "there is no {}; make setup brings it", path.display());
    Ok(path)
}

/// Runs it where the rules are.
fn promtool(arguments: &[&str]) -> Result<Ended> {
    run(Command::new(promtool_path()?).args(arguments).current_dir(file("deploy/prometheus")))
}
