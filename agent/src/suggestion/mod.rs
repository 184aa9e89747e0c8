//! Suggesting a contract: from what several boots of one image changed, the
//! narrowest rules that would allow it, with the evidence for each.
//!
//! Values in, values out. Guarantees that the rules loosen no floor, that no glob
//! decides about a baked entry, and that what was seen is allowed by them, or told
//! apart. It cannot know whether what was seen was meant: a person must.

mod class;
mod evidence;
mod names;
mod places;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use congruent_protocol::contract::{Class, Contract, ContractFile, Floor, Loosening, Rule, Terms};
use congruent_protocol::digest::Digest;
use congruent_protocol::drift::{AttributesError, Change, HeldTo};
use congruent_protocol::normalise::{Sides, normalise};
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::{VERIFICATION_SCHEMA, Verification};
use serde::Serialize;

pub(crate) use evidence::{Apart, Why};

use self::class::{choose, terms};
use self::evidence::{Sightings, sort_out};
use self::places::{Place, places};

/// So many paths are shown of a rule's evidence.
const MAX_EXAMPLES: usize = 3;

/// Why nothing can be suggested.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuggestError {
    #[error("outcome {outcome} is of the image with the root {found}, the manifest has {wanted}")]
    OtherImage { outcome: usize, found: Digest, wanted: Digest },
    #[error(
        "outcome {outcome} has the schema version {found}; this version of congruent reads {VERIFICATION_SCHEMA}"
    )]
    OtherVersion { outcome: usize, found: u32 },
    #[error("outcome {outcome}: the finding at {path} does not hold")]
    Attributes {
        outcome: usize,
        path: TreePath,
        #[source]
        source: AttributesError,
    },
    #[error("{rules} rules would be needed, which no contract can hold: {why}")]
    TooMany { rules: usize, why: String },
}

/// What rules are suggested from.
#[derive(Clone, Copy)]
pub(crate) struct Basis<'a> {
    /// The manifest's root.
    pub(crate) root: Digest,
    pub(crate) contract: &'a Contract,
    /// The paths of all that was baked, in tree order.
    pub(crate) baked: &'a [TreePath],
    pub(crate) floor: &'a Floor,
}

/// Rules for a person to review.
#[derive(Debug, Serialize)]
pub(crate) struct Suggestion {
    /// How many outcomes it stands on.
    pub(crate) outcomes: usize,
    pub(crate) rules: Vec<Suggested>,
    /// What no rule is suggested for.
    pub(crate) not_suggested: Vec<Apart>,
}

/// A rule and what speaks for it.
#[derive(Debug, Serialize)]
pub(crate) struct Suggested {
    #[serde(flatten)]
    pub(crate) rule: Rule,
    pub(crate) evidence: Evidence,
    #[serde(skip)]
    has_wildcards: bool,
}

/// What speaks for a rule.
#[derive(Debug, Serialize)]
pub(crate) struct Evidence {
    /// In how many outcomes it was found.
    pub(crate) outcomes: usize,
    /// In what ways.
    pub(crate) changes: Vec<Change>,
    /// At how many different paths.
    pub(crate) paths: usize,
    /// Some of them.
    pub(crate) examples: Vec<Example>,
    /// Why this class.
    pub(crate) note: &'static str,
}

/// A path by itself.
#[derive(Debug, Serialize)]
pub(crate) struct Example {
    #[serde(flatten)]
    pub(crate) path: TreePath,
}

/// Suggests rules for what these outcomes found.
pub(crate) fn suggest(basis: Basis<'_>, outcomes: &[Verification]) -> Result<Suggestion, SuggestError> {
    check_outcomes(basis.root, outcomes)?;
    let (mut sightings, mut not_suggested) = sort_out(outcomes, basis.contract, basis.floor)?;
    let mut refused = BTreeSet::new();
    // Each turn refuses a glob or sets a path apart, so there is a last one.
    loop {
        let places = places(&sightings, outcomes.len(), &refused);
        let rules: Vec<_> = places.iter().map(|place| to_rule(place, basis)).collect();
        let faults = faults(basis, &rules, &sightings)?;
        if faults.is_empty() {
            not_suggested.sort_by(|a, b| a.path.cmp(&b.path));
            return Ok(Suggestion { outcomes: outcomes.len(), rules, not_suggested });
        }
        for at in faults {
            if rules[at].has_wildcards {
                refused.extend(and_above(&rules[at].rule.path));
            } else {
                set_apart(&places[at], basis.floor, &mut sightings, &mut not_suggested);
            }
        }
    }
}

fn check_outcomes(wanted: Digest, outcomes: &[Verification]) -> Result<(), SuggestError> {
    for (outcome, verification) in outcomes.iter().enumerate().map(|(at, one)| (at + 1, one)) {
        let (found, version) = (verification.manifest.root, verification.schema_version);
        if version != VERIFICATION_SCHEMA {
            return Err(SuggestError::OtherVersion { outcome, found: version });
        }
        if found != wanted {
            return Err(SuggestError::OtherImage { outcome, found, wanted });
        }
    }
    Ok(())
}

