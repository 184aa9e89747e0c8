//! What a contract makes of manifests, for people and programs.

use std::io::{self, Write};

use congruent_protocol::contract::{Contract, Loosening, Rule};
use congruent_protocol::manifest::{ManifestKind, Predicate};
use congruent_protocol::path::escape;
use serde::Serialize;

use super::counted;
use super::manifest::more_terms;
use crate::contract_check::{Classified, Contradicted, Contradiction, Use};

/// The version of the JSON page.
const SCHEMA: u32 = 1;

/// All that a check came to.
pub(crate) struct Page<'a> {
    pub(crate) contract: &'a Contract,
    pub(crate) uses: &'a [Use],
    pub(crate) floor: &'a [String],
    pub(crate) loosenings: &'a [Loosening],
    pub(crate) manifests: &'a [(Predicate, Classified)],
}

impl Page<'_> {
    /// Whether the floor is kept, and no entry contradicted.
    pub(crate) fn is_fine(&self) -> bool {
        self.loosenings.is_empty()
            && self.manifests.iter().all(|(_, classified)| classified.contradictions.is_empty())
    }

    fn rules(&self) -> impl Iterator<Item = (usize, &Rule, &Use)> {
        self.contract.rules().iter().zip(self.uses).enumerate().map(|(at, (rule, used))| (at + 1, rule, used))
    }
}

pub(crate) fn text(out: &mut impl Write, page: &Page<'_>) -> io::Result<()> {
    page.manifests.iter().try_for_each(|(predicate, classified)| manifest(out, predicate, classified))?;
    writeln!(out, "rules, the last that matches decides:")?;
    for (number, rule, used) in page.rules() {
        let class = rule.terms.class.name();
        let (path, terms) = (escape(rule.path.as_bytes()), more_terms(&rule.terms));
        let Use { matches, decides, .. } = used;
        writeln!(out, "  {number:>4}  {class:<11} {path}{terms}  matches {matches}, decides {decides}")?;
        if let Some(note) = note(used) {
            writeln!(out, "        note: {note}")?;
        }
    }
    writeln!(out, "\nfloor: {}", page.floor.join(" "))?;
    for Loosening { what, proof, .. } in page.loosenings {
        writeln!(out, "  loosened: {what} ({proof})")?;
    }
    if page.loosenings.is_empty() {
        writeln!(out, "  kept")?;
    }
    Ok(())
}

/// What is to be said of a rule that does nothing.
fn note(used: &Use) -> Option<String> {
    match *used {
        Use { overruled_by: Some(later), .. } => {
            Some(format!("never decides: rule {later} comes later and matches all that it could"))
        }
        Use { matches: 0, .. } => {
            Some("matches nothing that was baked; it may be for what appears later".to_owned())
        }
        Use { decides: 0, .. } => Some("decides nothing that was baked: later rules overrule it".to_owned()),
        _ => None,
    }
}

fn manifest(out: &mut impl Write, predicate: &Predicate, classified: &Classified) -> io::Result<()> {
    let kind = match predicate.kind {
        ManifestKind::Base => "",
        ManifestKind::AddOn => " (add-on)",
    };
    writeln!(out, "{} {}{kind}", predicate.name, predicate.version)?;
    for (class, count) in &classified.classes {
        writeln!(out, "  {:<11} {}", class.name(), counted(*count, "entry", "entries"))?;
    }
    if let Some(protected) = classified.protected {
        let share = protected.percent();
        writeln!(out, "  protects    {} of {} entries, {share:.1} %", protected.entries, protected.of)?;
    }
    if classified.may_be_hidden > 0 {
        let entries = counted(classified.may_be_hidden, "entry", "entries");
        writeln!(out, "  mounts      may hide {entries}")?;
    }
    for Contradiction { place, what } in &classified.contradictions {
        let rule = place.rule.map(|rule| format!("rule {rule} ")).unwrap_or_default();
        let what = match what {
            Contradicted::Forbidden(forbidden) => format!("is {forbidden}: {rule}forbids it there"),
            Contradicted::XattrOutOfScope(name) => format!("has the xattr {name}: {rule}ignores it"),
            Contradicted::OutsideAddOn => {
                format!("is an add-on's: {rule}says {}", place.class)
            }
        };
        writeln!(out, "  contradicts {} {what}", place.path)?;
    }
    for place in &classified.entries {
        let rule = place.rule.map_or_else(|| "no rule".to_owned(), |rule| format!("rule {rule}"));
        writeln!(out, "  {:<11} {rule:<9} {}", place.class.name(), place.path)?;
    }
    writeln!(out)
}

#[derive(Serialize)]
struct WirePage<'a> {
    schema_version: u32,
    fine: bool,
    floor: WireFloor<'a>,
    rules: Vec<WireUse<'a>>,
    manifests: Vec<WireManifest<'a>>,
}

#[derive(Serialize)]
struct WireFloor<'a> {
    places: &'a [String],
    loosenings: Vec<WireLoosening<'a>>,
}

#[derive(Serialize)]
struct WireLoosening<'a> {
    rule: Option<usize>,
    what: &'a str,
    proof: &'a str,
}

#[derive(Serialize)]
struct WireUse<'a> {
    number: usize,
    #[serde(flatten)]
    rule: &'a Rule,
    #[serde(flatten)]
    used: &'a Use,
}

#[derive(Serialize)]
struct WireManifest<'a> {
    name: &'a str,
    version: &'a str,
    kind: ManifestKind,
    #[serde(flatten)]
    classified: &'a Classified,
}

pub(crate) fn json(out: &mut impl Write, page: &Page<'_>) -> io::Result<()> {
    let loosenings = page.loosenings.iter().map(|Loosening { rule, what, proof }| WireLoosening {
        rule: rule.map(|at| at + 1),
        what,
        proof,
    });
    let manifests = page.manifests.iter().map(|(predicate, classified)| WireManifest {
        name: &predicate.name,
        version: &predicate.version,
        kind: predicate.kind,
        classified,
    });
    let wire = WirePage {
        schema_version: SCHEMA,
        fine: page.is_fine(),
        floor: WireFloor { places: page.floor, loosenings: loosenings.collect() },
        rules: page.rules().map(|(number, rule, used)| WireUse { number, rule, used }).collect(),
        manifests: manifests.collect(),
    };
    super::json(out, &wire)
}
