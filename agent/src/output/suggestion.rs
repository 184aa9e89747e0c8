//! A suggested contract: TOML with the evidence as comments, or JSON.
//!
//! What is not suggested stands at the end as comments, so that nobody takes
//! silence for consent.

use std::borrow::Cow;
use std::io::{self, Write};

use congruent_protocol::manifest::Predicate;
use congruent_protocol::path::escape;
use congruent_protocol::verification::{Gap, Verification};
use serde::Serialize;

use super::{counted, gaps};
use crate::suggestion::{Apart, Evidence, Suggestion, Why, to_toml};

/// The version of the JSON page.
const SCHEMA: u32 = 1;

/// A suggestion and what it was made from.
pub(crate) struct Page<'a> {
    pub(crate) predicate: &'a Predicate,
    /// The outcomes' files, and what they hold.
    pub(crate) outcomes: &'a [(String, Verification)],
    pub(crate) suggestion: &'a Suggestion,
}

pub(crate) fn toml(out: &mut impl Write, page: &Page<'_>) -> io::Result<()> {
    head(out, page)?;
    for suggested in &page.suggestion.rules {
        evidence(out, &suggested.evidence, page.suggestion.outcomes)?;
        writeln!(out, "{}", to_toml(&suggested.rule))?;
    }
    let apart = &page.suggestion.not_suggested;
    if !apart.is_empty() {
        writeln!(out, "# Not suggested: {}", counted(apart.len() as u64, "path", "paths"))?;
    }
    apart.iter().try_for_each(|one| not_suggested(out, one, page.suggestion.outcomes))
}

fn head(out: &mut impl Write, page: &Page<'_>) -> io::Result<()> {
    let Page { predicate, outcomes, suggestion } = page;
    let (name, version) = (escape(predicate.name.as_bytes()), escape(predicate.version.as_bytes()));
    writeln!(out, "# Suggested for {name} {version}, {}", predicate.root)?;
    let rules = counted(suggestion.rules.len() as u64, "rule", "rules");
    writeln!(out, "# {rules} from {}:", counted(outcomes.len() as u64, "outcome", "outcomes"))?;
    for (file, outcome) in *outcomes {
        let findings = counted(outcome.findings.len() as u64, "finding", "findings");
        let unseen = gaps(&outcome.coverage).count() as u64;
        let unseen = match unseen {
            0 => String::new(),
            some => format!(", {} not verified", counted(some, "path", "paths")),
        };
        writeln!(out, "#   {}: {findings}{unseen}", escape(file.as_bytes()))?;
    }
    writeln!(
        out,
        "# Review each rule, and take out what should be drift. Then give this file to\n\
         # `congruent bake` as the last --contract, behind those that the image has."
    )?;
    if outcomes.len() == 1 {
        writeln!(out, "# One outcome does not show what differs from boot to boot: add more.")?;
    }
    writeln!(out)
}

fn evidence(out: &mut impl Write, evidence: &Evidence, outcomes: usize) -> io::Result<()> {
    let Evidence { outcomes: seen, changes, paths, examples, note } = evidence;
    let changes: Vec<_> = changes.iter().map(|change| change.name()).collect();
    let changes = changes.join(", ");
    match paths {
        1 => writeln!(out, "# {changes} in {seen} of {outcomes} outcomes: {note}"),
        many => {
            writeln!(out, "# {changes} at {many} paths in {seen} of {outcomes} outcomes: {note}")?;
            examples.iter().try_for_each(|example| writeln!(out, "#   such as {}", example.path))
        }
    }
}

fn not_suggested(out: &mut impl Write, apart: &Apart, outcomes: usize) -> io::Result<()> {
    let Apart { path, change, why, outcomes: seen } = apart;
    let why = match why {
        Why::Suspicious(what) => {
            let names: Vec<_> = what.iter().map(|one| one.name()).collect();
            format!("suspicious: {}", names.join(", "))
        }
        Why::Floor(place) => format!("under the floor, {}", escape(place.as_bytes())),
        Why::Mount => "a mount; name it with [[mount]] if it belongs there".to_owned(),
        Why::Metadata(fields) => {
            format!("{} of what was baked; change the image", escape(fields.join(", ").as_bytes()))
        }
        Why::AddOn => "an add-on's place; bake the add-on anew".to_owned(),
        Why::Reserved => "in a reserved place".to_owned(),
        Why::Unreadable => "its name is not plain text; a person must write the glob".to_owned(),
        Why::Unfit => "no class allows what was seen".to_owned(),
    };
    writeln!(out, "#   {path}  {} in {seen} of {outcomes} outcomes; {why}", change.name())
}

#[derive(Serialize)]
struct WirePage<'a> {
    schema_version: u32,
    name: &'a str,
    version: &'a str,
    root: String,
    files: Vec<WireOutcome<'a>>,
    #[serde(flatten)]
    suggestion: &'a Suggestion,
}

#[derive(Serialize)]
struct WireOutcome<'a> {
    file: &'a str,
    findings: usize,
    not_verified: Vec<Cow<'a, Gap>>,
}

pub(crate) fn json(out: &mut impl Write, page: &Page<'_>) -> io::Result<()> {
    let files = page.outcomes.iter().map(|(file, outcome)| WireOutcome {
        file,
        findings: outcome.findings.len(),
        not_verified: gaps(&outcome.coverage).map(|(_, gap)| gap).collect(),
    });
    let wire = WirePage {
        schema_version: SCHEMA,
        name: &page.predicate.name,
        version: &page.predicate.version,
        root: page.predicate.root.to_string(),
        files: files.collect(),
        suggestion: page.suggestion,
    };
    super::json(out, &wire)
}
