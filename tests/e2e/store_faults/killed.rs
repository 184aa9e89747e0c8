//! The collector is killed while a fleet reports to it, again and again.

use anyhow::Result;
use congruent_postgres::Postgres;

use super::{check_whole, fleet, wait_for_more};
use crate::faults::rounds;

#[test]
fn a_collector_on_postgres_that_is_killed_loses_nothing() -> Result<()> {
    let postgres = Postgres::start()?;
    let mut fleet = fleet(postgres.database()?)?;
    let rounds = rounds().div_ceil(4);
    let turns = (u64::from(rounds) * 6).to_string();
    let load = fleet.begin("flapping", &["--nodes", "8", "--rate", "80", "--turns", &turns])?;
    for _ in 0..rounds {
        wait_for_more(&fleet.site, 10)?;
        fleet.kill_collector()?;
    }
    let outcome = load.end()?;
    let troubles = check_whole(&fleet.site, &outcome)?;
    println!(
        "{rounds} kills on PostgreSQL: {} reports acknowledged, {} of them asked after again, none lost or doubled; on the way \
         {troubles:?}",
        outcome.reports.acknowledged, outcome.reports.duplicates
    );
    Ok(())
}
