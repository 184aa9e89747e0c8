//! The one that leads is killed, or paused, and the other takes over: nothing that was
//! acknowledged is lost, and every order goes out under one id.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use congruent_tests::cluster::Cluster;
use congruent_tests::receiver::{Answer, WebhookReceiver};
use congruent_tests::site::{GROUP, Settings};
use congruent_tests::wait::{PATIENCE, wait_for};
use rustix::process::{Pid, Signal, kill_process};

/// The lease stands still for 10 s before it is taken over, and the other looks every 2 s.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(16);
const NODES: [&str; 3] = ["web-1", "web-2", "web-3"];

/// A cluster that orders replacements, with its nodes enrolled, and who leads.
fn replacing(receiver: &WebhookReceiver) -> Result<(Cluster, usize)> {
    let cluster = Cluster::start(&NODES, &Settings::replacing(receiver.url()))?;
    for (number, node) in NODES.into_iter().enumerate() {
        cluster.enrol(number % 2, node, GROUP)?;
        ensure!(cluster.site.sweep(node)?.code == Some(0), "{node}");
    }
    let leader = wait_for("one to lead", PATIENCE, || cluster.leader(&[0, 1]))?;
    Ok((cluster, leader))
}

/// Until the other leads.
fn taken_over(cluster: &Cluster, other: usize) -> Result<Duration> {
    let begun = Instant::now();
    wait_for("the other to lead", TAKEN_OVER_WITHIN, || cluster.leader(&[other]))?;
    Ok(begun.elapsed())
}

/// Drifts by a file, and is found twice: the policy has it replaced.
fn drift(cluster: &Cluster, node: &str) -> Result<()> {
    cluster.site.tamper(node)?;
    for _ in 0..2 {
        let ended = cluster.site.sweep(node)?;
        ensure!(ended.code == Some(1), "{node}: {}", ended.stderr);
    }
    Ok(())
}

/// The ids of the orders that came.
fn ids(receiver: &WebhookReceiver) -> BTreeSet<String> {
    receiver.deliveries().into_iter().map(|delivery| delivery.id).collect()
}

/// What nodes were told is durable, each report once, whichever collector was asked.
fn check_reports(cluster: &Cluster) -> Result<i64> {
    for node in NODES {
        let of =
            |what: &str| cluster.site.count(&format!("SELECT {what} FROM reports WHERE node = '{node}'"));
        let (all, last) = (of("count(*)")?, of("max(sequence)")?);
        ensure!(
            all == last && of("count(DISTINCT chain)")? == 1,
            "{node}: {all} reports, the last is {last}"
        );
    }
    ensure!(cluster.site.count("SELECT count(*) FROM refusals")? == 0);
    ensure!(cluster.site.count("SELECT count(*) FROM chain_notes")? == 0);
    cluster.site.count("SELECT count(*) FROM reports")
}

#[test]
fn a_leader_that_is_killed_is_followed_by_the_other() -> Result<()> {
    let site_secret = congruent_tests::signature::WebhookSecret::new(*b"a secret of thirty-two bytes ...");
    let receiver = WebhookReceiver::start(site_secret, Answer::Status(200))?;
    let (mut cluster, leader) = replacing(&receiver)?;
    let other = 1 - leader;
    let is_over = AtomicBool::new(false);
    let (took, looks, failed) = thread::scope(|scope| {
        // A node that looks all the while, by the balancer.
        let (site, over) = (&cluster.site, &is_over);
        let looking = scope.spawn(move || -> Result<(u32, u32)> {
            let (mut looks, mut failed) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                looks += 1;
                failed += u32::from(site.sweep(NODES[2])?.code != Some(0));
            }
            Ok((looks, failed))
        });
        let killed =
            Pid::from_raw(cluster.collector(leader).process_id().cast_signed()).context("no process")?;
        kill_process(killed, Signal::KILL)?;
        let took = taken_over(&cluster, other);
        is_over.store(true, Ordering::Relaxed);
        let (looks, failed) = looking.join().map_err(|_| anyhow::anyhow!("the node broke off"))??;
        Ok::<_, anyhow::Error>((took?, looks, failed))
    })?;
    ensure!(looks > failed, "nothing came through");
    drift(&cluster, NODES[0])?;
    let delivered = receiver.wait_for(1, PATIENCE)?;
    ensure!(ids(&receiver).len() == 1, "{delivered:?}");

    // Both are lost, and come back.
    cluster.kill(leader);
    cluster.kill(other);
    for which in [0, 1] {
        cluster.start_collector(which)?;
    }
    let begun = Instant::now();
    wait_for("one to lead again", TAKEN_OVER_WITHIN, || cluster.leader(&[0, 1]))?;
    let again = begun.elapsed();
    for node in NODES {
        cluster.site.sweep(node)?;
    }
    let reports = check_reports(&cluster)?;
    ensure!(ids(&receiver).len() == 1, "{:?}", receiver.deliveries());
    println!(
        "leader killed: the other led after {} ms, {failed} of {looks} looks meanwhile were answered at the second try or \
         later; both killed: one led {} ms after the start; {reports} reports, none lost or doubled, 1 order under 1 id",
        took.as_millis(),
        again.as_millis()
    );
    Ok(())
}

#[test]
fn a_leader_that_is_paused_writes_nothing_when_it_goes_on() -> Result<()> {
    let site_secret = congruent_tests::signature::WebhookSecret::new(*b"a secret of thirty-two bytes ...");
    let receiver = WebhookReceiver::start(site_secret, Answer::Status(200))?;
    let (cluster, leader) = replacing(&receiver)?;
    let other = 1 - leader;
    let paused = Pid::from_raw(cluster.collector(leader).process_id().cast_signed()).context("no process")?;
    for node in NODES {
        cluster.send_to(other, node)?;
    }
    kill_process(paused, Signal::STOP)?;
    let took = taken_over(&cluster, other);
    // It goes on whatever came of that, so that it can be ended.
    let ordered = took.and_then(|took| {
        drift(&cluster, NODES[0])?;
        receiver.wait_for(1, PATIENCE)?;
        Ok(took)
    });
    kill_process(paused, Signal::CONT)?;
    let took = ordered?;
    let gone_on = Instant::now();
    wait_for("the one that was paused to see that it leads no more", TAKEN_OVER_WITHIN, || {
        Ok(cluster.leader(&[leader])?.is_none().then_some(()))
    })?;
    let seen = gone_on.elapsed();
    ensure!(cluster.leader(&[other])? == Some(other), "the other leads on");
    // Whoever hears of more drift, one judges it: a second order waits for the first.
    cluster.send_to(leader, NODES[1])?;
    drift(&cluster, NODES[1])?;
    wait_for("the reports to be judged", PATIENCE, || {
        let waiting = cluster.site.count("SELECT count(*) FROM reports WHERE NOT judged")?;
        Ok((waiting == 0).then_some(()))
    })?;
    ensure!(ids(&receiver).len() == 1, "{:?}", receiver.deliveries());
    let reports = check_reports(&cluster)?;
    println!(
        "leader paused: the other led after {} ms; the paused one saw it {} ms after it went on; {reports} reports, 1 order \
         under 1 id in {} deliveries",
        took.as_millis(),
        seen.as_millis(),
        receiver.deliveries().len()
    );
    Ok(())
}
