//! The API's description, by programs of others: OpenAPI's validator takes it, and
//! schemathesis holds a collector with real data to it, over its real ports.
//!
//! `CONGRUENT_API_EXAMPLES` says how many requests of a kind are made; the few that
//! are made unless it does are the same each time.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use congruent_tests::collector::Collector;
use congruent_tests::program::{run, run_within};
use congruent_tests::site::{Settings, Site, token};
use congruent_tests::wait::{PATIENCE, wait_for};
use congruent_tests::{binaries, peer};
use serde_json::json;

/// How many requests of a kind are made unless it is said otherwise.
const EXAMPLES: &str = "10";
/// How long these may take; many more are given an hour.
const DEADLINE: Duration = PATIENCE.saturating_mul(3);
const LONGER_DEADLINE: Duration = Duration::from_secs(3600);

/// The description of a port, as the program prints it.
fn described(api: &str) -> Result<Vec<u8>> {
    let mut command = Command::new(binaries::path("congruent-server")?);
    let ended = run(command.args(["openapi", "--api", api]))?;
    ensure!(ended.code == Some(0), "{}", ended.stderr);
    Ok(ended.stdout)
}

#[test]
fn descriptions_are_openapi_3_1() {
    for api in ["operators", "agents"] {
        peer::ask::<&str>("openapi.py", &[], &described(api).unwrap()).unwrap();
    }
    let refused =
        peer::ask::<&str>("openapi.py", &[], br#"{"openapi":"3.1.0","info":{"title":"x"},"paths":{}}"#);
    assert!(refused.is_err(), "the validator takes anything");
}

/// A collector with nodes, findings, an action, manifests, groups and tokens.
fn site() -> Result<(Site, Collector)> {
    let site = Site::small(&["web-1", "web-2"])?;
    // Nobody listens there: the order is tried, and its failure stands in the action.
    let collector = site.collect(&Settings::replacing("http://127.0.0.1:9/".to_owned()))?;
    for node in ["web-1", "web-2"] {
        ensure!(site.sweep(node)?.code == Some(0), "no clean sweep of {node}");
    }
    site.tamper("web-1")?;
    site.sweep("web-1")?;
    // The second full sweep confirms it.
    site.sweep("web-1")?;
    wait_for("an action", PATIENCE, || {
        let actions = collector.json("/v1/actions")?;
        Ok((actions["actions"].as_array().is_some_and(|actions| !actions.is_empty())).then_some(()))
    })?;
    let group = json!({ "version": 0, "environment": "test" });
    for (method, path, body) in [
        ("PUT", "/v1/groups/fleet", group),
        (
            "POST",
            "/v1/tokens",
            json!({ "group": "fleet", "reusable": true, "max_per_minute": 5, "from": ["10.0.0.0/8"] }),
        ),
        ("POST", "/v1/operators", json!({ "name": "alice", "role": "viewer" })),
    ] {
        let answer = collector.ask(method, path, &body.to_string())?;
        ensure!((200..300).contains(&answer.status), "{method} {path}: {}", answer.text());
    }
    Ok((site, collector))
}

/// Holds the port at `url` to its description.
fn hold(site: &Site, collector: &Collector, (api, url): (&str, &str), more: &[&str]) -> Result<()> {
    let document: PathBuf = site.sandbox.write(format!("{api}.json"), described(api)?)?;
    let examples = std::env::var("CONGRUENT_API_EXAMPLES");
    let mut command = peer::program("schemathesis")?;
    // What it remembers of other runs would make this one another.
    command
        .current_dir(site.sandbox.folder())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", peer::file("schemathesis_hooks.py"));
    command.arg("--config-file").arg(peer::file("schemathesis.toml")).arg("run").arg(&document);
    command.args(["--url", url, "--tls-verify"]).arg(collector.authority());
    command.args(["--checks", "all", "--continue-on-failure", "--no-color", "--warnings", "off"]);
    command.args(["--max-examples", examples.as_deref().unwrap_or(EXAMPLES)]);
    match &examples {
        Ok(_) => command.args(["--generation-database", "none"]),
        Err(_) => command.args(["--seed", "1", "--generation-deterministic"]),
    };
    let began = Instant::now();
    let deadline = if examples.is_ok() { LONGER_DEADLINE } else { DEADLINE };
    let ended = run_within(command.args(more), deadline)?;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    println!("{api}: {} s\n{said}", began.elapsed().as_secs());
    let log = std::fs::read_to_string(site.sandbox.path("server.log")).context("no log")?;
    ensure!(
        ended.code == Some(0),
        "schemathesis found (exit code {:?}): {said}\n{}",
        ended.code,
        ended.stderr
    );
    ensure!(!log.contains("panicked"), "the collector panicked: {log}");
    Ok(())
}

#[test]
fn the_port_of_operators_is_as_described() {
    let (site, collector) = site().unwrap();
    // The one operator whom no request can revoke: its token is the configuration's.
    let bearer = format!("Authorization: Bearer {}", token("operator"));
    hold(&site, &collector, ("operators", collector.url()), &["--header", &bearer]).unwrap();
    assert_eq!(collector.stop().unwrap(), Some(0));
}

#[test]
fn the_port_of_nodes_is_as_described() {
    let (site, collector) = site().unwrap();
    let (certificate, key) = (site.state("web-2").join("node.crt"), site.state("web-2").join("node.key"));
    let (certificate, key) = (certificate.to_string_lossy(), key.to_string_lossy());
    let more = ["--request-cert", &certificate, "--request-cert-key", &key];
    hold(&site, &collector, ("agents", &collector.agents_url().unwrap()), &more).unwrap();
    assert_eq!(collector.stop().unwrap(), Some(0));
}
