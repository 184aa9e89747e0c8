//! Killed at the worst moments: nothing is lost, nothing is sent twice under
//! another id, nothing counts twice.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use congruent_protocol::action::ActionState;
use congruent_protocol::report::{Acknowledgement, Report, Sealed, SetChange, report_digest};
use congruent_tests::enrolled::redirect;
use congruent_tests::program;
use congruent_tests::proxy::{Proxy, Way};
use congruent_tests::receiver::{Answer, WebhookReceiver};
use congruent_tests::site::{Settings, Site};
use congruent_tests::wait::{PATIENCE, wait_for};
use serde_json::json;

use crate::real_report::spooled;
use crate::watch::{actions, count, node, settle, sweep, wait_for_action};

/// An agent that sweeps once, running.
fn start_sweep(site: &Site) -> Result<Child> {
    let mut command = site.agent("web-1")?;
    command.arg("--once").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("cannot start the agent")
}

/// The chain at the collector must be whole: every number once, each naming the
/// one before.
fn check_chain(site: &Site, reports: i64) -> Result<()> {
    for (query, expected) in [
        ("SELECT count(*) FROM reports", reports),
        ("SELECT count(DISTINCT sequence) FROM reports", reports),
        ("SELECT max(sequence) FROM reports", reports),
        ("SELECT count(DISTINCT chain) FROM reports", 1),
        ("SELECT count(*) FROM chain_notes", 0),
        ("SELECT count(*) FROM refusals", 0),
    ] {
        assert_eq!(count(site, query)?, expected, "{query}");
    }
    assert_eq!(spooled(site, "web-1")?.len(), 0, "the agent still has reports");
    Ok(())
}

/// An agent whose first report gets no answer, killed while it waits for one; gives
/// the report's bytes.
fn kill_unanswered(site: &Site, agents_url: &str, way: Way) -> Result<Vec<u8>> {
    let proxy = Proxy::start(agents_url, way)?;
    redirect(&site.state("web-1"), &proxy.url())?;
    let mut agent = start_sweep(site)?;
    let waited = proxy.wait().and_then(|()| {
        let arrived = || Ok((way == Way::Cut || count(site, REPORTS)? == 1).then_some(()));
        wait_for("the report to arrive", PATIENCE, arrived)
    });
    program::end(&mut agent);
    waited?;
    redirect(&site.state("web-1"), agents_url)?;
    let spooled = spooled(site, "web-1")?;
    let [report] = &spooled[..] else { anyhow::bail!("spooled are {spooled:?}") };
    Ok(fs::read(report)?)
}

const REPORTS: &str = "SELECT count(*) FROM reports";

#[test]
fn a_collector_killed_while_the_platform_hangs_sends_the_same_order_again() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let receiver = WebhookReceiver::start(site.secret.clone(), Answer::Hang)?;
    let settings = Settings::replacing(receiver.url());
    let collector = site.collect(&settings)?;
    site.tamper("web-1")?;
    sweep(&site, "web-1", 1)?;
    sweep(&site, "web-1", 1)?;
    receiver.wait_for(1, PATIENCE)?;
    collector.kill();

    receiver.set_answer(Answer::Status(200));
    let collector = site.collect(&settings)?;
    let deliveries = receiver.wait_for(2, PATIENCE)?;
    assert_eq!(deliveries[0].id, deliveries[1].id);
    assert_eq!(deliveries[0].body, deliveries[1].body);
    assert!(deliveries.iter().all(|delivery| delivery.fault.is_none()), "{deliveries:?}");
    let action = wait_for_action(&collector, ActionState::Dispatched)?;
    assert_eq!(action["id"], deliveries[0].id.as_str());

    // The platform has it: a third start sends nothing.
    collector.kill();
    let collector = site.collect(&settings)?;
    sweep(&site, "web-1", 1)?;
    assert_eq!((actions(&collector)?.len(), receiver.deliveries().len()), (1, 2));
    check_chain(&site, 3)
}

