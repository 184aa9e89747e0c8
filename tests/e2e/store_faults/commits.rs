//! Commits whose outcome is not known, and transactions that meet those of others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use congruent_postgres::Postgres;
use congruent_tests::commit_proxy::CommitProxy;
use congruent_tests::load::Load;
use congruent_tests::simulated::Simulated;
use congruent_tests::site::{Settings, Site};

use super::{check_whole, fleet};

const LOAD: [&str; 6] = ["--nodes", "8", "--rate", "80", "--duration", "5s"];

/// The value of a series of the collector's.
fn metric(fleet: &Simulated, series: &str) -> Result<f64> {
    let text = fleet.collector.get("/metrics")?.text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.with_context(|| format!("no {series}"))?.parse().context("no number")
}

#[test]
fn a_commit_of_unknown_outcome_is_found_out_and_nothing_is_there_twice() -> Result<()> {
    let postgres = Postgres::start()?;
    let proxy = CommitProxy::start(postgres.port())?;
    let url = postgres.database()?.replace(&format!(":{}/", postgres.port()), &format!(":{}/", proxy.port()));
    let fleet = Simulated::start_at(Site::small(&[])?.on_postgres(url), Settings::default(), None)?;
    proxy.cut_every(7);
    let outcome = fleet.begin("flapping", &LOAD)?.end()?;
    proxy.cut_every(0);
    let troubles = check_whole(&fleet.site, &outcome)?;
    ensure!(proxy.cuts() >= 6, "only {} commits were cut", proxy.cuts());
    ensure!(outcome.reports.duplicates == 0, "the collector found out, so no node had to: {outcome}");
    ensure!(troubles.is_empty(), "nobody was told to come again: {troubles:?}");
    println!(
        "{} commits cut before, at and after the server had them: {} reports acknowledged, none lost or doubled",
        proxy.cuts(),
        outcome.reports.acknowledged
    );
    Ok(())
}

#[test]
fn transactions_that_meet_those_of_others_are_run_again() -> Result<()> {
    let postgres = Postgres::start()?;
    let url = postgres.database()?;
    let name = url.rsplit('/').next().context("an address without a database")?.to_owned();
    let fleet = fleet(url)?;
    let is_over = AtomicBool::new(false);
    let (outcome, theirs) = thread::scope(|scope| {
        let other = scope.spawn(|| -> Result<u64> {
            let mut client = postgres.client(&name)?;
            let (mut refused, mut seen) = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                // Once for each report or so: who never pauses keeps everybody out.
                let reports: i64 = client.query_one("SELECT count(*) FROM reports", &[])?.try_get(0)?;
                if reports == seen {
                    continue;
                }
                seen = reports;
                // What the collector reads and writes, too, as if each were alone.
                let written = client.batch_execute(
                    "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT max(id) FROM reports; \
                     UPDATE subjects SET note = note; COMMIT",
                );
                if written.is_err() {
                    refused += 1;
                    client.batch_execute("ROLLBACK")?;
                }
            }
            Ok(refused)
        });
        let outcome = fleet.begin("flapping", &LOAD).and_then(Load::end);
        is_over.store(true, Ordering::Relaxed);
        let theirs = other.join().map_err(|_| anyhow::anyhow!("the other client broke off"))?;
        Ok::<_, anyhow::Error>((outcome?, theirs?))
    })?;
    let troubles = check_whole(&fleet.site, &outcome)?;
    let conflicts = metric(&fleet, "congruent_store_conflicts_total")?;
    ensure!(conflicts > 0.0, "nothing met");
    println!(
        "{conflicts} transactions met another's and were run again ({theirs} of the other's were refused): {} reports \
         acknowledged, none lost or doubled; on the way {troubles:?}",
        outcome.reports.acknowledged
    );
    Ok(())
}
