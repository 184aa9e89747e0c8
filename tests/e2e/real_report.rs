//! Reports as a real agent writes them, to be sent again with changes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use congruent_protocol::report::{Outcome, Report, Sealed, SetChange, report_digest};
use congruent_protocol::verification::Verification;
use congruent_tests::enrolled::{redirect, told};
use congruent_tests::site::Site;
use congruent_tests::tree;

/// Where no collector listens.
const NOWHERE: &str = "https://127.0.0.1:1";

/// What the agent of `node`, which is enrolled, would send now. Nothing reaches a
/// collector, and the agent is as if it had not run.
pub(crate) fn capture(site: &Site, node: &str) -> Result<Report> {
    let (state, before) = (site.state(node), site.sandbox.path(format!("{node}-before")));
    tree::copy(&state, &before)?;
    let captured = spool(site, node);
    fs::remove_dir_all(&state)?;
    fs::rename(&before, &state)?;
    captured
}

fn spool(site: &Site, node: &str) -> Result<Report> {
    redirect(&site.state(node), NOWHERE)?;
    let ended = site.sweep(node)?;
    ensure!(ended.stderr.contains("stays spooled"), "the agent spooled nothing: {}", ended.stderr);
    let newest = spooled(site, node)?.pop().context("the agent spooled nothing")?;
    let bytes = fs::read(newest)?;
    let report: Report<SetChange> = serde_json::from_slice(Sealed::parse(&bytes)?.payload())?;
    Ok(report.try_map(|change| change.apply(|_| None, |_| None))?)
}

/// The files of the reports that a node's agent has not delivered, oldest first.
pub(crate) fn spooled(site: &Site, node: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(site.state(node).join("spool"))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// The same look, as the report that comes `after` it.
pub(crate) fn next(after: &Report, change: impl FnOnce(&mut Verification)) -> Result<Report> {
    let mut report = after.clone();
    report.sequence += 1;
    report.previous = Some(report_digest(&payload(after)?));
    changed(report, change)
}

/// A report with another verification.
pub(crate) fn changed(mut report: Report, change: impl FnOnce(&mut Verification)) -> Result<Report> {
    let Outcome::Verified(verification) = &mut report.outcome else {
        anyhow::bail!("the agent verified nothing: {:?}", report.outcome);
    };
    change(verification);
    Ok(report)
}

/// What is signed and sealed of a report.
pub(crate) fn payload(report: &Report) -> Result<Vec<u8>> {
    serde_json::to_vec(&told(report.clone())).context("reports always serialise")
}
