//! Reports as a real agent writes them, to be sent again with changes.

use anyhow::{Context, Result};
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
    let before = site.state(node);
    let mut agent = site.agent(node)?.arg("--once").stderr(std::process::Stdio::null()).spawn()?;
    let swallowed = swallower.wait();
    program::end(&mut agent);
    std::fs::remove_dir_all(&before)?;
    std::fs::remove_file(config)?;
    serde_json::from_slice(&swallowed?.body).context("the agent sent no report")
}

/// The same look, as the report that comes `after` it.
pub(crate) fn next(after: &Report, change: impl FnOnce(&mut Verification)) -> Result<Report> {
    let bytes = serde_json::to_vec(after)?;
    let mut report = after.clone();
    report.sequence += 1;
    report.previous = Some(congruent_protocol::digest::Algorithm::Blake3.digest(&bytes));
    changed(report, change)
}

/// A report with another verification.
pub(crate) fn changed(mut report: Report, change: impl FnOnce(&mut Verification)) -> Result<Report> {
    match &mut report.outcome {
        Outcome::Verified(verification) => change(verification),
        Outcome::NoManifest(why) => anyhow::bail!("the agent had no manifest: {why}"),
    }
    Ok(report)
}
