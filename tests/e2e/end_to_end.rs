//! The whole path: bake, agent, collector, policy, plan, webhook, over a real
//! root; and the gates that hold an order back.

use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result};
use congruent_protocol::action::ActionState;
use congruent_protocol::decision::Verdict;
use congruent_protocol::verification::State;
use congruent_tests::receiver::{Answer, WebhookReceiver};
use congruent_tests::sandbox::Sandbox;
use congruent_tests::site::{GROUP, Settings, Site};
use congruent_tests::wait::PATIENCE;
use congruent_tests::{debian, program, tree};
use rustix::process::{Pid, Signal, kill_process};

use crate::watch::{actions, check_action, node, sweep, wait_for_action, wait_for_state};

#[test]
fn drift_on_a_real_root_ends_in_one_signed_order() -> Result<()> {
    let site = Site::new(Sandbox::for_trees()?, &["web-1"], |root| tree::copy(debian::root()?, root))?;
    let receiver = WebhookReceiver::start(site.secret.clone(), Answer::Status(204))?;
    let collector = site.collect(&Settings::replacing(receiver.url()))?;
    assert_eq!(node(&collector, "web-1")?["state"], "unknown", "nothing was reported yet");

    sweep(&site, "web-1", 0)?;
    let congruent = node(&collector, "web-1")?;
    assert_eq!(congruent["state"], "congruent");
    assert_eq!(congruent["decision"]["action"], "none");
    assert!(congruent["verified_at"].is_string() && congruent["findings"] == serde_json::json!([]));

    fs::write(site.root("web-1").join("usr/bin/ls"), "#!/bin/sh\n")?;
    sweep(&site, "web-1", 1)?;
    assert_eq!(node(&collector, "web-1")?["state"], "divergent");
    check_action(&collector, ActionState::Held, "second full sweep")?;
    assert!(receiver.deliveries().is_empty(), "ordered without confirmation");

    sweep(&site, "web-1", 1)?;
    let delivery = receiver.wait_for(1, PATIENCE)?.remove(0);
    assert_eq!(delivery.fault, None);
    assert_eq!(delivery.content_type, "application/json");
    let order = delivery.order()?;
    assert_eq!(order.order_type, "congruent.action.replace");
    assert_eq!((&order.action_id, order.state), (&delivery.id, State::Divergent));
    assert_eq!(
        (order.node.as_str(), order.group.as_str(), order.environment.as_str()),
        ("web-1", GROUP, "prod")
    );
    assert_eq!((order.decision.action, order.findings_total), (Verdict::Replace, 1));
    assert!(!order.decision.reasons.is_empty() && !order.decision.controls.is_empty());
    assert_eq!(order.findings[0].path.to_string(), "/usr/bin/ls");

    // It stays open until a successor is verified: more drift orders nothing more.
    let dispatched = wait_for_action(&collector, ActionState::Dispatched)?;
    assert_eq!(dispatched["id"], order.action_id.as_str());
    fs::write(site.root("web-1").join("usr/bin/cat"), "#!/bin/sh\n")?;
    sweep(&site, "web-1", 1)?;
    sweep(&site, "web-1", 1)?;
    assert_eq!((actions(&collector)?.len(), receiver.deliveries().len()), (1, 1));
    assert_eq!(collector.stop()?, Some(0));
    Ok(())
}

#[test]
fn a_group_is_report_only_unless_told_otherwise() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let collector = site.collect(&Settings::default())?;
    site.tamper("web-1")?;
    for _ in 0..3 {
        sweep(&site, "web-1", 1)?;
    }
    let shown = node(&collector, "web-1")?;
    assert_eq!((&shown["mode"], &shown["verdict"]), (&"report-only".into(), &"replace".into()));
    check_action(&collector, ActionState::Held, "report-only")?;
    Ok(())
}

#[test]
fn what_heals_before_it_is_confirmed_is_not_replaced() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let receiver = WebhookReceiver::start(site.secret.clone(), Answer::Status(204))?;
    let collector = site.collect(&Settings::replacing(receiver.url()))?;
    site.tamper("web-1")?;
    sweep(&site, "web-1", 1)?;
    fs::copy(site.sandbox.path("baked/usr/bin/web"), site.root("web-1").join("usr/bin/web"))?;
    sweep(&site, "web-1", 0)?;
    check_action(&collector, ActionState::Withdrawn, "congruent again")?;
    // Confirmation begins anew.
    site.tamper("web-1")?;
    sweep(&site, "web-1", 1)?;
    check_action(&collector, ActionState::Held, "second full sweep")?;
    assert!(receiver.deliveries().is_empty());
    Ok(())
}

