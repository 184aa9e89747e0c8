//! The three users, served from the first day: auditors by the report, platform
//! teams by the signed webhook, owners of a CMDB by the items.

use std::process::Command;

use anyhow::{Context, Result};
use congruent_tests::program::{Ended, run};
use congruent_tests::receiver::{Answer, WebhookReceiver};
use congruent_tests::site::{GROUP, Settings, Site};
use congruent_tests::wait::PATIENCE;
use congruent_tests::{agent, binaries, peer};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::watch::{sweep, wait_for_action};

/// `congruent-server report` from and to these edges.
fn report(site: &Site, from: &str, to: &str) -> Result<Ended> {
    let mut command = Command::new(binaries::path("congruent-server")?);
    command.args(["report", "--format", "json", "--from", from, "--to", to, "--config"]);
    run(command.arg(site.sandbox.path("server.toml")))
}

fn hours_from_now(hours: i64) -> String {
    (Timestamp::now() + SignedDuration::from_hours(hours)).to_string()
}

#[test]
fn auditors_get_scope_findings_decisions_and_controls() -> Result<()> {
    let site = Site::small(&["web-1", "web-2", "web-3"])?;
    let receiver = WebhookReceiver::start(site.secret.clone(), Answer::Status(204))?;
    let collector = site.collect(&Settings::replacing(receiver.url()))?;
    sweep(&site, "web-1", 0)?;
    sweep(&site, "web-2", 0)?;
    site.tamper("web-2")?;
    sweep(&site, "web-2", 1)?;
    sweep(&site, "web-2", 1)?;
    let order = receiver.wait_for(1, PATIENCE)?.remove(0).order()?;
    wait_for_action(&collector, congruent_protocol::action::ActionState::Dispatched)?;

    // The collector runs meanwhile.
    let ended = report(&site, &hours_from_now(-1), &hours_from_now(1))?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let document: Value = serde_json::from_slice(&ended.stdout)?;
    assert_eq!(document["schema_version"], 1);
    let totals = &document["totals"];
    assert_eq!((&totals["nodes"], &totals["sweeps"], &totals["findings"]), (&json!(3), &json!(4), &json!(1)));
    assert_eq!(totals["nodes_by_state"], json!({"congruent": 1, "divergent": 1, "unknown": 1}));
    assert_eq!(totals["nodes_without_sweep"], 1);

    let nodes = document["nodes"].as_array().context("no nodes")?;
    let drifted = nodes.iter().find(|node| node["id"] == "web-2").context("no web-2")?;
    assert_eq!((&drifted["group"], &drifted["state"]), (&json!(GROUP), &json!("divergent")));
    let finding = &drifted["findings"][0];
    assert_eq!((&finding["path"], &finding["change"]), (&json!("/usr/bin/web"), &json!("modified")));
    let (before, after) = (&finding["expected"]["content"], &finding["observed"]["content"]);
    assert!(before.is_string() && after.is_string() && before != after, "{finding}");

    let actions = document["actions"].as_array().context("no actions")?;
    assert_eq!(actions.len(), 1);
    assert_eq!(actions[0]["id"], order.action_id.as_str());
    let decisions = document["decisions"].as_array().context("no decisions")?;
    assert!(decisions.iter().any(|decision| decision["decision"]["action"] == "replace"), "{decisions:?}");
    let controls = document["controls"].as_array().context("no controls")?;
    for named in &order.decision.controls {
        let control = controls.iter().find(|control| control["control"] == named.as_str());
        let control = control.with_context(|| format!("{named} is not in the report"))?;
        assert_eq!(control["status"], "covered", "{control}");
        assert!(control["framework"].is_string(), "policy names a control that nobody described: {control}");
        assert!(control["decisions"].as_array().is_some_and(|ids| !ids.is_empty()), "{control}");
    }
    Ok(())
}

#[test]
fn periods_of_which_nothing_is_known_are_refused() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let _collector = site.collect(&Settings::default())?;
    sweep(&site, "web-1", 0)?;
    for (from, to, says) in [
        ("2001-01-01", "2001-01-31", "holds nothing about the time before 2001-02-01"),
        ("2026-02-01", "2026-01-01", "give --from an earlier time than --to"),
        ("yesterday", "2026-01-01", "write a date"),
    ] {
        let refused = report(&site, from, to)?;
        assert_eq!((refused.code, refused.stdout.len()), (Some(2), 0), "{}", refused.stderr);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
    Ok(())
}

#[test]
fn platform_teams_check_the_webhook_with_the_reference_library() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let receiver = WebhookReceiver::start(site.secret.clone(), Answer::Status(204))?;
    let _collector = site.collect(&Settings::replacing(receiver.url()))?;
    site.tamper("web-1")?;
    sweep(&site, "web-1", 1)?;
    sweep(&site, "web-1", 1)?;
    let delivery = receiver.wait_for(1, PATIENCE)?.remove(0);
    let body = String::from_utf8(delivery.body.clone())?;
    let ask = |body: &str| {
        let question = json!({
            "secret": site.secret.to_text(),
            "headers": {
                "webhook-id": delivery.id,
                "webhook-timestamp": delivery.timestamp,
                "webhook-signature": delivery.signature,
            },
            "body": body,
        });
        peer::ask::<&str>("standard_webhooks.py", &[], question.to_string().as_bytes())
    };
    ask(&body)?;
    assert!(ask(&format!("{body} ")).is_err(), "the peer takes any body, so it proves nothing");
    Ok(())
}

#[test]
fn a_cmdb_gets_verified_facts_only() -> Result<()> {
    let site = Site::small(&["web-1", "web-2", "web-3"])?;
    let collector = site.collect(&Settings::default())?;
    sweep(&site, "web-1", 0)?;
    site.tamper("web-1")?;
    sweep(&site, "web-1", 1)?;
    site.tamper("web-2")?;
    sweep(&site, "web-2", 1)?;
    let response = collector.get("/v1/cmdb/items")?;
    assert_eq!(response.status, 200);
    let text = response.text();
    let items: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let seen: Vec<_> = items.iter().map(|item| (&item["node"], &item["state"])).collect();
    let expected = [("web-1", "divergent"), ("web-2", "divergent"), ("web-3", "unknown")];
    let expected = expected.map(|(node, state)| (json!(node), json!(state)));
    assert_eq!(seen, expected.iter().map(|(node, state)| (node, state)).collect::<Vec<_>>());
    for item in &items {
        assert_eq!((&item["group"], &item["environment"]), (&json!(GROUP), &json!("prod")));
    }
    // What was congruent once is said to have been so then; the others never were.
    let [once, never, silent] = &items[..] else { anyhow::bail!("{text}") };
    assert_eq!(once["manifest"]["version"], agent::BAKED.1);
    assert!(once["verified_at"].is_string() && once["root"].is_string(), "{once}");
    assert!(once["facts"]["kernel"].is_string() && once["facts"]["memory_bytes"].is_u64(), "{once}");
    for item in [never, silent] {
        for field in ["manifest", "root", "verified_at", "facts"] {
            assert_eq!(item[field], Value::Null, "{field}: {item}");
        }
    }
    Ok(())
}
