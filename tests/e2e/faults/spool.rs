//! Reports that are damaged while they wait.

use std::fs;

use anyhow::{Context, Result};
use congruent_tests::site::{Settings, Site};

use super::{spooled, status};
use crate::watch::{count, node, settle};

#[test]
fn a_damaged_report_is_set_aside_and_counted_and_the_rest_is_sent() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let collector = site.collect(&Settings::default())?;
    let settings = Settings::default();
    collector.kill();
    for _ in 0..5 {
        site.sweep("web-1")?;
    }
    assert_eq!(spooled(&site, "web-1")?, 5);
    let spool = site.state("web-1").join("spool");
    let mut reports: Vec<_> =
        fs::read_dir(&spool)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    reports.sort();
    let mut bytes = fs::read(&reports[2])?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&reports[2], bytes)?;

    let collector = site.collect(&settings)?;
    let ended = site.sweep("web-1")?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("is damaged"), "{}", ended.stderr);
    settle(&site)?;
    assert_eq!(spooled(&site, "web-1")?, 0);
    assert_eq!(fs::read_dir(site.state("web-1").join("damaged"))?.count(), 1);
    assert_eq!(status(&site, "web-1")?["spool"]["lost"], 1);
    assert_eq!(count(&site, "SELECT count(*) FROM reports")?, 5);
    let shown = node(&collector, "web-1")?;
    let notes = shown["chain"].as_array().context("no notes")?;
    assert!(notes.iter().any(|note| note["note"] == "report 3 is missing"), "{notes:?}");
    println!("1 of 6 reports damaged: 5 delivered, 1 set aside, counted, and noted as missing");
    Ok(())
}
