//! The tables in `policies/cases`, or in a policy folder of one's own:
//! `CONGRUENT_POLICY=FOLDER cargo test -p congruent-server policy::tests`.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use congruent_protocol::decision::Decision;
use serde::Deserialize;
use serde_json::Value as Json;

use super::schemas::{assert_valid, decision_schema, input_schema};
use super::{Shelf, chain, read_json, shipped};
use crate::policy::Policy;

/// One row of a table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    patch: Json,
    #[serde(default)]
    findings: Vec<String>,
    expect: Option<Json>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    cases: Vec<Case>,
}

/// The folder under test.
pub(super) fn folder() -> PathBuf {
    env::var_os("CONGRUENT_POLICY").map_or_else(shipped, PathBuf::from)
}

fn cases() -> Vec<Case> {
    let mut files: Vec<_> = fs::read_dir(folder().join("cases"))
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    files.retain(|path| {
        path.extension() == Some(OsStr::new("json")) && path.file_name() != Some(OsStr::new("given.json"))
    });
    files.sort();
    files.iter().flat_map(|file| serde_json::from_value::<Table>(read_json(file)).unwrap().cases).collect()
}

/// Holds input and decision to their schemas, the decision to what is expected,
/// and a replay to the same bytes. Returns what is wrong.
fn check(policy: &Policy, shelf: &Shelf, case: &Case) -> Result<Decision, String> {
    let input = shelf.given(&case.patch, &case.findings).input();
    let json = serde_json::to_value(&input).unwrap();
    assert_valid(input_schema(), &json, &case.name);
    let decision = policy.decide(&input).map_err(|error| format!("{}: {}", case.name, chain(&error)))?;
    let actual = serde_json::to_value(&decision).unwrap();
    assert_valid(decision_schema(), &actual, &case.name);

    let replayed = policy.decide(&serde_json::from_value(json).unwrap()).unwrap();
    assert_eq!(
        serde_json::to_vec(&replayed).unwrap(),
        serde_json::to_vec(&decision).unwrap(),
        "{}",
        case.name
    );
    if case.expect.as_ref() != Some(&actual) {
        return Err(format!("{}: it decides\n{}", case.name, serde_json::to_string_pretty(&actual).unwrap()));
    }
    Ok(decision)
}

#[test]
fn every_case_is_decided_as_expected() {
    let policy = Policy::from_directory(&folder()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let shelf = Shelf::open();
    let cases = cases();
    let wrong: Vec<_> = cases.iter().filter_map(|case| check(&policy, &shelf, case).err()).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn names_of_cases_are_unique() {
    let cases = cases();
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len());
}

/// What a decision names is described, and what is said to be named is: no
/// control vanishes, and none is claimed.
#[test]
fn controls_are_those_that_are_described() {
    let described = read_json(&shipped().join("controls/controls.json"));
    let described: BTreeSet<_> = described["controls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|control| control["named_by_decisions"] == true)
        .map(|control| control["id"].as_str().unwrap().to_owned())
        .collect();
    let policy = Policy::embedded().unwrap();
    let shelf = Shelf::open();
    let tables = ["prod", "test", "dev", "unknown-environment"]
        .map(|name| read_json(&shipped().join(format!("cases/{name}.json"))));
    let named: BTreeSet<_> = tables
        .into_iter()
        .flat_map(|table| serde_json::from_value::<Table>(table).unwrap().cases)
        .flat_map(|case| policy.decide(&shelf.given(&case.patch, &case.findings).input()).unwrap().controls)
        .collect();
    assert_eq!(named, described);
}
