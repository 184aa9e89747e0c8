//! A collector that is killed while operators change it: what was answered is
//! there, and what was not is there whole or not at all.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use congruent_tests::wait::{PATIENCE, wait_for};
use serde_json::Value;

use super::Scene;

/// How often it is killed.
const ROUNDS: u32 = 20;
/// How many changes are under way when the collector is killed.
const AT_ONCE: usize = 4;

#[test]
fn what_was_answered_outlives_a_kill() -> Result<()> {
    let mut scene = Scene::new()?;
    let mut answered = 0;
    for round in 0..ROUNDS {
        // Each is a group of its own, so that none waits for another's version.
        let names: Vec<String> = (0..AT_ONCE).map(|at| format!("g-{round}-{at}")).collect();
        let import = scene.site.manifest().to_string_lossy().into_owned();
        let begun = Instant::now();
        let mut changes = vec![start(&scene, &["manifest", "import", &import])?];
        for name in &names {
            changes.push(start(&scene, &["group", "create", name, "--environment", "prod"])?);
        }
        // From before the first is answered to after the last.
        let moment = Duration::from_millis(4) * round;
        wait_for("the moment to kill", PATIENCE, || Ok((begun.elapsed() >= moment).then_some(())))?;
        scene.collector.take().context("it runs")?.kill();
        let done: Vec<bool> =
            changes.into_iter().map(|child| Ok(ended(child)? == Some(0))).collect::<Result<_>>()?;
        scene.start()?;
        let groups = listed(&scene, "group", "groups")?;
        for (name, _) in names.iter().zip(&done[1..]).filter(|(_, done)| **done) {
            assert!(groups.iter().any(|group| group["name"] == name.as_str()), "{name} is lost");
            answered += 1;
        }
        let manifests = listed(&scene, "manifest", "manifests")?;
        assert!(manifests.len() == 1 || !done[0], "the manifest is lost");
        let folder = scene.site.sandbox.path("manifests");
        let left: Vec<_> = fs::read_dir(&folder).into_iter().flatten().flatten().collect();
        let incoming = |entry: &&fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
        assert_eq!(left.iter().filter(incoming).count(), 0, "half an import is left");
        // Every group has its line in the audit, and no line is without its group.
        let created = scene.audit()?.iter().filter(|action| *action == "group-created").count();
        assert_eq!(created, groups.len());
    }
    println!("{ROUNDS} kills, {answered} answered changes, none lost");
    Ok(())
}

fn start(scene: &Scene, arguments: &[&str]) -> Result<Child> {
    let mut command = scene.admin().command(&[arguments, &["--reason", "a kill"]].concat())?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("cannot start an operator")
}

fn ended(mut child: Child) -> Result<Option<i32>> {
    Ok(child.wait()?.code())
}

fn listed(scene: &Scene, what: &str, key: &str) -> Result<Vec<Value>> {
    let answer = scene.admin().answer(&[what, "list"])?;
    Ok(answer[key].as_array().cloned().unwrap_or_default())
}
