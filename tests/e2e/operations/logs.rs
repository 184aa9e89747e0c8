//! Logs, when what comes from outside is made to be read wrongly.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use congruent_tests::collector::{self, Collector};
use congruent_tests::curl::Curl;
use congruent_tests::site::{Settings, Site, token};
use serde_json::{Value, json};

use crate::real_report::capture;

/// What names are made of that are meant to do harm: markup, SQL, a terminal's title, a
/// second line, text that runs the other way, a control of eight bits, what is invisible.
const HOSTILE: &str = "<img onerror=alert(1)>'; DROP TABLE nodes;--\u{1b}]0;owned\u{7}\u{1b}[2J\r\n{\"level\":\"ERROR\"}\u{202e}gnp\u{9b}31m\u{200b}";

/// A collector that logs all that it can in this format, and its log.
fn logging(site: &Site, format: &str) -> Result<(Collector, PathBuf)> {
    let log = site.sandbox.path(format!("{format}.log"));
    let config = site.sandbox.path("server.toml");
    let mut command = collector::command(&config)?;
    command.args(["--log-format", format]).env("CONGRUENT_LOG", "trace");
    Ok((Collector::start_as(command, &config, &log, &token("operator"))?, log))
}

/// Sends harm by every way that reaches a log.
fn send_harm(site: &Site, collector: &Collector) -> Result<()> {
    let report = capture(site, "web-1")?;
    let foreign = |change: &dyn Fn(&mut congruent_protocol::report::Report)| {
        let mut report = report.clone();
        change(&mut report);
        site.sealed("web-1", &report)
    };
    for body in [
        foreign(&|report| report.node = HOSTILE.to_owned())?,
        foreign(&|report| report.chain = HOSTILE.to_owned())?,
        foreign(&|report| report.boot = HOSTILE.to_owned())?,
        foreign(&|report| report.agent_version = HOSTILE.to_owned())?,
        foreign(&|report| report.facts.host_name = Some(HOSTILE.to_owned()))?,
        HOSTILE.as_bytes().to_vec(),
    ] {
        site.post(collector, "web-1", &body)?;
    }
    let heartbeat = json!({ "schema_version": 1, "boot": HOSTILE, "chain": HOSTILE }).to_string();
    let url = format!("{}/v1/heartbeats", collector.agents_url()?);
    site.enrolled("web-1")?.curl(collector.authority()).ask("POST", &url, &heartbeat)?;
    let enrol = json!({ "node": HOSTILE, "token": HOSTILE, "csr": HOSTILE, "agent_version": HOSTILE });
    let curl = Curl::new(collector.authority());
    curl.ask("POST", &format!("{}/v1/enroll", collector.url()), &enrol.to_string())?;
    for (method, path, body) in [
        ("GET", "/v1/nodes/%1b%5d0;owned%07%e2%80%ae%0d%0a", String::new()),
        ("GET", "/v1/actions?node=%1b%5b2J%e2%80%ae", String::new()),
        ("POST", "/v1/tokens", json!({ "group": HOSTILE }).to_string()),
        ("POST", "/v1/operators", json!({ "name": HOSTILE, "role": "viewer" }).to_string()),
        ("PUT", "/v1/groups/%1b%5b2J", json!({ "environment": HOSTILE }).to_string()),
    ] {
        let answer = collector.ask(method, path, &body)?;
        ensure!((400..500).contains(&answer.status) || answer.status == 200, "{path}: {}", answer.text());
    }
    Ok(())
}

#[test]
fn nothing_from_outside_does_harm_in_a_log() -> Result<()> {
    for format in ["text", "json"] {
        let site = Site::small(&["web-1"])?;
        drop(site.collect(&Settings::default())?);
        let (collector, log) = logging(&site, format)?;
        let made = collector.ask("POST", "/v1/tokens", "{\"group\":\"web\"}")?;
        let made: Value = made.json()?;
        send_harm(&site, &collector)?;
        ensure!(collector.stop()? == Some(0));
        let text = fs::read_to_string(&log).context("no log")?;
        let harm = text.chars().find(|c| (c.is_control() && *c != '\n') || "\u{202e}\u{200b}".contains(*c));
        ensure!(harm.is_none(), "{harm:?} in the log of {format}");
        ensure!(text.contains("report refused"), "what was refused is told: {text}");
        for secret in [made["token"].as_str().context("no token")?, &token("operator")] {
            ensure!(!text.contains(secret), "a token stands in the log of {format}");
        }
        let lines = text.lines().count();
        for line in text.lines() {
            match format {
                "json" => {
                    let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
                    ensure!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
                    ensure!(line["fields"]["message"].is_string() || line["fields"].is_object(), "{line}");
                }
                _ => {
                    let time: jiff::Timestamp = line
                        .split(' ')
                        .next()
                        .unwrap_or_default()
                        .parse()
                        .with_context(|| line.to_owned())?;
                    ensure!(time.as_second() > 0, "{line}");
                }
            }
        }
        println!(
            "{lines} lines of {format} at level trace: each begins as a line of the collector does, none does harm"
        );
    }
    Ok(())
}
