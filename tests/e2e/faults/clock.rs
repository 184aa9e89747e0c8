//! A node whose clock is off by ten years.

use std::fs;
use std::process::Command;

use anyhow::Result;
use congruent_tests::program::run;
use congruent_tests::site::{Settings, Site};

use super::{check_undelivered, spooled};
use crate::watch::{count, sweep};

#[test]
fn a_clock_that_is_off_by_ten_years_is_named_and_enrols_nobody_again() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let _collector = site.collect(&Settings::default())?;
    sweep(&site, "web-1", 0)?;
    let enrolment = site.state("web-1").join("enrolment.json");
    let before = fs::read(&enrolment)?;
    let agent = site.agent("web-1")?;
    let today = format!("says {}", &jiff::Timestamp::now().to_string()[.."2026-11-26".len()]);
    for off in ["+10y", "-10y"] {
        let mut faked = Command::new("faketime");
        faked.args(["-f", off]).arg(agent.get_program()).args(agent.get_args()).arg("--once");
        check_undelivered(&run(&mut faked)?, &["this node's clock is wrong", &today]);
    }
    assert_eq!(fs::read(&enrolment)?, before, "the node enrolled again");
    assert_eq!(count(&site, "SELECT count(*) FROM enrolments")?, 1);
    assert_eq!(spooled(&site, "web-1")?, 2);
    // Right again, it delivers what it has: late, but evidence.
    sweep(&site, "web-1", 0)?;
    assert_eq!(spooled(&site, "web-1")?, 0);
    println!("clocks 10 years ahead and behind: named, nothing enrolled, both reports delivered later");
    Ok(())
}
