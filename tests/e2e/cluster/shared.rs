//! What one collector is told, the other knows.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use congruent_tests::cluster::Cluster;
use congruent_tests::operator::Operator;
use congruent_tests::site::{GROUP, Settings};
use congruent_tests::wait::wait_for;

/// How long the other may take.
const SOON: Duration = Duration::from_secs(2);

/// How long it takes until `look` holds, which may be at most so long.
fn soon(what: &str, mut look: impl FnMut() -> Result<bool>) -> Result<u128> {
    let begun = Instant::now();
    wait_for(what, SOON, || Ok(look()?.then_some(())))?;
    Ok(begun.elapsed().as_millis())
}

#[test]
fn what_one_collector_is_told_holds_at_the_other() -> Result<()> {
    let cluster = Cluster::start(&["web-1", "web-2"], &Settings::default())?;
    let (a, b) = (cluster.admin(0), cluster.admin(1));

    // Without waiting.
    cluster.enrol(0, "web-1", GROUP)?;
    cluster.send_to(1, "web-1")?;
    let ended = cluster.site.sweep("web-1")?;
    ensure!(ended.code == Some(0), "enrolled at one, it reports at the other: {}", ended.stderr);

    a.change(&["group", "create", "fleet", "--environment", "prod"])?;
    let created =
        soon("the group to be at the other", || Ok(b.run(&["group", "show", "fleet"])?.code == Some(0)))?;
    a.change(&["group", "edit", "fleet", "--environment", "staging"])?;
    let edited = soon("the edit to be at the other", || {
        Ok(b.answer(&["group", "show", "fleet"])?.to_string().contains("staging"))
    })?;

    let file = cluster.site.sandbox.path("alice.token");
    a.change(&["operator", "create", "alice", "--role", "viewer", "--output", &file.to_string_lossy()])?;
    ensure!(fs::metadata(&file)?.len() > 0, "a token is given");
    let alice = Operator { token_file: file, ..b.clone() };
    let known =
        soon("the operator to be known at the other", || Ok(alice.run(&["group", "list"])?.code == Some(0)))?;

    cluster.enrol(1, "web-2", GROUP)?;
    cluster.send_to(1, "web-2")?;
    ensure!(cluster.site.sweep("web-2")?.code == Some(0));
    let revoked = a.run(&["node", "revoke", "web-2", "--reason", "a test"])?;
    ensure!(revoked.code == Some(0), "{}", revoked.stderr);
    let refused = soon("the other to refuse the node", || {
        Ok(cluster.site.sweep("web-2")?.stderr.contains("was revoked"))
    })?;
    println!(
        "told at one collector, held at the other: an enrolment at once, a group made after {created} ms, edited after \
         {edited} ms, an operator after {known} ms, a revocation after {refused} ms"
    );
    Ok(())
}
