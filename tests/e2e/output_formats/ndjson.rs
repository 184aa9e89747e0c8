//! NDJSON: each line a document, and together what `--format json` says.

use anyhow::{Context, Result, ensure};
use congruent_protocol::drift::Finding;
use congruent_protocol::verification::Gap;
use congruent_tests::agent;
use congruent_tests::program::Ended;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Scene;

/// Checks that the lines say what the one document says.
fn check(lines: &Ended, document: &Ended) -> Result<()> {
    ensure!(lines.code == document.code, "the exit codes are {:?} and {:?}", lines.code, document.code);
    let verification = agent::verification(document)?;
    let lines: Vec<Value> =
        lines.text().lines().map(serde_json::from_str).collect::<Result<_, _>>().context(lines.text())?;
    ensure!(lines.iter().all(|line| line["schema_version"] == 1), "a line has no schema_version");
    let [head, between @ .., end] = &lines[..] else { anyhow::bail!("there are {} lines", lines.len()) };
    ensure!(head["type"] == "verification" && end["type"] == "end", "{head} … {end}");
    ensure!(head["state"] == verification.state.name(), "the state is {}", head["state"]);

    let of = |what: &str| between.iter().filter(|line| line["type"] == what).collect::<Vec<_>>();
    let (findings, gaps) = (of("finding"), of("gap"));
    ensure!(between.len() == findings.len() + gaps.len(), "there are other lines");
    for line in [head, end] {
        ensure!(line["finding_count"] == findings.len() && line["gap_count"] == gaps.len(), "{line}");
    }
    ensure!(read::<Finding>(findings)? == verification.findings, "the findings differ");
    ensure!(read::<Gap>(gaps)? == verification.coverage.unreadable, "the gaps differ");
    Ok(())
}

fn read<T: DeserializeOwned>(lines: Vec<&Value>) -> Result<Vec<T>> {
    lines.into_iter().map(|line| Ok(serde_json::from_value(line.clone())?)).collect()
}

#[test]
fn the_lines_say_what_the_document_says() -> Result<()> {
    let (congruent, hostile) = (Scene::congruent()?, Scene::hostile()?);
    check(&congruent.verify("ndjson")?, &congruent.verify("json")?)?;
    check(&hostile.verify("ndjson")?, &hostile.verify("json")?)?;
    let incomplete = congruent.verify_powerless("ndjson")?;
    assert_eq!(incomplete.code, Some(3), "{}", incomplete.stderr);
    check(&incomplete, &congruent.verify_powerless("json")?)
}
