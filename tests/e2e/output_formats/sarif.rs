//! SARIF: without an error by Microsoft's validator, and stable from run to run.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use congruent_tests::program::{Ended, run};
use congruent_tests::{agent, peer};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{HOSTILE, Scene};

/// What the validator misses that we mean to leave out: a place on the web that
/// tells of the tool, and a part of the artifact, since a finding is of a whole
/// entry, which may be a directory or a link.
const LEFT_OUT: [&str; 2] = ["SARIF2005", "SARIF2017"];

/// Checks the log by the validator, and gives its one run.
fn check(scene: &Scene, ended: &Ended, code: i32) -> Result<Value> {
    ensure!(ended.code == Some(code), "the exit code is {:?}: {}", ended.code, ended.stderr);
    let file = scene.sandbox.write("congruent.sarif", &ended.stdout)?;
    let says = scene.sandbox.path("validated.sarif");
    let validator = peer::node_file("@microsoft/sarif-multitool-linux/Sarif.Multitool")?;
    let mut validate = Command::new(validator);
    validate.arg("validate").arg(file).arg("--output").arg(&says).args(["--log", "ForceOverwrite"]);
    // It wants no libicu then.
    let validated = run(validate.env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1"))?;
    ensure!(validated.code == Some(0), "the validator fails: {}{}", validated.text(), validated.stderr);
    ensure!(validated.text().contains("1 files scanned"), "nothing was validated: {}", validated.text());
    let says: Value = serde_json::from_slice(&fs::read(says)?)?;
    let complaints = says["runs"][0]["results"].as_array().cloned().unwrap_or_default();
    let unexpected = |complaint: &&Value| LEFT_OUT.iter().all(|rule| complaint["ruleId"] != *rule);
    let complaints: Vec<_> = complaints.iter().filter(unexpected).collect();
    ensure!(complaints.is_empty(), "{complaints:#?}");

    let mut log: Value = serde_json::from_slice(&ended.stdout)?;
    let run = log["runs"][0].take();
    ensure!(run["invocations"][0]["exitCode"] == code, "{}", run["invocations"]);
    Ok(run)
}

/// Path and fingerprint of each result.
fn fingerprints(run: &Value) -> Result<BTreeSet<(String, String)>> {
    let results = run["results"].as_array().context("no results")?;
    let shown = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fingerprint = |result: &Value| {
        (shown(&result["properties"]["path"]), shown(&result["partialFingerprints"]["congruent/v1"]))
    };
    let found: BTreeSet<_> = results.iter().map(fingerprint).collect();
    ensure!(found.len() == results.len(), "two results are taken for one");
    ensure!(found.iter().all(|(_, fingerprint)| fingerprint.len() == 64), "{found:?}");
    Ok(found)
}

#[test]
fn what_is_congruent_has_no_results() -> Result<()> {
    let scene = Scene::congruent()?;
    let run = check(&scene, &scene.verify("sarif")?, 0)?;
    assert_eq!(run["results"], json!([]));
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
    assert_eq!(run["properties"]["state"], "congruent");
    Ok(())
}

#[test]
fn uris_say_every_byte_of_a_name() -> Result<()> {
    let scene = Scene::hostile()?;
    let run = check(&scene, &scene.verify("sarif")?, 1)?;
    let base = run["originalUriBaseIds"]["ROOT"]["uri"].as_str().context("no base")?;
    let mut root = scene.root.as_os_str().as_bytes().to_vec();
    root.push(b'/');
    assert_eq!(percent_decode_str(base).collect::<Vec<u8>>(), [b"file://", &root[..]].concat());
    let uris: BTreeSet<Vec<u8>> = run["results"]
        .as_array()
        .context("no results")?
        .iter()
        .map(|result| &result["locations"][0]["physicalLocation"]["artifactLocation"])
        .filter(|artifact| artifact["uriBaseId"] == "ROOT")
        .filter_map(|artifact| artifact["uri"].as_str())
        .map(|uri| percent_decode_str(uri).collect())
        .collect();
    let others = [&b"./"[..], b"bin", b"etc/passwd", b"etc/web.conf"].map(<[u8]>::to_vec);
    let hostile = HOSTILE.map(|name| [b"usr/share/", name].concat());
    assert_eq!(uris, hostile.into_iter().chain(others).collect());
    Ok(())
}

/// The next run comes later, with one finding more, and drift that has gone on.
#[test]
fn a_finding_keeps_its_fingerprint() -> Result<()> {
    let scene = Scene::hostile()?;
    let before = fingerprints(&check(&scene, &scene.verify("sarif")?, 1)?)?;
    fs::write(scene.root.join("etc/another"), "x")?;
    fs::write(scene.root.join("etc/passwd"), "root:::::\n")?;
    let (manifest, key) = (scene.sandbox.path("again.manifest"), &scene.keys);
    let other = Scene::congruent()?;
    agent::bake(&other.root, None, key, &manifest)?;
    let again = Scene { manifest, ..scene };
    let after = fingerprints(&check(&again, &again.verify("sarif")?, 1)?)?;
    let new: Vec<_> = after.difference(&before).map(|(path, _)| path.as_str()).collect();
    assert_eq!(new, ["/etc/another"]);
    assert!(before.is_subset(&after), "{:?}", before.difference(&after).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn what_is_incomplete_does_not_look_clean() -> Result<()> {
    let scene = Scene::congruent()?;
    let run = check(&scene, &scene.verify_powerless("sarif")?, 3)?;
    assert_eq!(run["properties"]["state"], "incomplete");
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    let notification = &invocation["toolExecutionNotifications"][0];
    assert_eq!(
        (&notification["level"], &notification["associatedRule"]["id"]),
        (&json!("error"), &json!("CNG2001"))
    );
    let result = &run["results"][0];
    assert_eq!((&result["level"], &result["ruleId"]), (&json!("warning"), &json!("CNG2001")));
    assert_eq!(result["properties"]["path"], "/etc/secret");
    Ok(())
}