fn to_rule(place: &Place<'_>, basis: Basis<'_>) -> Suggested {
    let choice = choose(place, |path| basis.baked.binary_search(path).is_ok());
    let paths: BTreeSet<_> = place.sightings.iter().map(|seen| &seen.finding.path).collect();
    let outcomes: BTreeSet<_> = place.sightings.iter().map(|seen| seen.outcome).collect();
    let mut changes: Vec<_> = place.sightings.iter().map(|seen| seen.finding.change).collect();
    changes.sort_unstable();
    changes.dedup();
    let evidence = Evidence {
        outcomes: outcomes.len(),
        changes,
        paths: paths.len(),
        examples: paths.iter().take(MAX_EXAMPLES).map(|&path| Example { path: path.clone() }).collect(),
        note: choice.note,
    };
    let held = &place.sightings[0].finding.path;
    let rule = Rule { path: place.glob.clone(), terms: terms(choice.class, basis.contract, held) };
    Suggested { rule, evidence, has_wildcards: place.wildness > 0 }
}

/// The rules that say more than they may, or too little.
fn faults(
    basis: Basis<'_>,
    rules: &[Suggested],
    sightings: &Sightings<'_>,
) -> Result<BTreeSet<usize>, SuggestError> {
    let too_many = |why: String| SuggestError::TooMany { rules: rules.len(), why };
    let toml: String = rules.iter().map(|one| to_toml(&one.rule)).collect();
    let file = ContractFile::parse(&toml).map_err(|error| too_many(error.to_string()))?;
    let extended = basis.contract.with(file).map_err(too_many)?;
    let first = basis.contract.rules().len();
    let suggested = |at: usize| at.checked_sub(first);
    let mut faults: BTreeSet<usize> = basis
        .floor
        .loosenings(&extended)
        .into_iter()
        .filter_map(|Loosening { rule, .. }| suggested(rule?))
        .collect();
    let mut follower = extended.follow();
    for path in basis.baked {
        let deciding = follower.rule_index_for(path).and_then(suggested);
        faults.extend(deciding.filter(|&at| rules[at].has_wildcards));
    }
    for (path, seen) in sightings {
        let Some(at) = follower.rule_index_for(path).and_then(suggested) else { continue };
        let terms = &rules[at].rule.terms;
        for sighting in seen {
            // Only a boot under the rule can tell growth from another content, and
            // a ledger's finding does not carry what was baked.
            if terms.class == Class::AppendOnly || sighting.finding.held_to == HeldTo::Ledger {
                continue;
            }
            let (baked, observed) = (sighting.expected()?, sighting.observed()?);
            let sides = Sides { baked: baked.as_ref(), first: None, observed: observed.as_ref() };
            if normalise(path, terms, sides).finding.is_some() {
                faults.insert(at);
            }
        }
    }
    Ok(faults)
}

/// A glob and the globs of the directories above, one of which made it wide.
fn and_above(glob: &str) -> impl Iterator<Item = String> {
    let ends = glob.match_indices('/').map(|(at, _)| at).skip(1);
    ends.chain([glob.len()]).map(|end| glob[..end].to_owned())
}

/// Takes a place without wildcards out of what rules are suggested for.
fn set_apart(place: &Place<'_>, floor: &Floor, sightings: &mut Sightings<'_>, apart: &mut Vec<Apart>) {
    for seen in &place.sightings {
        let path = &seen.finding.path;
        let Some(all) = sightings.remove(path) else { continue };
        let why = floor.place_of(path).map_or(Why::Unfit, |place| Why::Floor(place.to_owned()));
        apart.push(Apart { path: path.clone(), change: seen.finding.change, why, outcomes: all.len() });
    }
}

/// A rule as a contract's file has it.
pub(crate) fn to_toml(rule: &Rule) -> String {
    let Terms { class, forbid, mtime, xattrs, sensitive } = &rule.terms;
    let string = |text: &str| serde_json::to_string(text).expect("a string always serialises");
    let list = |words: Vec<String>| words.join(", ");
    let mut toml = format!("[[rule]]\npath = {}\nclass = \"{class}\"\n", string(&rule.path));
    let mut line = |words: String| writeln!(toml, "{words}").expect("writing to a string does not fail");
    if !forbid.is_empty() {
        line(format!("forbid = [{}]", list(forbid.iter().map(|one| string(one.name())).collect())));
    }
    if *mtime {
        line("mtime = true".to_owned());
    }
    for (key, patterns) in [("xattrs", &xattrs.more), ("ignore-xattrs", &xattrs.fewer)] {
        if !patterns.is_empty() {
            line(format!("{key} = [{}]", list(patterns.iter().map(|one| string(one)).collect())));
        }
    }
    if *sensitive {
        line("sensitive = true".to_owned());
    }
    toml
}
