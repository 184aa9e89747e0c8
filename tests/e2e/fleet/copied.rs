//! A fleet's collector moves from SQLite to PostgreSQL with all that it had, by one
//! command.

use std::process::Command;

use anyhow::{Result, ensure};
use congruent_postgres::Postgres;
use congruent_tests::binaries;
use congruent_tests::program::{Ended, run};
use congruent_tests::simulated::Simulated;
use congruent_tests::site::{Settings, Site};
use postgres::{Client, NoTls};

use super::{all, counts};

fn copy(site: &Site, to: &str) -> Result<Ended> {
    let mut command = Command::new(binaries::path("congruent-server")?);
    command.args(["store", "copy", "--from"]).arg(site.sandbox.path("server.toml"));
    run(command.args(["--to-database", to]))
}

#[test]
fn a_fleet_goes_on_in_postgresql_with_all_that_it_had() -> Result<()> {
    let postgres = Postgres::start()?;
    let (url, other) = (postgres.database()?, postgres.database()?);
    let fleet = Simulated::start(Settings::default())?;
    let report =
        |fleet: &Simulated| fleet.measure("drifting", &["--nodes", "5", "--turns", "3", "--findings", "5"]);
    let before = report(&fleet)?;
    assert_eq!((before.reports.acknowledged, before.reports.lost), (15, 0), "{before}");
    let refused = copy(&fleet.site, &url)?;
    assert_eq!(refused.code, Some(2), "{}", refused.text());
    assert!(refused.stderr.contains("another collector uses the database"), "{}", refused.stderr);

    // The address lives as long as the test, as other settings do.
    let database: &'static str = Box::leak(url.clone().into_boxed_str());
    let moved = |site: &Site| {
        let copied = copy(site, &url)?;
        ensure!(copied.code == Some(0) && copied.text().contains("reports"), "{copied:?}");
        // What is there is never overwritten; and elsewhere it goes again.
        let again = copy(site, &url)?;
        ensure!(again.code == Some(2) && again.stderr.contains("not empty"), "{again:?}");
        ensure!(copy(site, &other)?.code == Some(0));
        Ok(())
    };
    let fleet = fleet.restarted(Settings { database, ..Settings::default() }, moved)?;
    let after = report(&fleet)?;
    assert_eq!((after.reports.acknowledged, after.reports.lost), (15, 0), "{after}");
    assert_eq!(counts(&fleet, "/state")?, all("divergent", 5));
    let mut client = Client::connect(&url, NoTls)?;
    let number =
        |client: &mut Client, sql: &str| Ok::<i64, postgres::Error>(client.query_one(sql, &[])?.get(0));
    assert_eq!(number(&mut client, "SELECT count(*) FROM reports")?, 30);
    assert_eq!(number(&mut client, "SELECT max(sequence) FROM reports")?, 6, "their chains went on");
    assert_eq!(number(&mut client, "SELECT count(*) FROM chain_notes")?, 0);
    Ok(())
}
