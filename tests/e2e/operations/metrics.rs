//! `/metrics` as Prometheus takes it, and everything that is built on it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use congruent_tests::collector::Collector;
use congruent_tests::curl::Curl;
use congruent_tests::program::run;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::site::{GROUP, Settings, Site};
use serde_json::Value;

use super::{file, promtool};

const OPEN_METRICS: &str = "accept: application/openmetrics-text; version=1.0.0";
/// What Prometheus itself knows of whom it asks.
const OF_PROMETHEUS: &str = "up";

/// A collector that has seen something of everything, and what it tells.
fn told(site: &Site, collector: &Collector) -> Result<String> {
    ensure!(site.sweep("web-1")?.code == Some(0));
    site.tamper("web-1")?;
    ensure!(site.sweep("web-1")?.code == Some(1), "a finding");
    let curl = Curl::new(collector.authority());
    curl.ask("GET", &format!("{}/no/such/route", collector.url()), "")?;
    curl.ask("POST", &format!("{}/v1/enroll", collector.url()), "{}")?;
    Ok(curl.ask("GET", &format!("{}/metrics", collector.url()), "")?.text())
}

/// The value of the series with this name and these labels, as they stand.
fn value(text: &str, series: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.with_context(|| format!("no {series} in {text}"))?.parse().context(series.to_owned())
}

/// Every name that begins as ours do.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    let ours = |word: &&str| word.starts_with("congruent_") || word.starts_with("process_");
    words.filter(ours).map(str::to_owned).collect()
}

#[test]
fn metrics_are_as_prometheus_takes_them_and_name_nobody() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let collector = site.collect(&Settings::default())?;
    let text = told(&site, &collector)?;
    for (series, expected) in [
        ("congruent_reports_total{outcome=\"accepted\"}", 2.0),
        ("congruent_reports_total{outcome=\"duplicate\"}", 0.0),
        ("congruent_nodes{state=\"divergent\"}", 1.0),
        ("congruent_nodes{state=\"silent\"}", 0.0),
        ("congruent_containers{state=\"divergent\"}", 0.0),
        ("congruent_enrolments_total", 1.0),
        ("congruent_ready{check=\"store-write-milliseconds\"}", 1.0),
        ("congruent_ready{check=\"running\"}", 1.0),
        ("congruent_store_metrics_current", 1.0),
        ("congruent_lane_used_bytes{lane=\"reports\"}", 0.0),
        ("congruent_http_requests_total{route=\"unmatched\",method=\"GET\",status=\"4xx\"}", 1.0),
        ("congruent_http_requests_total{route=\"/v1/reports\",method=\"POST\",status=\"2xx\"}", 2.0),
        ("congruent_build_info{version=\"0.1.0\"}", 1.0),
    ] {
        assert_eq!(value(&text, series)?, expected, "{series}");
    }
    for series in [
        "congruent_received_bytes_total{lane=\"reports\"}",
        "congruent_decompressed_bytes_total{lane=\"reports\"}",
        "congruent_tls_handshakes_total{port=\"agents\"}",
        "congruent_tls_handshakes_total{port=\"operators\"}",
        "congruent_connections_open{port=\"operators\"}",
        "congruent_connections_capacity{port=\"agents\"}",
        "congruent_store_transaction_duration_seconds_count",
        "congruent_store_read_duration_seconds_count",
        "congruent_judgement_duration_seconds_count",
        "congruent_decisions_total{verdict=\"replace\"}",
        "congruent_authority_certificate_end_timestamp_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        ensure!(value(&text, series)? > 0.0, "{series} in {text}");
    }
    for name in ["web-1", GROUP, "web.manifest", "usr/bin", &site.sandbox.folder().display().to_string()] {
        ensure!(!text.contains(&format!("\"{name}")), "{name} in {text}");
    }
    println!(
        "/metrics: {} series in {} bytes",
        text.lines().filter(|line| !line.starts_with('#')).count(),
        text.len()
    );
    check_lint(&site, &text)?;
    check_open_metrics(&site, &collector)?;
    check_built_upon(&text)
}

/// What Prometheus' own linter says of them: nothing.
fn check_lint(site: &Site, text: &str) -> Result<()> {
    let written = site.sandbox.write("metrics.txt", text)?;
    let promtool = super::promtool_path()?;
    let script = format!("exec {} check metrics <{}", promtool.display(), written.display());
    let linted = run(Command::new("sh").args(["-c", &script]))?;
    ensure!(linted.code == Some(0) && linted.stderr.is_empty(), "{}", linted.stderr);
    Ok(())
}

