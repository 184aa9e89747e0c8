//! `congruent-server selftest`: what this machine and its disk would carry.

use std::process::Command;

use anyhow::{Context, Result};
use congruent_postgres::Postgres;
use congruent_tests::binaries;
use congruent_tests::program::{Ended, run};
use congruent_tests::sandbox::Sandbox;
use congruent_tests::simulated::Simulated;
use congruent_tests::site::{Settings, Site};
use congruent_tests::wait::{PATIENCE, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn selftest(arguments: &[&str]) -> Result<Ended> {
    let mut command = Command::new(binaries::path("congruent-server")?);
    run(command.args(["selftest", "--seconds", "1"]).args(arguments))
}

#[test]
fn it_says_how_many_nodes_beside_a_running_collector_and_leaves_nothing() -> Result<()> {
    let fleet = Simulated::start(Settings { more: "interval = \"30m\"\n", ..Settings::default() })?;
    let (before, config) = (fleet.site.sandbox.listing()?, fleet.site.sandbox.path("server.toml"));
    let ended = selftest(&["--format", "json", "--config", &config.to_string_lossy()])?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let outcome: Value = serde_json::from_slice(&ended.stdout)?;
    for figure in ["nodes", "heartbeats_per_second", "clean_reports_per_second", "drift_reports_per_second"] {
        assert!(outcome[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure}: {outcome}");
    }
    assert!(outcome["fsync"]["p99_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{outcome}");
    // As the collector tells its nodes.
    assert_eq!((&outcome["heartbeat_seconds"], &outcome["sweep_seconds"]), (&60.into(), &1800.into()));
    assert_eq!(fleet.site.sandbox.listing()?, before, "nothing is left");
    assert_eq!(fleet.collector.json("/v1/nodes")?["nodes"], Value::Array(vec![]), "nothing was touched");
    Ok(())
}

#[test]
fn on_postgresql_it_has_a_schema_of_its_own_and_leaves_nothing() -> Result<()> {
    let postgres = Postgres::start()?;
    let database = postgres.database()?;
    let site = Site::small(&[])?.on_postgres(database.clone());
    let fleet = Simulated::start_at(site, Settings::default(), None)?;
    let schemas = || fleet.site.count("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'congruent%'");
    let config = fleet.site.sandbox.path("server.toml").to_string_lossy().into_owned();
    let ended = selftest(&["--format", "json", "--config", &config])?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let outcome: Value = serde_json::from_slice(&ended.stdout)?;
    assert!(outcome["nodes"].as_u64().is_some_and(|nodes| nodes > 0), "{outcome}");
    assert_eq!(outcome["fsync"], Value::Null);
    assert_eq!(schemas()?, 0, "nothing is left");
    assert_eq!(fleet.collector.json("/v1/nodes")?["nodes"], Value::Array(vec![]), "nothing was touched");
    // Stopped in between.
    let mut command = Command::new(binaries::path("congruent-server")?);
    let mut child = command.args(["selftest", "--seconds", "60", "--config", &config]).spawn()?;
    wait_for("the test's schema", PATIENCE, || Ok((schemas()? == 1).then_some(())))?;
    kill_process(Pid::from_child(&child), Signal::TERM)?;
    child.wait()?;
    assert_eq!(schemas()?, 0, "nothing is left");
    Ok(())
}

#[test]
fn it_says_so_in_a_sentence_where_there_is_no_configuration_yet() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let database = sandbox.path("congruent.db");
    let ended = selftest(&["--database", &database.to_string_lossy()])?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let text = ended.text();
    let sentence = text.lines().next().context("nothing was said")?;
    assert!(sentence.contains("will carry") && sentence.contains("every 60 s"), "{text}");
    assert!(text.contains("fsync"), "{text}");
    assert_eq!(sandbox.listing()?, Vec::<String>::new(), "nothing is left");

    let missing = sandbox.path("missing/congruent.db");
    let refused = selftest(&["--database", &missing.to_string_lossy()])?;
    assert_eq!(refused.code, Some(2), "{}", refused.text());
    assert!(refused.stderr.contains("missing"), "{}", refused.stderr);
    Ok(())
}
