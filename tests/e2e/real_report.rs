//! Reports as a real agent writes them, to be sent again with changes.

use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::report::{Outcome, Report};
use congruent_protocol::verification::Verification;
use congruent_tests::program;
use congruent_tests::site::Site;
use congruent_tests::swallower::Swallower;

/// What the agent of `node` would send now, as it would be its first report.
/// Nothing reaches a collector, and the agent is as if it had never run.
pub(crate) fn capture(site: &Site, node: &str) -> Result<Report> {
    let swallower = Swallower::start(None)?;
    let config = site.write_agent(node, Some(&swallower.url()))?;
    let mut agent = site.agent(node)?.arg("--once").stderr(Stdio::null()).spawn()?;
    let swallowed = swallower.wait();
    program::end(&mut agent);
    fs::remove_dir_all(site.state(node))?;
    fs::remove_file(config)?;
    serde_json::from_slice(&swallowed?.body).context("the agent sent no report")
}

/// The same look, as the report that comes `after` it.
pub(crate) fn next(after: &Report, change: impl FnOnce(&mut Verification)) -> Result<Report> {
    let mut report = after.clone();
    report.sequence += 1;
    report.previous = Some(Algorithm::Blake3.digest(&to_json(after)?));
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

/// A report's bytes, as an agent sends them.
pub(crate) fn to_json(report: &Report) -> Result<Vec<u8>> {
    serde_json::to_vec(report).context("reports always serialise")
}
