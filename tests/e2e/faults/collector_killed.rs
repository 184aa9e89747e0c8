//! The collector is killed under load, again and again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use congruent_tests::collector::Collector;
use congruent_tests::site::{Settings, Site};
use congruent_tests::wait::{PATIENCE, wait_for};

use super::{check_database, check_whole_chain, rounds, spooled};
use crate::watch::{count, settle};

const NODES: [&str; 4] = ["web-1", "web-2", "web-3", "web-4"];

/// The numbers that a node's agent was told are durable.
fn acknowledged(log: &str) -> impl Iterator<Item = u64> {
    let number = |line: &str| {
        let rest = line.split_once("acknowledged sequence=")?.1;
        rest.split_whitespace().next()?.parse().ok()
    };
    log.lines().filter_map(number).collect::<Vec<_>>().into_iter()
}

#[test]
fn what_was_acknowledged_is_there_and_nothing_is_there_twice() -> Result<()> {
    let site = Site::small(&NODES)?;
    let first = site.collect(&Settings::default())?;
    let settings = Settings::default();
    let is_over = AtomicBool::new(false);
    let (told, collector) = thread::scope(|scope| -> Result<(Vec<BTreeSet<u64>>, Collector)> {
        let mut collector = first;
        let storm = |node: &'static str| {
            let (site, is_over) = (&site, &is_over);
            scope.spawn(move || -> Result<BTreeSet<u64>> {
                let mut told = BTreeSet::new();
                while !is_over.load(Ordering::Relaxed) {
                    told.extend(acknowledged(&site.sweep(node)?.stderr));
                }
                Ok(told)
            })
        };
        let storms = NODES.map(storm);
        for round in 0..rounds() {
            let begun = Instant::now();
            let moment = Duration::from_millis(50 + u64::from(round * 37 % 200));
            wait_for("the moment to kill", PATIENCE, || Ok((begun.elapsed() >= moment).then_some(())))?;
            collector.kill();
            collector = site.collect(&settings)?;
        }
        is_over.store(true, Ordering::Relaxed);
        let told = storms.into_iter().map(|storm| storm.join().ok().context("a storm broke off")?);
        Ok((told.collect::<Result<_>>()?, collector))
    })?;
    let mut reports = 0;
    for (node, told) in NODES.into_iter().zip(&told) {
        site.sweep(node)?;
        for number in told {
            let query = format!("SELECT count(*) FROM reports WHERE node = '{node}' AND sequence = {number}");
            assert_eq!(count(&site, &query)?, 1, "{node}: report {number} was acknowledged");
        }
        assert_eq!(spooled(&site, node)?, 0, "{node} still has reports");
        reports += check_whole_chain(&site, node)?;
    }
    settle(&site)?;
    collector.stop()?;
    check_database(&site.database())?;
    let told: usize = told.iter().map(BTreeSet::len).sum();
    println!(
        "{} kills: {told} reports acknowledged under load, {reports} in all, none lost or doubled",
        rounds()
    );
    Ok(())
}
