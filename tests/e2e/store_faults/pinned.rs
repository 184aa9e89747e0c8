//! Somebody reads SQLite's file for a long time: what is written ahead cannot be put in
//! its place meanwhile, and grows.

use anyhow::{Result, ensure};
use congruent_tests::simulated::Simulated;
use congruent_tests::site::{Settings, Site};
use congruent_tests::wait::wait_for;
use rusqlite::{Connection, OpenFlags};

use super::REPORTS;

/// What the log keeps once it was larger: `journal_size_limit`.
const KEPT: u64 = 16 << 20;
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(2);

fn log_bytes(site: &Site) -> Result<u64> {
    Ok(std::fs::metadata(site.database().with_extension("db-wal"))?.len())
}

#[test]
fn a_reader_that_stays_holds_nobody_up_and_the_log_shrinks_when_it_goes() -> Result<()> {
    let fleet = Simulated::start(Settings::default())?;
    let site = &fleet.site;
    let mut reader = Connection::open_with_flags(site.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let pinned = reader.transaction()?;
    let _: i64 = pinned.query_row(REPORTS, [], |row| row.get(0))?;
    let load = fleet.begin("drifting", &["--nodes", "16", "--findings", "60", "--duration", "90s"])?;
    wait_for("the log to be longer than it may stay", PATIENCE, || {
        Ok((log_bytes(site)? > KEPT).then_some(()))
    })?;
    let (longest, meanwhile) = (log_bytes(site)?, site.count(REPORTS)?);
    ensure!(fleet.collector.get("/readyz")?.status == 200, "it goes on");
    drop(pinned);
    wait_for("the log to be cut", PATIENCE, || Ok((log_bytes(site)? <= KEPT).then_some(())))?;
    let kept = log_bytes(site)?;
    drop(load);
    ensure!(site.count(REPORTS)? > meanwhile, "it went on");
    let broken = "SELECT count(*) FROM (SELECT node FROM reports GROUP BY node HAVING count(*) <> max(sequence)) AS broken";
    ensure!(site.count(broken)? == 0, "a report is missing");
    // Of one that was on its way when the fleet was killed, only a part came.
    let refused = site.count("SELECT count(*) FROM refusals WHERE code <> 'incomplete-body'")?;
    ensure!(refused == 0, "{refused} nodes had reports refused");
    println!(
        "SQLite read all the while: {meanwhile} reports taken meanwhile, the log grew to {longest} bytes, and was cut to \
         {kept} once the reader had gone"
    );
    Ok(())
}
