//! Certificates that end: renewed without a gap, in grace, and too late.

use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use congruent_tests::program;
use congruent_tests::wait::{PATIENCE, wait_for};
use jiff::Timestamp;

use super::{AGENTS, Place, check_refused, enrolment};
use crate::watch::{count, node};

const SHORT: &str = "agents-listen = \"127.0.0.1:0\"\ncertificate-ttl = \"2s\"\n";
const SHORT_WITHOUT_GRACE: &str =
    "agents-listen = \"127.0.0.1:0\"\ncertificate-ttl = \"2s\"\nrenewal-grace = \"0s\"\n";

fn wait_until_over(place: &Place) -> Result<()> {
    let expires: Timestamp =
        enrolment(&place.site, "web-1")?["expires_at"].as_str().context("no time")?.parse()?;
    // The collector's whole seconds, and one more.
    let over = expires + std::time::Duration::from_secs(1);
    wait_for("the certificate to be over", PATIENCE, || Ok((Timestamp::now() > over).then_some(())))
}

#[test]
fn an_agent_that_runs_renews_without_a_gap() -> Result<()> {
    const RENEWALS: usize = 3;
    let place = Place::new(&["web-1"], SHORT)?;
    place.enrolled("web-1")?;
    let config = place.site.sandbox.path("web-1.toml");
    let text = fs::read_to_string(&config)?.replace("\"15m\"", "\"100ms\"");
    fs::write(&config, text)?;
    let log = place.site.sandbox.path("web-1.log");
    let mut command = place.site.agent("web-1")?;
    let mut agent =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?).spawn()?;
    let renewed = wait_for("the certificate to be renewed again and again", PATIENCE, || {
        let renewals = fs::read_to_string(&log)?.matches("certificate is renewed").count();
        Ok((renewals >= RENEWALS).then_some(()))
    });
    program::end(&mut agent);
    let said = fs::read_to_string(&log)?;
    renewed.context(said.clone())?;
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
    let reports = count(&place.site, "SELECT count(*) FROM reports")?;
    assert!(reports > 10, "{reports} reports");
    println!("{RENEWALS} renewals of certificates of 2 s, {reports} reports, none refused");
    Ok(())
}

#[test]
fn a_certificate_that_is_over_serves_to_renew_it_and_for_nothing_else() -> Result<()> {
    let place = Place::new(&["web-1"], SHORT)?;
    place.enrolled("web-1")?;
    wait_until_over(&place)?;
    let curl = place.as_node("web-1");
    let refused = curl.ask("POST", &format!("{}/v1/reports", place.agents_url), "{}")?;
    assert!(refused.status == 403 && refused.text().contains("certificate-expired"), "{}", refused.text());
    let taken = curl.ask("POST", &format!("{}/v1/renew", place.agents_url), "{}")?;
    assert_eq!(taken.status, 400, "who may renew is asked for what: {}", taken.text());
    let ended = place.site.sweep("web-1")?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("certificate is renewed"), "{}", ended.stderr);
    assert_eq!(node(&place.collector, "web-1")?["state"], "congruent");
    Ok(())
}

#[test]
fn who_comes_too_late_joins_again_with_the_key_that_is_known() -> Result<()> {
    let place = Place::new(&["web-1"], SHORT_WITHOUT_GRACE)?;
    let token = place.token()?;
    assert_eq!(place.enroll("web-1", &token)?.code, Some(0));
    let before = enrolment(&place.site, "web-1")?;
    wait_until_over(&place)?;
    let ended = place.site.sweep("web-1")?;
    check_refused(&ended, &["stays spooled", "not renewed yet"]);
    let again = place.enroll("web-1", &token)?;
    assert!(again.text().starts_with("enrolled again as web-1"), "{}{}", again.text(), again.stderr);
    let after = enrolment(&place.site, "web-1")?;
    assert_eq!(before["enrolment"], after["enrolment"]);
    // What was found meanwhile was kept.
    let place = place.restart(|toml| toml.replace("certificate-ttl = \"2s\"\n", ""))?;
    assert_eq!(place.enroll("web-1", &token)?.code, Some(0));
    assert_eq!(place.site.sweep("web-1")?.code, Some(0));
    assert_eq!(count(&place.site, "SELECT count(*) FROM reports")?, 2);
    Ok(())
}

#[test]
fn what_seals_the_first_report_is_given_until_one_has_come() -> Result<()> {
    let place = Place::new(&["web-1"], AGENTS)?;
    let (token, state) = (place.token()?, place.site.state("web-1"));
    let seal_key = state.join("seal.key");
    let enroll = || -> Result<()> {
        let ended = place.enroll("web-1", &token)?;
        ensure!(ended.code == Some(0), "{}", ended.stderr);
        Ok(())
    };
    enroll()?;
    let first = fs::read(&seal_key)?;
    // The answer was lost, but for the node's key.
    fs::remove_file(&seal_key)?;
    fs::remove_file(state.join("enrolment.json"))?;
    enroll()?;
    assert_eq!(fs::read(&seal_key)?, first);
    assert_eq!(place.site.sweep("web-1")?.code, Some(0));
    assert!(!seal_key.exists(), "it is there when the chain has begun");
    fs::remove_file(state.join("enrolment.json"))?;
    enroll()?;
    assert!(!seal_key.exists(), "it was given again");
    assert_eq!(place.site.sweep("web-1")?.code, Some(0));
    assert_eq!(count(&place.site, "SELECT count(*) FROM reports")?, 2);
    Ok(())
}
