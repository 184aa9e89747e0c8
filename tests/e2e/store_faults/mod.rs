//! What goes wrong with the store, PostgreSQL above all, while a fleet reports. Whatever
//! it is: what was acknowledged is there, nothing is there twice, and who is not served
//! is told to come again. Each prints what it saw.

mod commits;
mod disk;
mod failed_over;
mod killed;
mod pinned;
mod restarted;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use congruent_fleet::Outcome;
use congruent_tests::simulated::Simulated;
use congruent_tests::site::{Settings, Site};
use congruent_tests::wait::{PATIENCE, wait_for};

const REPORTS: &str = "SELECT count(*) FROM reports";
/// The words for what is nobody's fault, and passes.
const PASSING: [&str; 6] =
    ["store-unavailable", "busy", "no-connection", "no-tls", "connection-lost", "timeout"];

/// A simulated fleet whose collector keeps what it knows in the database at `url`.
fn fleet(url: String) -> Result<Simulated> {
    Simulated::start_at(Site::small(&[])?.on_postgres(url), Settings::default(), None)
}

/// Waits until `more` reports are there than now.
fn wait_for_more(site: &Site, more: i64) -> Result<()> {
    let before = site.count(REPORTS)?;
    wait_for("more reports", PATIENCE, || Ok((site.count(REPORTS)? >= before + more).then_some(())))
}

/// How long it takes from now until one more report is there than before.
fn first_after(site: &Site, before: i64) -> Result<Duration> {
    let begun = Instant::now();
    wait_for("the first report", PATIENCE, || Ok((site.count(REPORTS)? > before).then_some(())))?;
    Ok(begun.elapsed())
}

/// Holds what a fleet came to: all that it made is acknowledged and there, once, and
/// every chain is whole. Gives what did not succeed at first.
fn check_whole(site: &Site, outcome: &Outcome) -> Result<BTreeMap<String, u64>> {
    let reports = outcome.reports;
    ensure!(reports.made > 0 && reports.acknowledged == reports.made, "{outcome}");
    ensure!((reports.refused, reports.waiting, reports.lost) == (0, 0, 0), "{outcome}");
    for (query, expected) in [
        (REPORTS, i64::try_from(reports.made)?),
        ("SELECT count(*) FROM report_bodies", i64::try_from(reports.made)?),
        (
            "SELECT count(*) FROM (SELECT node FROM reports GROUP BY node \
             HAVING count(*) <> max(sequence) OR count(DISTINCT sequence) <> count(*) \
             OR count(DISTINCT chain) <> 1) AS broken",
            0,
        ),
        ("SELECT count(*) FROM refusals", 0),
        ("SELECT count(*) FROM chain_notes", 0),
    ] {
        ensure!(site.count(query)? == expected, "{query}: {} for {expected}; {outcome}", site.count(query)?);
    }
    let mut troubles = BTreeMap::new();
    for (word, count) in outcome.kinds.values().flat_map(|kind| &kind.trouble) {
        ensure!(PASSING.contains(&word.as_str()), "{word} is a verdict on what is not the node's: {outcome}");
        *troubles.entry(word.clone()).or_default() += count;
    }
    Ok(troubles)
}
