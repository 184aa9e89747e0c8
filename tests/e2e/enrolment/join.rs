//! Who may join, and who may not.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use congruent_tests::agent;
use congruent_tests::curl::Curl;
use congruent_tests::program::{run, succeed};
use congruent_tests::site::GROUP;
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{AGENTS, Place, check_refused, enrolment};
use crate::watch::count;

#[test]
fn what_can_go_wrong_is_said_with_its_mend() -> Result<()> {
    let place = Place::new(&["web-1", "web-2", "web-3"], AGENTS)?;
    let token = place.token()?;
    let enroll = |server: &str, fingerprint: &str| -> Result<_> {
        let mut command = agent::command(&["enroll", "--server", server, "--ca-fingerprint", fingerprint])?;
        command.arg("--token-file").arg(&token);
        run(command.arg("--config").arg(place.site.sandbox.path("web-1.toml")))
    };
    let (url, right) = (place.collector.url(), place.fingerprint()?);
    let wrong = format!("sha256:{}", "0".repeat(64));
    check_refused(&enroll(url, &wrong)?, &[&wrong, &right, "another authority"]);
    check_refused(&enroll(url, "sha256:00")?, &["64 hexadecimal digits"]);
    check_refused(&enroll("http://collector.example", &right)?, &["must begin with https://"]);
    check_refused(&enroll(&url.replace("https", "http"), &right)?, &["cannot reach the collector"]);
    check_refused(&enroll("https://127.0.0.1:1", &right)?, &["cannot reach the collector"]);
    assert!(enrolment(&place.site, "web-1").is_err(), "nothing of it enrolled the node");

    // Nothing of it used the token up either.
    assert_eq!(place.enroll("web-1", &token)?.code, Some(0));
    check_refused(&place.enroll("web-2", &token)?, &["was used by another key", "\"web-1\""]);
    fs::write(&token, "cjt_nothing")?;
    check_refused(&place.enroll("web-2", &token)?, &["not known here", "token create"]);
    fs::write(&token, "two words")?;
    check_refused(&place.enroll("web-2", &token)?, &["does not hold one word"]);
    let ended = run(place.enroll_command("web-2", &place.token()?)?.args(["--node", "web-1"]))?;
    check_refused(&ended, &["another node is enrolled as \"web-1\"", "revoke"]);
    let kept = "SELECT count(*) FROM refusals WHERE node = 'web-2' AND code = 'token-used'";
    assert_eq!(count(&place.site, kept)?, 1);
    let ended = run(place.enroll_command("web-1", &token)?.args(["--node", "web-9"]))?;
    check_refused(&ended, &["enrolled as \"web-1\" already", "web-9"]);

    // A disk that was copied brings its key along.
    let copied = place.site.state("web-3");
    fs::create_dir(&copied)?;
    fs::copy(place.site.state("web-1").join("node.key"), copied.join("node.key"))?;
    check_refused(
        &place.enroll("web-3", &place.token()?)?,
        &["this key is enrolled as \"web-1\"", "copied disk"],
    );
    assert_eq!(count(&place.site, "SELECT count(*) FROM enrolments")?, 1);
    Ok(())
}

#[test]
fn a_reusable_token_is_bound_to_a_rate_and_a_network() -> Result<()> {
    let place = Place::new(&["web-1", "web-2", "web-3"], AGENTS)?;
    let here = ["--reusable", "--max-per-minute", "2", "--from", "127.0.0.0/8"];
    let token = place.token_with(&here)?;
    for node in ["web-1", "web-2", "web-1"] {
        let ended = place.enroll(node, &token)?;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    check_refused(&place.enroll("web-3", &token)?, &["within a minute", "try again later"]);
    let there = ["--reusable", "--from", "10.0.0.0/8"];
    check_refused(&place.enroll("web-3", &place.token_with(&there)?)?, &["bound to 10.0.0.0/8", "127.0.0.1"]);
    let listed = place.collector.json("/v1/tokens")?;
    let listed = listed["tokens"].as_array().context("no list")?.clone();
    let counts = |uses: u64, refused: u64| {
        listed.iter().any(|token| token["uses"] == uses && token["refused"] == refused)
    };
    assert!(counts(2, 1) && counts(0, 1), "{listed:?}");
    assert!(listed.iter().all(|token| token.get("token").is_none()), "a token is shown once");
    for (more, says) in [
        (["--group", "none"], "known are web"),
        (["--ttl", "9000d"], "to a year"),
        (["--from", "here"], "such as 10.0.0.0/8"),
    ] {
        let mut command = place.operator(&["token", "create"])?;
        if more[0] != "--group" {
            command.args(["--group", GROUP]);
        }
        check_refused(&run(command.args(more))?, &[says]);
    }
    let audit = place.collector.json("/v1/audit")?;
    let row = &audit["audit"][0];
    assert_eq!((&row["action"], &row["operator"]), (&"join-token-created".into(), &"config".into()), "{row}");
    Ok(())
}

/// A request that OpenSSL made, so that nothing depends on how the agent makes its.
#[test]
fn a_clock_that_is_off_by_ten_years_is_told_and_uses_nothing_up() -> Result<()> {
    let place = Place::new(&[], AGENTS)?;
    let token = fs::read_to_string(place.token()?)?;
    let (key, csr) = (place.site.sandbox.path("own.key"), place.site.sandbox.path("own.csr"));
    let mut command = Command::new("openssl");
    command.args(["req", "-new", "-newkey", "ed25519", "-nodes", "-subj", "/CN=web-9", "-outform", "DER"]);
    let made = run(command.arg("-keyout").arg(key).arg("-out").arg(&csr))?;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let csr = BASE64.encode(&fs::read(csr)?);
    let curl = Curl::new(&place.authority());
    let ask = |sent_at: &str| {
        let request = json!({
            "schema_version": 1, "token": token, "node": "web-9", "csr": csr, "agent_version": "0", "sent_at": sent_at
        });
        curl.ask("POST", &format!("{}/v1/enroll", place.collector.url()), &request.to_string())
    };
    for far in ["2016-03-01T12:00:00Z", "2046-03-01T12:00:00Z"] {
        let refused = ask(far)?;
        let refusal: Value = refused.json()?;
        assert_eq!((refused.status, &refusal["code"]), (422, &"clock-skew".into()), "{refusal}");
        assert!(refusal["server_time"].is_string(), "{refusal}");
    }
    let now = String::from_utf8(succeed("date", ["--utc", "+%Y-%m-%dT%H:%M:%SZ"])?.stdout)?;
    let joined: Value = ask(now.trim())?.json()?;
    assert_eq!((&joined["node"], &joined["group"]), (&"web-9".into(), &GROUP.into()), "{joined}");
    Ok(())
}
