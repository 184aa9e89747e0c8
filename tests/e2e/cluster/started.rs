//! `scripts/cluster` starts all of it, and leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use congruent_tests::wait::{PATIENCE, wait_for};
use congruent_tests::{binaries, program};
use rustix::process::{Pid, Signal, kill_process};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/cluster");

/// The processes that name this folder.
fn processes_of(folder: &Path) -> Result<Vec<String>> {
    let name = folder.to_str().context("no such folder")?;
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")? {
        // One that ends meanwhile is none.
        let words = fs::read(process?.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if words.contains(name) {
            found.push(words);
        }
    }
    Ok(found)
}

#[test]
fn a_cluster_starts_by_one_command_and_leaves_nothing_behind() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("cluster");
    let log = fs::File::create(parent.path().join("log"))?;
    let mut child = Command::new(SCRIPT)
        .arg(&folder)
        .env("CONGRUENT_SERVER", binaries::path("congruent-server")?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start scripts/cluster")?;
    let stdout = child.stdout.take().context("no stdout")?;
    let mut url = None;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if let Some(found) = line.strip_prefix("operators: ") {
            url = Some(found.to_owned());
        }
        if line == "ready" {
            break;
        }
    }
    let said = || fs::read_to_string(parent.path().join("log")).unwrap_or_default();
    let checked = url.with_context(said).and_then(|url| {
        let ready = congruent_tests::http::request_tls(
            &folder.join("ca.pem"),
            "GET",
            &format!("{url}/readyz"),
            &[],
            b"",
        )?;
        ensure!(ready.status == 200, "{}", ready.text());
        ensure!(processes_of(&folder)?.len() >= 4, "{:?}", processes_of(&folder)?);
        Ok(())
    });
    kill_process(Pid::from_child(&child), Signal::TERM)?;
    let ended = wait_for("the cluster to stop", PATIENCE, || Ok(child.try_wait()?));
    program::end(&mut child);
    checked?;
    ensure!(ended?.code() == Some(143), "{}", said());
    let left = processes_of(&folder)?;
    ensure!(left.is_empty(), "left running: {left:?}");
    Ok(())
}
