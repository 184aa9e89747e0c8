//! `congruent containers` over real runtimes: it says what they say, with their
//! daemons and without.

mod containerd;
mod docker;
mod mounted;
mod namespaces;
mod on_containerd;
mod ordered;
mod passing;
mod podman;
mod reported;
mod state;
mod verified;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use congruent_tests::agent;
use congruent_tests::program::{Ended, run};
use serde_json::Value;

/// Runs `congruent containers` over a data root as well.
fn containers(data_root: &Path, words: &[&str]) -> Result<Ended> {
    run(agent::command(&["containers", "--data-root"])?.arg(data_root).args(words))
}

/// What it says of one container. The host may have others, also of other tests.
fn told(data_root: &Path, id: &str) -> Result<Value> {
    let ended = containers(data_root, &["--format", "json"])?;
    let page: Value = serde_json::from_slice(&ended.stdout).with_context(|| ended.stderr.clone())?;
    ensure!(page["schema_version"] == 1, "{page}");
    let all = page["containers"].as_array().context("it lists no containers")?;
    let mut of_id = all.iter().filter(|container| container["id"] == id);
    let one = of_id.next().with_context(|| format!("{id} is not listed: {page}"))?;
    ensure!(of_id.next().is_none(), "{id} is listed twice");
    Ok(one.clone())
}

/// The directories of its layers, highest first and parted by colons, as runtimes
/// tell them.
fn lowers(container: &Value) -> String {
    let layers = container["layers"].as_array().into_iter().flatten().rev();
    let init = container["init"].as_str().into_iter();
    let all = init.chain(layers.filter_map(|layer| layer["directory"].as_str()));
    all.collect::<Vec<_>>().join(":")
}

/// The digests of its layers, lowest first.
fn diff_ids(container: &Value) -> Vec<&str> {
    let layers = container["layers"].as_array().into_iter().flatten();
    layers.filter_map(|layer| layer["diff_id"].as_str()).collect()
}

/// What is mounted at `path`: kind, writable, exec.
fn mount<'a>(container: &'a Value, path: &str) -> Option<(&'a str, bool, bool)> {
    let mut mounts = container["mounts"].as_array()?.iter();
    let mount = mounts.find(|mount| mount["path"] == path)?;
    Some((mount["kind"].as_str()?, mount["writable"].as_bool()?, mount["exec"].as_bool()?))
}