/// Prometheus' own reader of OpenMetrics takes them, once each has a time.
fn check_open_metrics(site: &Site, collector: &Collector) -> Result<()> {
    let curl = Curl::new(collector.authority()).with("--header").with(OPEN_METRICS);
    let text = curl.ask("GET", &format!("{}/metrics", collector.url()), "")?.text();
    ensure!(text.ends_with("# EOF\n"), "{text}");
    let timed: Vec<_> = text
        .lines()
        .map(|line| match line.starts_with('#') {
            true => line.to_owned(),
            false => format!("{line} 1700000000"),
        })
        .collect();
    let written = site.sandbox.write("metrics.om", timed.join("\n") + "\n")?;
    let blocks = site.sandbox.path("blocks");
    let (written, blocks) = (written.display().to_string(), blocks.display().to_string());
    let read = promtool(&["tsdb", "create-blocks-from", "openmetrics", &written, &blocks])?;
    ensure!(read.code == Some(0), "{} {}", read.text(), read.stderr);
    Ok(())
}

/// Dashboard and alerts ask for nothing that is not there.
fn check_built_upon(text: &str) -> Result<()> {
    // A histogram's name has its kinds of series; none of them is asked for by chance.
    let there = names(text);
    for path in ["deploy/prometheus/alerts.yml", "deploy/grafana/congruent.json"] {
        let asked = names(&fs::read_to_string(file(path)).with_context(|| path.to_owned())?);
        let missing: Vec<_> = asked.difference(&there).collect();
        ensure!(asked.len() > 10 && missing.is_empty(), "{path} asks for {missing:?}");
    }
    let table = fs::read_to_string(file("docs/operations.md")).context("no documentation")?;
    let documented = names(&table);
    let kinds = ["_bucket", "_sum", "_count"];
    let told = there.iter().filter(|name| !kinds.iter().any(|kind| name.ends_with(kind)));
    let missing: Vec<_> = told.filter(|name| !documented.contains(*name)).collect();
    ensure!(missing.is_empty(), "docs/operations.md says nothing of {missing:?}");
    Ok(())
}

#[test]
fn alerts_are_valid_fire_where_they_should_and_have_a_runbook_each() -> Result<()> {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let checked = promtool(&arguments)?;
        ensure!(checked.code == Some(0), "{arguments:?}: {} {}", checked.text(), checked.stderr);
    }
    let alerts = fs::read_to_string(file("deploy/prometheus/alerts.yml"))?;
    let tests = fs::read_to_string(file("deploy/prometheus/alerts_test.yml"))?;
    let runbooks = fs::read_to_string(file("docs/operations.md"))?;
    let mut count = 0;
    for alert in alerts.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap_or_default();
        for part in ["summary: ", "description: ", "severity: "] {
            ensure!(alert.contains(part), "{name} has no {part}");
        }
        let runbook = format!("runbook: docs/operations.md#{}", name.to_lowercase());
        ensure!(alert.contains(&runbook), "{name} does not name its runbook");
        ensure!(
            runbooks.contains(&format!("\n#### {name}\n")),
            "docs/operations.md has no runbook of {name}"
        );
        for when in ["fires", "is silent"] {
            ensure!(tests.contains(&format!("- name: {name} {when}\n")), "nothing tests that {name} {when}");
        }
        count += 1;
    }
    ensure!(count > 0 && alerts.contains(OF_PROMETHEUS));
    println!("{count} alerts, each tested to fire and to be silent, each with a runbook");
    Ok(())
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let text = fs::read_to_string(file("deploy/grafana/congruent.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().context("a panel without a title")?;
        ensure!(
            ids.insert(panel["id"].as_u64().context("a panel without an id")?),
            "{title}: its id stands twice"
        );
        if panel["type"] == "row" {
            continue;
        }
        ensure!(
            panel["description"].is_string() && panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}"
        );
        for target in panel["targets"].as_array().context("a panel that asks for nothing")? {
            let expression = target["expr"].as_str().context("a target without an expression")?;
            let expression = expression.replace("$__rate_interval", "5m").replace("$instance", ".*");
            let rule = sandbox.write("rule.yml", rule(&expression)?)?;
            let ended = promtool(&["check", "rules", &rule.display().to_string()])?;
            ensure!(ended.code == Some(0), "{title}: {expression}: {}", ended.stderr);
        }
    }
    ensure!(dashboard["uid"] == "congruent" && dashboard["schemaVersion"].is_u64());
    Ok(())
}

/// A rule that records what an expression gives, so that promtool reads it.
fn rule(expression: &str) -> Result<String> {
    let expression = serde_json::to_string(expression)?;
    Ok(format!("groups:\n  - name: g\n    rules:\n      - record: a:b\n        expr: {expression}\n"))
}