#[test]
fn a_collector_killed_while_the_platform_is_down_delivers_when_it_is_up() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let mut settings = Settings::replacing(format!("http://{address}/hook"));
    settings.more = "retry-schedule = [\"0s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\"]\n";
    let collector = site.collect(&settings)?;
    site.tamper("web-1")?;
    sweep(&site, "web-1", 1)?;
    sweep(&site, "web-1", 1)?;
    let action = wait_for("a delivery to fail", PATIENCE, || {
        let tried =
            |action: &serde_json::Value| action["deliveries"].as_array().is_some_and(|all| !all.is_empty());
        Ok(actions(&collector)?.into_iter().next().filter(tried))
    })?;
    collector.kill();

    let receiver = WebhookReceiver::start_on(address, site.secret.clone(), Answer::Status(200))?;
    let collector = site.collect(&settings)?;
    let delivery = receiver.wait_for(1, PATIENCE)?.remove(0);
    assert_eq!(action["id"], delivery.id.as_str());
    assert_eq!(delivery.fault, None);
    assert_eq!(wait_for_action(&collector, ActionState::Dispatched)?["id"], action["id"]);
    assert_eq!(actions(&collector)?.len(), 1);
    Ok(())
}

/// What the platform says decides: try again, or never again.
#[test]
fn a_platform_that_refuses_is_asked_again_and_one_that_is_gone_is_not() -> Result<()> {
    for (status, state, deliveries) in [(500, ActionState::Failed, 3), (410, ActionState::Failed, 1)] {
        let site = Site::small(&["web-1"])?;
        let receiver = WebhookReceiver::start(site.secret.clone(), Answer::Status(status))?;
        let mut settings = Settings::replacing(receiver.url());
        settings.more = "retry-schedule = [\"0s\", \"10ms\", \"10ms\"]\n";
        let collector = site.collect(&settings)?;
        site.tamper("web-1")?;
        sweep(&site, "web-1", 1)?;
        sweep(&site, "web-1", 1)?;
        let action = wait_for_action(&collector, state)?;
        let received = receiver.deliveries();
        assert_eq!(received.len(), deliveries, "{status}: {action}");
        assert!(received.iter().all(|delivery| action["id"] == delivery.id.as_str()), "{status}");
    }
    Ok(())
}

#[test]
fn an_agent_killed_before_the_answer_sends_the_same_report_again() -> Result<()> {
    for way in [Way::Cut, Way::NoAnswer] {
        let site = Site::small(&["web-1"])?;
        let collector = site.collect(&Settings::default())?;
        let bytes = kill_unanswered(&site, &collector.agents_url()?, way)?;
        let payload = Sealed::parse(&bytes)?.payload();
        let sent: Report<SetChange> = serde_json::from_slice(payload)?;
        assert_eq!((sent.sequence, sent.previous), (1, None));
        assert_eq!(count(&site, REPORTS)?, i64::from(way == Way::NoAnswer));

        sweep(&site, "web-1", 0)?;
        check_chain(&site, 2)?;
        let digest = report_digest(payload);
        let first = format!("SELECT count(*) FROM reports WHERE sequence = 1 AND digest = '{digest}'");
        assert_eq!(count(&site, &first)?, 1, "the first report came with other bytes");
    }
    Ok(())
}

#[test]
fn what_is_sent_twice_counts_once() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let collector = site.collect(&Settings::default())?;
    let bytes = kill_unanswered(&site, &collector.agents_url()?, Way::NoAnswer)?;
    let digest = report_digest(Sealed::parse(&bytes)?.payload());
    for _ in 0..3 {
        let again = wait_for("the agent's own request to end", PATIENCE, || {
            let response = site.post(&collector, "web-1", &bytes)?;
            Ok((response.status != 429).then_some(response))
        })?;
        let again: Acknowledgement = again.json()?;
        assert_eq!((again.sequence, again.digest, again.duplicate), (1, digest, true));
    }
    assert_eq!(count(&site, REPORTS)?, 1);
    Ok(())
}

