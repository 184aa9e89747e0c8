//! Scenarios in which nothing is ordered.

use anyhow::{Context, Result};
use congruent_tests::simulated::Simulated;
use congruent_tests::site::Settings;

use super::{all, check_delivered, counts, nodes};

fn fleet() -> Result<Simulated> {
    Simulated::start(Settings::default())
}

#[test]
fn healthy_nodes_are_congruent_and_what_they_cost_is_told() -> Result<()> {
    let fleet = fleet()?;
    let outcome =
        fleet.run("healthy", &["--nodes", "20", "--sweep-every", "3", "--turns", "6", "--rate", "200"])?;
    check_delivered(&outcome, 40);
    assert_eq!((outcome.nodes, outcome.connections), (20, 20));
    let (beats, sweeps) = (outcome.kind("heartbeat"), outcome.kind("clean-report"));
    assert_eq!((beats.answered, sweeps.answered), (80, 40), "{outcome}");
    assert_eq!(outcome.kind("connect").answered, 20, "connections are kept");
    assert!(beats.trouble.is_empty() && sweeps.trouble.is_empty(), "{outcome}");
    let latency = sweeps.latency;
    assert!(0.0 < latency.p50_ms && latency.p50_ms <= latency.p99_ms && latency.p99_ms <= latency.max_ms);
    let collector = outcome.collector.context("the collector was not watched")?;
    assert!(collector.cpu_micros_per_message > 0.0 && collector.resident_bytes > 1 << 20, "{collector:?}");
    assert!(collector.database_bytes_per_report.is_some_and(|each| each > 0.0), "{collector:?}");
    assert_eq!(counts(&fleet, "/state")?, all("congruent", 20));
    Ok(())
}

#[test]
fn drifting_nodes_tell_new_findings_each_time() -> Result<()> {
    let fleet = fleet()?;
    let outcome = fleet.run("drifting", &["--nodes", "5", "--turns", "4", "--findings", "7"])?;
    check_delivered(&outcome, 20);
    assert_eq!(
        (counts(&fleet, "/state")?, counts(&fleet, "/findings_total")?),
        (all("divergent", 5), all("7", 5))
    );
    let sets = crate::watch::count(&fleet.site, "SELECT count(DISTINCT findings_digest) FROM reports")?;
    assert_eq!(sets, 20, "no set was told twice");
    Ok(())
}

#[test]
fn flapping_nodes_change_state_each_time() -> Result<()> {
    let fleet = fleet()?;
    let outcome = fleet.run("flapping", &["--nodes", "3", "--turns", "4"])?;
    check_delivered(&outcome, 12);
    assert_eq!((outcome.kind("drift-report").answered, outcome.kind("clean-report").answered), (6, 6));
    assert_eq!(counts(&fleet, "/state")?, all("congruent", 3));
    let node = fleet.collector.json("/v1/nodes/sim-000000")?;
    let states: Vec<_> = node["states"].as_array().context("no states")?.iter().collect();
    let names: Vec<_> = states.iter().filter_map(|state| state["state"].as_str()).collect();
    assert_eq!(names, ["congruent", "divergent", "congruent", "divergent", "unknown"], "{node}");
    Ok(())
}

#[test]
fn a_rollout_ends_with_every_node_on_the_new_release() -> Result<()> {
    let fleet = fleet()?;
    check_delivered(&fleet.run("rolling-out", &["--nodes", "10", "--turns", "3"])?, 30);
    let halfway = counts(&fleet, "/manifest/version")?;
    assert_eq!(halfway, [("1.0".to_owned(), 6), ("2.0".to_owned(), 4)].into(), "two waves of five");
    // Nodes that enrolled for one run may go on in the next.
    let enrolments = fleet.site.sandbox.path("enrolments");
    let enrolments = enrolments.to_string_lossy();
    let others = ["--nodes", "10", "--prefix", "other", "--enrolments", &enrolments];
    check_delivered(&fleet.run("rolling-out", &[&others[..], &["--turns", "3"]].concat())?, 30);
    check_delivered(&fleet.run("rolling-out", &others)?, 60);
    assert_eq!(counts(&fleet, "/state")?, all("congruent", 20));
    let others: Vec<_> = nodes(&fleet)?
        .into_iter()
        .filter(|node| node["id"].as_str().is_some_and(|id| id.starts_with("other")))
        .collect();
    assert!(
        others.len() == 10 && others.iter().all(|node| node["manifest"]["version"] == "2.0"),
        "{others:?}"
    );
    let chains = crate::watch::count(&fleet.site, "SELECT count(*) FROM chain_notes")?;
    assert_eq!(chains, 0, "no chain has a gap");
    Ok(())
}

#[test]
fn clones_are_found_out_by_their_reports_and_by_their_signs_of_life() -> Result<()> {
    let fleet = fleet()?;
    let outcome = fleet.run("cloned", &["--nodes", "3", "--rate", "12"])?;
    assert_eq!((outcome.reports.made, outcome.reports.acknowledged, outcome.reports.refused), (6, 3, 3));
    assert_eq!(outcome.reports.lost, 0);
    assert_eq!(outcome.kind("clean-report").trouble.get("cloned"), Some(&3), "{outcome}");
    for node in ["sim-000000", "sim-000001", "sim-000002"] {
        let node = fleet.collector.json(&format!("/v1/nodes/{node}"))?;
        let refusals = node["refusals"].as_array().context("no refusals")?;
        let codes: Vec<_> = refusals.iter().filter_map(|refusal| refusal["code"].as_str()).collect();
        assert!(codes.contains(&"cloned") && codes.contains(&"two-boots"), "{codes:?}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_simulated_is_said() -> Result<()> {
    let fleet = fleet()?;
    for (scenario, arguments, says) in [
        (
            "drifting",
            &["--nodes", "1", "--findings", "65"][..],
            "only 64 files of simulated 1.0 may not change",
        ),
        ("healthy", &["--nodes", "0"], "there are no nodes"),
        ("healthy", &["--nodes", "1", "--rate", "0"], "--rate must be more than 0"),
    ] {
        let error = fleet.run(scenario, arguments).map(|outcome| outcome.to_string());
        let error = format!("{:#}", error.err().context("it ran")?);
        assert!(error.contains(says), "{error}");
    }
    Ok(())
}
