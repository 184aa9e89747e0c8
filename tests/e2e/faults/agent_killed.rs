//! The agent is killed while it sweeps, spools and delivers.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Result;
use congruent_tests::program;
use congruent_tests::site::{Settings, Site};
use congruent_tests::wait::{PATIENCE, wait_for};

use super::{check_whole_chain, rounds, spooled};
use crate::watch::settle;

#[test]
fn a_spool_that_fills_loses_and_doubles_nothing_when_its_agent_is_killed() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let collector = site.collect(&Settings::default())?;
    let settings = Settings::default();
    site.tamper("web-1")?;
    collector.kill();
    let (mut killed, mut most) = (0, 0);
    for round in 0..rounds() {
        let begun = Instant::now();
        let mut agent = site.agent("web-1")?;
        let mut agent = agent.arg("--once").stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let moment = Duration::from_millis(u64::from(round * 3 % 45));
        wait_for("the moment to kill", PATIENCE, || Ok((begun.elapsed() >= moment).then_some(())))?;
        killed += u32::from(agent.try_wait()?.is_none());
        program::end(&mut agent);
        most = most.max(spooled(&site, "web-1").unwrap_or(0));
        // Half of the time there is somebody to deliver to.
        if round % 4 == 3 {
            let collector = site.collect(&settings)?;
            site.sweep("web-1")?;
            collector.kill();
        }
    }
    assert!(killed > 0, "no agent was killed in time");
    let _collector = site.collect(&settings)?;
    site.sweep("web-1")?;
    settle(&site)?;
    assert_eq!(spooled(&site, "web-1")?, 0);
    let reports = check_whole_chain(&site, "web-1")?;
    println!(
        "{killed} of {} agents killed, up to {most} reports waiting: {reports} delivered, each once",
        rounds()
    );
    Ok(())
}
