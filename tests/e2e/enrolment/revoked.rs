//! Revocation: at the next request, and for good.

use std::fs;
use std::process::Stdio;

use anyhow::Result;
use congruent_tests::program;
use congruent_tests::wait::{PATIENCE, wait_for};

use super::{AGENTS, Place, check_refused, enrolment};
use crate::watch::{count, wait_for_state};

#[test]
fn who_is_revoked_is_out_at_the_next_request() -> Result<()> {
    let place = Place::new(&["web-1"], AGENTS)?;
    place.enrolled("web-1")?;
    let config = place.site.sandbox.path("web-1.toml");
    let text = fs::read_to_string(&config)?.replace("\"15m\"", "\"200ms\"");
    fs::write(&config, text)?;
    let log = place.site.sandbox.path("web-1.log");
    let mut command = place.site.agent("web-1")?;
    // Its connection is open when it is revoked.
    let mut agent =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?).spawn()?;
    let watched = wait_for_state(&place.collector, "web-1", "congruent").and_then(|_| {
        place.revoke("web-1")?;
        wait_for("the agent to say so", PATIENCE, || {
            let log = fs::read_to_string(&log)?;
            Ok(log.lines().any(|line| line.contains("was revoked")).then_some(()))
        })
    });
    program::end(&mut agent);
    watched?;
    assert_eq!(place.collector.json("/v1/nodes/web-1")?["enrolled"], false);
    let reports = count(&place.site, "SELECT count(*) FROM reports")?;
    let ended = place.site.sweep("web-1")?;
    check_refused(&ended, &["refuses this node", "was revoked", "stays spooled"]);
    assert_eq!(count(&place.site, "SELECT count(*) FROM reports")?, reports);
    let renewed = place.as_node("web-1").ask("POST", &format!("{}/v1/renew", place.agents_url), "{}")?;
    assert!(renewed.status == 403 && renewed.text().contains("\"revoked\""), "{}", renewed.text());

    // A restart remembers, and neither token nor time brings the key back.
    let place = place.restart(|toml| toml)?;
    fs::remove_file(place.site.state("web-1").join("enrolment.json"))?;
    check_refused(
        &place.enroll("web-1", &place.token()?)?,
        &["this node was revoked", "remove its state directory"],
    );
    assert!(enrolment(&place.site, "web-1").is_err());
    // A new key under the free name does join.
    fs::remove_dir_all(place.site.state("web-1"))?;
    place.enrolled("web-1")?;
    assert_eq!(place.site.sweep("web-1")?.code, Some(0));
    let enrolled = "SELECT count(*) FROM enrolments WHERE node = 'web-1'";
    assert_eq!(count(&place.site, enrolled)?, 2);
    let why = "SELECT count(*) FROM enrolments WHERE revoked_why = 'a test' AND revoked_at IS NOT NULL";
    assert_eq!(count(&place.site, why)?, 1);
    Ok(())
}
