//! PostgreSQL goes away and comes back.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use congruent_postgres::Postgres;
use congruent_tests::collector::Collector;
use congruent_tests::curl::Curl;
use congruent_tests::http::Response;
use congruent_tests::site::{Settings, Site, token};
use congruent_tests::wait::{PATIENCE, wait_for};

use super::{REPORTS, check_whole, first_after, fleet, wait_for_more};

#[test]
fn a_server_that_restarts_or_crashes_under_load_loses_nothing() -> Result<()> {
    let mut postgres = Postgres::start()?;
    let fleet = fleet(postgres.database()?)?;
    let load = fleet.begin("flapping", &["--nodes", "8", "--rate", "60", "--duration", "6s"])?;
    let mut figures = Vec::new();
    for (what, is_crash) in [("restarted", false), ("crashed", true)] {
        wait_for_more(&fleet.site, 40)?;
        let begun = Instant::now();
        postgres.stop(is_crash)?;
        postgres.start_again()?;
        let (away, before) = (begun.elapsed(), fleet.site.count(REPORTS)?);
        let first = first_after(&fleet.site, before)?;
        figures.push(format!(
            "{what}: away {} ms, first report {} ms later",
            away.as_millis(),
            first.as_millis()
        ));
    }
    let outcome = load.end()?;
    let troubles = check_whole(&fleet.site, &outcome)?;
    println!(
        "PostgreSQL {}; {} reports acknowledged, none lost or doubled; on the way {troubles:?}",
        figures.join("; "),
        outcome.reports.acknowledged
    );
    Ok(())
}

fn ready(collector: &Collector) -> Result<u16> {
    Ok(collector.get("/readyz")?.status)
}

/// An operator's question, with the headers of its answer.
fn ask_with_headers(collector: &Collector) -> Result<Response> {
    let curl = Curl::new(collector.authority()).token(&token("operator")).with("--include");
    curl.ask("GET", &format!("{}/v1/nodes", collector.url()), "")
}

/// Longer than the collector has patience.
#[test]
fn while_the_server_is_away_callers_are_told_to_come_again() -> Result<()> {
    let mut postgres = Postgres::start()?;
    let site = Site::small(&["web-1"])?.on_postgres(postgres.database()?);
    let collector = site.collect(&Settings::default())?;
    ensure!(site.sweep("web-1")?.code == Some(0));
    ensure!(ready(&collector)? == 200, "ready before");
    postgres.stop(true)?;
    let begun = Instant::now();
    wait_for("the collector not to be ready", PATIENCE, || Ok((ready(&collector)? == 503).then_some(())))?;
    let unready = begun.elapsed();

    let answer = ask_with_headers(&collector)?;
    let headers = answer.text().to_lowercase();
    ensure!(answer.status == 503 && headers.contains("\nretry-after: "), "{headers}");
    ensure!(headers.contains("store-unavailable"), "{headers}");
    for _ in 0..2 {
        let ended = site.sweep("web-1")?;
        ensure!(ended.code == Some(2), "{}", ended.stderr);
        ensure!(ended.stderr.contains("503") && ended.stderr.contains("stays spooled"), "{}", ended.stderr);
    }
    ensure!(collector.get("/healthz")?.status == 200, "it is well itself");

    postgres.start_again()?;
    let back = Instant::now();
    wait_for("the collector to be ready", PATIENCE, || Ok((ready(&collector)? == 200).then_some(())))?;
    let ready_again = back.elapsed();
    ensure!(site.sweep("web-1")?.code == Some(0));
    ensure!(site.count(REPORTS)? == 4, "one before, two that waited, one after");
    ensure!(site.count("SELECT max(sequence) FROM reports")? == 4);
    ensure!(site.count("SELECT count(*) FROM refusals")? == 0);
    let log = std::fs::read_to_string(site.sandbox.path("server.log"))?;
    let told =
        log.lines().find(|line| line.contains("the database is back")).context("no word in the log")?;
    println!(
        "PostgreSQL away: not ready after {} ms, 503 with Retry-After and no verdict meanwhile; ready again {} ms \
         after it was back ({told})",
        unready.as_millis(),
        ready_again.as_millis()
    );
    Ok(())
}
