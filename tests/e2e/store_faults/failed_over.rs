//! The server that writes is lost, and its standby takes its place.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use congruent_postgres::Postgres;
use congruent_tests::simulated::Simulated;
use congruent_tests::site::{Settings, Site};

use super::{REPORTS, check_whole, first_after, wait_for_more};

#[test]
fn a_failover_to_a_standby_in_step_loses_nothing() -> Result<()> {
    let mut first = Postgres::start()?;
    let second = first.standby()?;
    first.wait_for_standby()?;
    let database = first.database()?;
    let name = database.rsplit('/').next().context("an address without a database")?;
    // Reports are counted where they are when it is over.
    let site = Site::small(&[])?.on_postgres(first.url_with(&second, name));
    let fleet = Simulated::start_at(site, Settings::default(), None)?;
    let load = fleet.begin("flapping", &["--nodes", "8", "--rate", "60", "--duration", "4s"])?;
    wait_for_more(&fleet.site, 40)?;
    let begun = Instant::now();
    first.stop(true)?;
    second.promote()?;
    let promoted = begun.elapsed();
    let before = fleet.site.count(REPORTS)?;
    let first_report = first_after(&fleet.site, before)?;
    // A commit waits for a standby, and there is none any more.
    let outcome = load.end()?;
    let troubles = check_whole(&fleet.site, &outcome)?;
    ensure!(fleet.collector.get("/readyz")?.status == 200, "ready at the new server");
    println!(
        "PostgreSQL failed over: promoted after {} ms, first report {} ms later, {} reports acknowledged, none lost or \
         doubled; on the way {troubles:?}",
        promoted.as_millis(),
        first_report.as_millis(),
        outcome.reports.acknowledged
    );
    Ok(())
}
