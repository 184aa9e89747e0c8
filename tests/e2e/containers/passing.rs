//! Containers that start, end, or are started again while they are looked at: what is told
//! of them is so, and never that they are clean where that was not seen.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result, ensure};
use congruent_tests::docker::Docker;
use congruent_tests::podman::Podman;
use congruent_tests::program::run;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::wait::{PATIENCE, wait_for};
use congruent_tests::{agent, program};
use serde_json::Value;

use super::told;
use super::verified::{Runtime, Web};

/// What is told of a container between two runs, and of one that has not its root yet.
const BETWEEN_RUNS: &str = "says that it is started again";
const NO_ROOT_YET: &str = "still has the host's root";
const NO_PROCESS: &str = "no process of it was found";

/// So slow that there is time to end a container while its program is read.
const SLOWLY: [&str; 2] = ["--max-bytes-per-second", "500K"];

fn gaps(container: &Value) -> Vec<&str> {
    container["gaps"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Why the parts of a container that was verified could not be seen.
fn reasons(verdict: &Value) -> Vec<&str> {
    let gaps = verdict["coverage"]["gaps"].as_array().into_iter().flatten();
    gaps.filter_map(|gap| gap["reason"].as_str()).collect()
}

#[test]
fn a_container_that_is_started_again_and_again_is_told_as_such() -> Result<()> {
    let web = Web::on(Docker::start)?;
    // Docker makes a place for the memory, and tells nobody of it where none is mounted.
    let run = [
        "run",
        "--detach",
        "--network=none",
        "--tmpfs=/scratch",
        "--restart=always",
        "--name=again",
        "web:1",
    ];
    let again = web.runtime.docker(&[&run[..], &["/usr/bin/busybox", "true"]].concat())?;
    let root = Runtime::data_root(&web.runtime);
    let is_between = || {
        let container = told(&root, &again)?;
        // It starts and ends in no time, so that a look may come upon anything.
        let is_true = |gap: &&str| {
            [BETWEEN_RUNS, NO_ROOT_YET, NO_PROCESS].iter().any(|true_one| gap.contains(true_one))
        };
        ensure!(gaps(&container).iter().all(is_true), "{container}");
        let is_so = container["state"] == "restarting" && gaps(&container)[0].contains(BETWEEN_RUNS);
        // Docker waits twice as long each time: by now it does for seconds.
        let count = web.runtime.inspect("again")?["RestartCount"].as_u64();
        Ok((is_so && count > Some(5)).then_some(()))
    };
    wait_for("the container to be between two runs", PATIENCE, is_between)?;
    let (ended, told) = web.image.verify(&web.runtime, &[&again])?;
    ensure!(ended.code == Some(3) && told[0]["state"] == "incomplete", "{}", told[0]);
    ensure!(reasons(&told[0]).iter().any(|reason| reason.contains(BETWEEN_RUNS)), "{}", told[0]);
    ensure!(told[0]["upper"]["findings"].as_array().is_some_and(Vec::is_empty), "{}", told[0]);
    // Its layers lie there, and are looked at.
    let layer = web.directory("LowerDir")?;
    fs::write(layer.join("usr/bin/more"), "")?;
    let (ended, told) = web.image.verify(&web.runtime, &[&again])?;
    ensure!(ended.code == Some(1) && told[0]["lower"]["state"] == "divergent", "{}", told[0]);
    web.runtime.docker(&["rm", "--force", "again"]).map(drop)
}

/// Podman starts it at once, so that there is but a moment between two runs.
#[test]
fn podman_starts_a_container_again_and_again() -> Result<()> {
    let web = Web::on(Podman::new)?;
    let run = ["run", "--detach", "--network=none", "--restart=always", "--name=again", "web:1"];
    let again = web.runtime.call(&[&run[..], &["/usr/bin/busybox", "true"]].concat())?;
    let root = Runtime::data_root(&web.runtime);
    let is_between = || {
        let container = told(&root, &again)?;
        Ok((container["state"] == "restarting" && gaps(&container)[0].contains(BETWEEN_RUNS)).then_some(()))
    };
    wait_for("the container to be between two runs", PATIENCE, is_between)?;
    // Podman fails where it ends meanwhile.
    let remove = || Ok(web.runtime.call(&["rm", "--force", "again"]).ok());
    wait_for("the container to be removed", PATIENCE, remove)?;
    // One that somebody stops is started no more.
    let kept = Runtime::sleeper(&web.runtime, "kept", &["--restart=always"])?;
    ensure!(told(&root, &kept)?["state"] == "running");
    web.runtime.call(&["stop", "--time=0", "kept"])?;
    let container = told(&root, &kept)?;
    ensure!(container["state"] == "stopped" && gaps(&container).is_empty(), "{container}");
    Ok(())
}

/// However often it is started, a look sees it as it was before or is after, and says what
/// it sees where that takes long.
#[test]
fn a_container_that_starts_is_told_as_it_is_once_it_has() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let docker = Docker::start(&sandbox.path("docker"))?;
    docker.build()?;
    let id = docker.sleeper("web", &[])?;
    let root = docker.data_root();
    thread::scope(|scope| {
        let starting = scope.spawn(|| {
            for _ in 0..8 {
                docker.docker(&["restart", "--time=0", "web"])?;
            }
            anyhow::Ok(())
        });
        let mut ran = 0;
        while !starting.is_finished() {
            let container = told(&root, &id)?;
            let is_true =
                |gap: &&str| [NO_ROOT_YET, NO_PROCESS].iter().any(|true_one| gap.contains(true_one));
            ensure!(gaps(&container).iter().all(is_true), "{container}");
            ran += u32::from(container["state"] == "running" && gaps(&container).is_empty());
        }
        ensure!(ran > 0, "it was never seen to run");
        starting.join().map_err(|_| anyhow::anyhow!("the other thread failed"))?
    })?;
    ensure!(gaps(&told(&root, &id)?).is_empty(), "it has started");
    Ok(())
}

/// What verify says of a container that is ended by `end` once its layer is read.
fn verified_while(web: &Web<Docker>, end: &[&str]) -> Result<Value> {
    let layer = web.directory("LowerDir")?;
    let mut verify = web.image.verifying(&web.runtime)?;
    verify.args(SLOWLY).arg(&web.id).stdout(Stdio::piped());
    let mut verify = verify.spawn()?;
    let files = Path::new("/proc").join(verify.id().to_string()).join("fd");
    let is_reading = || {
        let mut open = fs::read_dir(&files)?.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        Ok(open.any(|file| file.starts_with(&layer)).then_some(()))
    };
    let ended = wait_for("the layer to be read", PATIENCE, is_reading).and_then(|()| web.runtime.docker(end));
    if let Err(error) = ended {
        program::end(&mut verify);
        return Err(error);
    }
    let output = verify.wait_with_output()?;
    ensure!(output.status.code() == Some(3), "{output:?}");
    let page: Value = serde_json::from_slice(&output.stdout)?;
    page["containers"].get(0).cloned().context("there is no container")
}

#[test]
fn a_container_that_ends_while_it_is_looked_at_is_not_called_clean() -> Result<()> {
    let web = Web::on(Docker::start)?;
    let verdict = verified_while(&web, &["restart", "--time=0", "web"])?;
    ensure!(verdict["state"] == "incomplete", "{verdict}");
    ensure!(
        reasons(&verdict) == ["it ended while it was looked at, and may have been started anew"],
        "{verdict}"
    );
    ensure!(verdict["lower"]["state"] == "congruent", "its layers were seen: {verdict}");
    let verdict = verified_while(&web, &["rm", "--force", "web"])?;
    ensure!(verdict["state"] == "incomplete", "{verdict}");
    ensure!(reasons(&verdict) == ["it ended and was removed while it was looked at"], "{verdict}");
    let mut list = agent::command(&["containers", "--format", "json", "--data-root"])?;
    let listed = run(list.arg(Runtime::data_root(&web.runtime)))?;
    ensure!(!listed.text().contains(&web.id), "it is gone: {}", listed.text());
    Ok(())
}
