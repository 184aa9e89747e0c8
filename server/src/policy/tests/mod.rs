//! Tests of the policy module: the tables in `policies/cases`, the tests written
//! in Rego beside the rules, and what only Rust can put together.

mod cases;
mod concern;
mod folder;
mod properties;
mod refused;
mod rego;
mod schemas;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use congruent_protocol::drift::Finding;
use congruent_protocol::report::{ContainerReport, Facts};
use congruent_protocol::verification::{Coverage, ManifestId, State};
use serde::Deserialize;
use serde_json::Value as Json;

use super::input::{InputParts, PolicyInput, ReportFacts, Subject};

/// What a case gives, to be made an input as the collector makes one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    subject: Subject,
    state: State,
    note: Option<String>,
    manifest: Option<ManifestId>,
    report: Option<ReportFacts>,
    silent_for_seconds: Option<u64>,
    findings: Vec<Finding>,
    /// What of a container lies beside its merged tree.
    #[serde(default)]
    beside: Option<ContainerReport>,
    coverage: Option<Coverage>,
    facts: Option<Facts>,
}

impl Given {
    fn input(&self) -> PolicyInput {
        PolicyInput::new(InputParts {
            beside: self.beside.as_ref(),
            subject: self.subject.clone(),
            state: self.state,
            note: self.note.clone(),
            manifest: self.manifest.clone(),
            report: self.report.clone(),
            silent_for_seconds: self.silent_for_seconds,
            findings: &self.findings,
            coverage: self.coverage.as_ref(),
            facts: self.facts.as_ref(),
        })
    }
}

/// What `given.json` has: a base to patch, and findings by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shelf {
    base: Json,
    findings: std::collections::BTreeMap<String, Finding>,
}

impl Shelf {
    fn open() -> Self {
        serde_json::from_value(read_json(&shipped().join("cases/given.json"))).unwrap()
    }

    /// The base with `patch` and the findings of these names.
    fn given(&self, patch: &Json, findings: &[String]) -> Given {
        let mut json = self.base.clone();
        merge(&mut json, patch);
        let mut given: Given =
            serde_json::from_value(json).unwrap_or_else(|error| panic!("{patch}: {error}"));
        given.findings = findings.iter().map(|name| self.findings[name].clone()).collect();
        given.findings.sort_by(|a, b| a.path.cmp(&b.path));
        given
    }

    /// A divergent subject of `environment` with these findings.
    fn divergent(&self, environment: &str, findings: Vec<Finding>) -> Given {
        let mut given = self.given(&serde_json::json!({"state": "divergent"}), &[]);
        given.subject.environment = environment.to_owned();
        given.findings = findings;
        given
    }
}

/// A JSON merge patch (RFC 7396), but that null stands for itself: it removes nothing.
fn merge(target: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Json::Object(serde_json::Map::new());
    }
    let target = target.as_object_mut().unwrap();
    for (key, value) in patch {
        merge(target.entry(key).or_insert(Json::Null), value);
    }
}

/// The policy that is shipped, as a folder.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

fn read_json(path: &Path) -> Json {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An error and its sources, as the edge prints them.
fn chain(error: &dyn Error) -> String {
    let sources = std::iter::successors(error.source(), |&error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
