//! A simulated fleet at a real collector: each scenario small, and what the API says
//! of it afterwards.

mod copied;
mod herd;
mod replaced;
mod restored;
mod scenarios;
mod selftest;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use congruent_fleet::{OfReports, Outcome};
use congruent_tests::simulated::Simulated;
use serde_json::Value;

/// Every node, as it is listed.
fn nodes(fleet: &Simulated) -> Result<Vec<Value>> {
    match fleet.collector.json("/v1/nodes?limit=1000")?["nodes"].take() {
        Value::Array(nodes) => Ok(nodes),
        other => anyhow::bail!("nodes are {other}"),
    }
}

/// How many nodes say what of something, such as `/state`.
fn counts(fleet: &Simulated, pointer: &str) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for node in nodes(fleet)? {
        let said = node.pointer(pointer).context("no such member")?;
        let said = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
        *counts.entry(said).or_default() += 1;
    }
    Ok(counts)
}

fn all(what: &str, count: usize) -> BTreeMap<String, usize> {
    [(what.to_owned(), count)].into()
}

/// Holds an outcome to this: all that was made is acknowledged, once.
fn check_delivered(outcome: &Outcome, made: u64) {
    let expected = OfReports { made, acknowledged: made, ..OfReports::default() };
    assert_eq!(outcome.reports, expected, "{outcome}");
}
