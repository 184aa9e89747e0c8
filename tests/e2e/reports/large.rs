//! A set of findings that no single message holds.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Result;
use congruent_protocol::report::MAX_INLINE_BYTES;
use congruent_tests::enrolled::redirect;
use congruent_tests::program;
use congruent_tests::proxy::{Proxy, Way};
use congruent_tests::sandbox::Sandbox;
use congruent_tests::site::{Settings, Site};
use congruent_tests::tree;
use congruent_tests::wait::wait_for;

use crate::watch::{count, node, settle};

const FINDINGS: usize = 100_000;
/// How many of them are mended first.
const MENDED: usize = 10;
/// Neither program is optimised in tests.
const LONG: Duration = Duration::from_mins(5);

/// Where files are added, many under one folder.
fn added(site: &Site) -> Vec<PathBuf> {
    let root = site.root("web-1").join("etc");
    (0..FINDINGS).map(|number| root.join(format!("added-{number:06}"))).collect()
}

/// Sweeps, and prints and gives how many bytes it took to tell.
fn told(site: &Site, proxy: &Proxy, what: &str, code: i32) -> Result<u64> {
    let (begun, before) = (Instant::now(), proxy.sent_bytes());
    let mut agent = site.agent("web-1")?.arg("--once").stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let ended = wait_for("the sweep to be told", LONG, || Ok(agent.try_wait()?));
    program::end(&mut agent);
    assert_eq!(ended?.code(), Some(code), "{what}");
    settle(site)?;
    let sent = proxy.sent_bytes() - before;
    println!("{what}: {sent} bytes sent, {:.1} s from sweep to judgement", begun.elapsed().as_secs_f64());
    Ok(sent)
}

#[test]
fn a_hundred_thousand_findings_arrive_and_go_again() -> Result<()> {
    let site = Site::new(Sandbox::for_trees()?, &["web-1"], tree::small)?;
    let collector = site.collect(&Settings::default())?;
    let proxy = Proxy::start(&collector.agents_url()?, Way::Open)?;
    redirect(&site.state("web-1"), &proxy.url())?;
    let clean = told(&site, &proxy, "a clean sweep", 0)?;
    let paths = added(&site);
    paths.iter().try_for_each(|path| fs::write(path, ""))?;
    let whole = told(&site, &proxy, "100,000 findings", 1)?;
    let shown = node(&collector, "web-1")?;
    assert_eq!((&shown["state"], &shown["findings_total"]), (&"divergent".into(), &FINDINGS.into()));

    paths[..MENDED].iter().try_for_each(fs::remove_file)?;
    let part = told(&site, &proxy, "10 of them mended", 1)?;
    let shown = node(&collector, "web-1")?;
    assert_eq!(shown["findings_total"], FINDINGS - MENDED);
    assert!(
        part < clean * 2 && part < MAX_INLINE_BYTES as u64 && part * 20 < whole,
        "{clean} {whole} {part}"
    );

    paths[MENDED..].iter().try_for_each(fs::remove_file)?;
    told(&site, &proxy, "the rest mended", 0)?;
    let shown = node(&collector, "web-1")?;
    assert_eq!((&shown["state"], &shown["findings_total"]), (&"congruent".into(), &0.into()));
    assert_eq!(count(&site, "SELECT count(*) FROM refusals")?, 0);
    assert_eq!(count(&site, "SELECT count(*) FROM reports")?, 4);
    Ok(())
}