#[test]
fn a_group_has_one_open_action() -> Result<()> {
    let site = Site::small(&["web-1", "web-2"])?;
    let receiver = WebhookReceiver::start(site.secret.clone(), Answer::Status(204))?;
    let collector = site.collect(&Settings::replacing(receiver.url()))?;
    for node in ["web-1", "web-2"] {
        site.tamper(node)?;
        sweep(&site, node, 1)?;
        sweep(&site, node, 1)?;
    }
    let delivery = receiver.wait_for(1, PATIENCE)?.remove(0);
    assert_eq!(delivery.order()?.node, "web-1");
    let held = check_action(&collector, ActionState::Held, &delivery.id)?;
    assert_eq!(held["node"], "web-2");
    assert_eq!(receiver.deliveries().len(), 1);
    Ok(())
}

#[test]
fn a_node_without_a_usable_manifest_reports_unknown() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let collector = site.collect(&Settings::default())?;
    let manifest = fs::read(site.manifest())?;
    fs::write(site.manifest(), &manifest[..manifest.len() / 2])?;
    let ended = sweep(&site, "web-1", 2)?;
    assert!(ended.stderr.contains("truncated"), "{}", ended.stderr);
    let shown = node(&collector, "web-1")?;
    assert_eq!(shown["state"], "unknown");
    assert!(shown["note"].as_str().is_some_and(|note| note.contains("truncated")), "{shown}");
    fs::write(site.manifest(), manifest)?;
    sweep(&site, "web-1", 0)?;
    assert_eq!(node(&collector, "web-1")?["state"], "congruent");
    Ok(())
}

#[test]
fn who_does_not_report_is_silent_and_not_drift() -> Result<()> {
    let site = Site::small(&["web-1", "web-2"])?;
    let collector = site.collect(&Settings { silent_after: "1500ms", ..Settings::default() })?;
    sweep(&site, "web-1", 0)?;
    let silent = wait_for_state(&collector, "web-1", "silent")?;
    assert_ne!(silent["verdict"], "replace", "silence is no drift");
    assert!(silent["verified_at"].is_string(), "what was verified is forgotten");
    wait_for_state(&collector, "web-2", "silent")?;
    assert!(actions(&collector)?.is_empty());
    sweep(&site, "web-1", 0)?;
    let states = node(&collector, "web-1")?["states"].take();
    let states: Vec<_> = states.as_array().context("no states")?.iter().map(|step| &step["state"]).collect();
    assert!(states.windows(3).any(|three| three == ["congruent", "silent", "congruent"]), "{states:?}");
    Ok(())
}

#[test]
fn an_agent_that_runs_on_reports_by_itself_and_stops_when_told() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let collector = site.collect(&Settings::default())?;
    let config = site.sandbox.path("web-1.toml");
    let text = fs::read_to_string(&config)?.replace("\"15m\"", "\"200ms\"");
    fs::write(config, text)?;
    let mut agent = site.agent("web-1")?.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let watched = wait_for_state(&collector, "web-1", "congruent").and_then(|_| {
        site.tamper("web-1")?;
        wait_for_state(&collector, "web-1", "divergent")
    });
    kill_process(Pid::from_child(&agent), Signal::TERM)?;
    let code = congruent_tests::wait::wait_for("the agent to stop", PATIENCE, || Ok(agent.try_wait()?));
    program::end(&mut agent);
    watched?;
    assert_eq!(code?.code(), Some(0));
    Ok(())
}

#[test]
fn without_a_collector_findings_are_logged() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    site.write_agent("web-1")?;
    assert_eq!(site.sweep("web-1")?.code, Some(0));
    site.tamper("web-1")?;
    let ended = site.sweep("web-1")?;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("/usr/bin/web"), "{}", ended.stderr);
    assert!(!site.state("web-1").exists(), "nothing is spooled, so nothing is kept");
    Ok(())
}