#[test]
fn reports_wait_for_a_collector_that_is_down() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    site.collect(&Settings::default())?.kill();
    for sweeps in 1..=3 {
        let ended = site.sweep("web-1")?;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains("spooled"), "{}", ended.stderr);
        assert_eq!(spooled(&site, "web-1")?.len(), sweeps);
    }
    let collector = site.collect(&Settings::default())?;
    sweep(&site, "web-1", 0)?;
    assert_eq!(node(&collector, "web-1")?["report"]["sequence"], 4);
    check_chain(&site, 4)
}

#[test]
fn one_agent_at_a_time_owns_a_state_directory() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let collector = site.collect(&Settings::default())?;
    let proxy = Proxy::start(&collector.agents_url()?, Way::Cut)?;
    redirect(&site.state("web-1"), &proxy.url())?;
    let mut first = start_sweep(&site)?;
    let second = proxy.wait().and_then(|()| site.sweep("web-1"));
    program::end(&mut first);
    let second = second?;
    assert_eq!(second.code, Some(2), "{}", second.stderr);
    assert!(second.stderr.contains("another agent runs with the state directory"), "{}", second.stderr);
    Ok(())
}

#[test]
fn a_restart_keeps_what_is_known() -> Result<()> {
    let site = Site::small(&["web-1", "web-2", "web-3"])?;
    let collector = site.collect(&Settings::default())?;
    sweep(&site, "web-1", 0)?;
    site.tamper("web-2")?;
    sweep(&site, "web-2", 1)?;
    let look = |collector: &congruent_tests::collector::Collector| -> Result<_> {
        let shown = |id| -> Result<_> {
            let mut node = node(collector, id)?;
            // It is written down in batches, a little later than the report.
            node["last_seen"].take();
            Ok(node)
        };
        let nodes = ["web-1", "web-2", "web-3"].map(shown);
        Ok((nodes.into_iter().collect::<Result<Vec<_>>>()?, actions(collector)?))
    };
    // A node that has just enrolled is judged with its first report, or at a start.
    assert_eq!(collector.stop()?, Some(0));
    let collector = site.collect(&Settings::default())?;
    wait_for("web-3 to be judged", PATIENCE, || {
        Ok((!node(&collector, "web-3")?["decision"].is_null()).then_some(()))
    })?;
    let before = look(&collector)?;
    assert_eq!(
        before.0.iter().map(|node| node["state"].clone()).collect::<Vec<_>>(),
        ["congruent", "divergent", "unknown"].map(|state| json!(state))
    );
    assert_eq!(collector.stop()?, Some(0));
    let collector = site.collect(&Settings::default())?;
    assert_eq!(look(&collector)?, before);
    collector.kill();
    let collector = site.collect(&Settings::default())?;
    assert_eq!(look(&collector)?, before);
    Ok(())
}

/// The collector is killed again and again, a little later each time, while an
/// agent reports drift to it.
#[test]
fn killed_at_any_moment_nothing_is_lost_or_doubled() -> Result<()> {
    const ROUNDS: u32 = 12;
    let site = Site::small(&["web-1"])?;
    let receiver = WebhookReceiver::start(site.secret.clone(), Answer::Status(200))?;
    let settings = Settings::replacing(receiver.url());
    site.tamper("web-1")?;
    for round in 0..ROUNDS {
        let collector = site.collect(&settings)?;
        let begun = Instant::now();
        let mut agent = start_sweep(&site)?;
        let moment = Duration::from_millis(15) * round;
        wait_for("the moment to kill", PATIENCE, || Ok((begun.elapsed() >= moment).then_some(())))?;
        collector.kill();
        // It ends by itself: with an answer, or with its report spooled.
        wait_for("the agent to end", PATIENCE, || Ok(agent.try_wait()?))?;
    }
    let collector = site.collect(&settings)?;
    sweep(&site, "web-1", 1)?;
    let action = wait_for_action(&collector, ActionState::Dispatched)?;
    settle(&site)?;
    assert_eq!(actions(&collector)?.len(), 1);
    let ids: BTreeSet<_> = receiver.deliveries().into_iter().map(|delivery| delivery.id).collect();
    assert_eq!(ids, BTreeSet::from([action["id"].as_str().unwrap_or_default().to_owned()]));
    check_chain(&site, i64::from(ROUNDS) + 1)
}
