//! Killed while it enrols or renews: the next try completes it, and nothing is
//! there twice.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Result;
use congruent_tests::program;
use congruent_tests::wait::{PATIENCE, wait_for};

use super::{AGENTS, Place, enrolment};
use crate::watch::count;

const ROUNDS: u32 = 20;

#[test]
fn killed_while_enrolling_a_node_is_enrolled_once() -> Result<()> {
    let place = Place::new(&["web-1"], AGENTS)?;
    let token = place.token()?;
    let mut cut_off = 0;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let mut command = place.enroll_command("web-1", &token)?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let moment = Duration::from_millis(3) * round;
        wait_for("the moment to kill", PATIENCE, || Ok((begun.elapsed() >= moment).then_some(())))?;
        program::end(&mut child);
        if enrolment(&place.site, "web-1").is_err() {
            cut_off += 1;
        }
    }
    let ended = place.enroll("web-1", &token)?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(place.site.sweep("web-1")?.code, Some(0));
    for (query, expected) in [
        ("SELECT count(*) FROM enrolments", 1),
        ("SELECT count(*) FROM join_uses", 1),
        ("SELECT count(*) FROM refusals", 0),
        ("SELECT count(*) FROM reports", 1),
    ] {
        assert_eq!(count(&place.site, query)?, expected, "{query}");
    }
    assert!(cut_off > 0, "no round came early enough");
    println!("killed {ROUNDS} times, {cut_off} of them before it was enrolled: one enrolment, one report");
    Ok(())
}

#[test]
fn killed_while_renewing_a_node_goes_on() -> Result<()> {
    let place = Place::new(&["web-1"], "agents-listen = \"127.0.0.1:0\"\ncertificate-ttl = \"1s\"\n")?;
    let token = place.token()?;
    assert_eq!(place.enroll("web-1", &token)?.code, Some(0));
    let mut renewals = 0;
    let mut last = enrolment(&place.site, "web-1")?;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let mut command = place.site.agent("web-1")?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // A renewal is due at once or within half a second.
        let moment = Duration::from_millis(200) + Duration::from_millis(23) * round;
        wait_for("the moment to kill", PATIENCE, || Ok((begun.elapsed() >= moment).then_some(())))?;
        program::end(&mut child);
        let now = enrolment(&place.site, "web-1")?;
        assert_eq!(now["enrolment"], last["enrolment"]);
        renewals += u32::from(now["renew_at"] != last["renew_at"]);
        last = now;
    }
    let ended = place.site.sweep("web-1")?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(count(&place.site, "SELECT count(*) FROM enrolments")?, 1);
    assert!(renewals > 0, "no round came to a renewal");
    println!("killed {ROUNDS} times around {renewals} renewals: the node reports on");
    Ok(())
}
