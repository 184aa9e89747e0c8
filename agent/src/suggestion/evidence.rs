//! What several outcomes of one image say of each path, and what of it no rule
//! should ever allow.

use std::collections::BTreeMap;

use congruent_protocol::contract::{Class, Contract, Floor, Forbidden};
use congruent_protocol::drift::{Attributes, Change, Field, Finding};
use congruent_protocol::entry::Entry;
use congruent_protocol::path::{TreePath, plain};
use congruent_protocol::verification::Verification;
use serde::Serialize;

use super::SuggestError;

/// No glob is written for what lies deeper; rules are made by going down.
const MAX_DEPTH: usize = 256;

/// One finding, and the outcome that it is from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting<'a> {
    pub(super) outcome: usize,
    pub(super) finding: &'a Finding,
}

/// Everything found at each path, in tree order.
pub(super) type Sightings<'a> = BTreeMap<&'a TreePath, Vec<Sighting<'a>>>;

/// A path that no rule is suggested for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Apart {
    #[serde(flatten)]
    pub(crate) path: TreePath,
    pub(crate) change: Change,
    #[serde(flatten)]
    pub(crate) why: Why,
    /// In how many outcomes it was found.
    pub(crate) outcomes: usize,
}

/// Why no rule is suggested.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "why", content = "what")]
pub(crate) enum Why {
    /// It runs, is setuid or a device.
    Suspicious(Vec<Forbidden>),
    /// It lies under the floor, whose place this is.
    Floor(String),
    /// A mount that the contract does not name.
    Mount,
    /// Metadata of what was baked changed.
    Metadata(Vec<String>),
    /// It is an add-on's to say.
    AddOn,
    /// It lies in a place that is reserved.
    Reserved,
    /// No reviewer could read its name.
    Unreadable,
    /// What was seen fits no class.
    Unfit,
}

/// Sorts what rules could be about from what they should not.
pub(super) fn sort_out<'a>(
    outcomes: &'a [Verification],
    contract: &Contract,
    floor: &Floor,
) -> Result<(Sightings<'a>, Vec<Apart>), SuggestError> {
    let mut sightings = Sightings::new();
    for (outcome, verification) in outcomes.iter().enumerate() {
        for finding in &verification.findings {
            sightings.entry(&finding.path).or_default().push(Sighting { outcome, finding });
        }
    }
    let mut apart = Vec::new();
    for (path, all) in &sightings {
        let mut why = None;
        for sighting in all {
            let found = why_apart(sighting, contract, floor)?;
            // The gravest reason is the one to tell.
            why = [why, found].into_iter().flatten().min();
        }
        let Some(why) = why else { continue };
        let change = all[0].finding.change;
        apart.push(Apart { path: (*path).clone(), change, why, outcomes: all.len() });
    }
    for one in &apart {
        sightings.remove(&one.path);
    }
    Ok((sightings, apart))
}

fn why_apart(
    sighting: &Sighting<'_>,
    contract: &Contract,
    floor: &Floor,
) -> Result<Option<Why>, SuggestError> {
    let Finding { path, change, fields, class, .. } = sighting.finding;
    if *change == Change::MountedOver {
        return Ok(Some(Why::Mount));
    }
    let dangerous = sighting.observed()?.map(|entry| dangers(&entry)).unwrap_or_default();
    Ok(if !dangerous.is_empty() {
        Some(Why::Suspicious(dangerous))
    } else if *class == Class::Reserved {
        Some(Why::Reserved)
    } else if let Some(place) = floor.place_of(path) {
        Some(Why::Floor(place.to_owned()))
    } else if contract.class_of(path) == Class::AddOn {
        Some(Why::AddOn)
    } else if fields.iter().any(|field| !is_value(field)) {
        Some(Why::Metadata(fields.iter().filter(|field| !is_value(field)).map(ToString::to_string).collect()))
    } else if plain(path.as_bytes()).is_none() || path.depth() > MAX_DEPTH {
        Some(Why::Unreadable)
    } else {
        None
    })
}

/// Whether a field is what a class could set free: the value, not what guards it.
fn is_value(field: &Field) -> bool {
    matches!(field, Field::Content | Field::Size | Field::Link | Field::Mtime)
}

fn dangers(entry: &Entry) -> Vec<Forbidden> {
    Forbidden::ALL.into_iter().filter(|forbidden| forbidden.is(entry)).collect()
}

impl Sighting<'_> {
    /// What was there.
    pub(super) fn observed(&self) -> Result<Option<Entry>, SuggestError> {
        self.entry(self.finding.observed.as_ref())
    }

    /// What was expected.
    pub(super) fn expected(&self) -> Result<Option<Entry>, SuggestError> {
        self.entry(self.finding.expected.as_ref())
    }

    fn entry(&self, attributes: Option<&Attributes>) -> Result<Option<Entry>, SuggestError> {
        attributes.map(Attributes::to_entry).transpose().map_err(|source| SuggestError::Attributes {
            outcome: self.outcome + 1,
            path: self.finding.path.clone(),
            source,
        })
    }
}
