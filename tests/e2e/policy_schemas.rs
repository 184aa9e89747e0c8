//! Real inputs that a collector recorded, and what policy made of them, are held
//! to the schemas in `policies/schemas/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::{Gap, State};
use congruent_tests::collector::Collector;
use congruent_tests::site::{Settings, Site};
use jsonschema::Validator;
use serde_json::Value;

use crate::real_report::{capture, next};
use crate::watch::{settle, wait_for_state};

fn schema(name: &str) -> Result<Validator> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/schemas").join(name);
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(jsonschema::validator_for(&serde_json::from_str(&text)?)?)
}

fn check(schema: &Validator, what: &str, value: &Value) {
    let faults: Vec<String> =
        schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(faults.is_empty(), "{what}: {}\n{value:#}", faults.join("; "));
}

/// Every decision on record, with its input.
fn decisions(collector: &Collector) -> Result<Vec<Value>> {
    let list = collector.json("/v1/decisions?limit=1000")?;
    let list = list["decisions"].as_array().context("no decisions")?;
    list.iter().map(|decision| collector.json(&format!("/v1/decisions/{}", decision["id"]))).collect()
}

/// One node goes through every state that there is.
fn go_through_all_states(site: &Site, collector: &Collector) -> Result<()> {
    let post = |report| -> Result<()> {
        let response = site.post(collector, "web-1", &site.sealed("web-1", report)?)?;
        assert_eq!(response.status, 200, "{}", response.text());
        settle(site)
    };
    let congruent = capture(site, "web-1")?;
    post(&congruent)?;
    let incomplete = next(&congruent, |verification| {
        let path = TreePath::new("/etc/passwd").expect("it is a path");
        let gap = Gap { path, reason: "permission denied".to_owned() };
        verification.coverage.unreadable.push(gap);
        (verification.state, verification.conditional) = (State::Incomplete, true);
    })?;
    post(&incomplete)?;
    site.tamper("web-1")?;
    fs::write(site.root("web-1").join("etc/a\nb\x1b"), "")?;
    fs::remove_dir_all(site.root("web-1").join("usr/share"))?;
    let mut divergent = capture(site, "web-1")?;
    divergent.sequence = 3;
    divergent.previous = next(&incomplete, |_| {})?.previous;
    post(&divergent)?;
    let unknown = next(&divergent, |verification| {
        verification.manifest.root = congruent_protocol::digest::Algorithm::Blake3.digest(b"another");
    })?;
    post(&unknown)?;
    wait_for_state(collector, "web-1", "silent")?;
    settle(site)
}

#[test]
fn inputs_and_decisions_are_as_their_schemas_say() -> Result<()> {
    let (inputs, outputs) = (schema("input.schema.json")?, schema("decision.schema.json")?);
    for environment in ["prod", "test", "dev"] {
        let site = Site::small(&["web-1", "web-2"])?;
        let settings = Settings { environment, silent_after: "3s", ..Settings::default() };
        let collector = site.collect(&settings)?;
        go_through_all_states(&site, &collector)?;
        wait_for_state(&collector, "web-2", "silent")?;
        let mut seen = BTreeSet::new();
        for record in decisions(&collector)? {
            assert_eq!(record["policy_error"], Value::Null, "{record}");
            check(&inputs, "an input", &record["input"]);
            check(&outputs, "a decision", &record["decision"]);
            seen.insert(record["state"].as_str().unwrap_or_default().to_owned());
        }
        let all = ["congruent", "divergent", "incomplete", "silent", "unknown"];
        assert_eq!(seen, all.map(str::to_owned).into(), "{environment}: not every state was judged");
    }
    Ok(())
}

/// A schema that takes anything would prove nothing.
#[test]
fn the_schemas_refuse_what_is_wrong() -> Result<()> {
    let (inputs, outputs) = (schema("input.schema.json")?, schema("decision.schema.json")?);
    let site = Site::small(&["web-1"])?;
    let collector = site.collect(&Settings::default())?;
    site.tamper("web-1")?;
    crate::watch::sweep(&site, "web-1", 1)?;
    let all = decisions(&collector)?;
    let record = all.iter().find(|record| record["state"] == "divergent").context("nothing is divergent")?;
    let break_it = |schema: &Validator, value: &Value, pointer: &str, wrong: Value| {
        let mut broken = value.clone();
        *broken.pointer_mut(pointer).unwrap_or_else(|| unreachable!("there is no {pointer} in {value}")) =
            wrong;
        assert!(!schema.is_valid(&broken), "{pointer} may be anything");
    };
    for (pointer, wrong) in [
        ("/state", "fine".into()),
        ("/schema_version", 2.into()),
        ("/subject/node", 7.into()),
        ("/findings/0/change", "moved".into()),
        ("/findings/0/path", Value::Null),
        ("/findings_total", (-1).into()),
        ("/report/sequence", "1".into()),
        ("/coverage/mode", "half".into()),
        ("/facts/cpus", "many".into()),
    ] {
        break_it(&inputs, &record["input"], pointer, wrong);
    }
    for (pointer, wrong) in
        [("/action", "explode".into()), ("/severity", 3.into()), ("/reasons", "many".into())]
    {
        break_it(&outputs, &record["decision"], pointer, wrong);
    }
    Ok(())
}
