//! The narrowest class that allows all that was seen at one place.
//!
//! What one look after a boot cannot show is not guessed: a value that each boot
//! sets is `pinned` until a ledger shows that it changes again, and whether a log
//! was only appended to shows when a boot is held to that class.

use congruent_protocol::contract::{CAPABILITY, Class, Contract, Forbidden, Terms};
use congruent_protocol::drift::{Attributes, Change, Finding, HeldTo};
use congruent_protocol::path::TreePath;

use super::places::Place;

/// Where files grow.
const LOGS: &str = "/var/log/";

/// A class and what the reviewer should know of the choice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) class: Class,
    pub(super) note: &'static str,
}

const fn choice(class: Class, note: &'static str) -> Choice {
    Choice { class, note }
}

/// The class for a place; `is_baked` says what stands in the manifest.
pub(super) fn choose(place: &Place<'_>, is_baked: impl Fn(&TreePath) -> bool) -> Choice {
    let findings = || place.sightings.iter().map(|seen| seen.finding);
    let is_refuted = findings().any(|finding| finding.held_to == HeldTo::Ledger);
    let is_always = place.sightings.len() >= place.chances;
    if place.wildness > 0 {
        // A ledger would hold to what goes when the next name is made up.
        return choice(Class::Ephemeral, "the names differ from boot to boot");
    }
    if findings().any(|finding| finding.change == Change::Replaced) {
        return choice(Class::Ephemeral, "it becomes something of another kind");
    }
    if findings().any(|finding| finding.change == Change::Removed) {
        return match is_always {
            true => choice(Class::Ephemeral, "it was gone every time: better not to bake it"),
            false => choice(Class::Ephemeral, "it was gone in some boots"),
        };
    }
    let is_same = is_same_value(findings());
    if !findings().any(|finding| is_baked(&finding.path)) {
        return match (is_refuted, is_same, is_always) {
            (true, ..) => choice(Class::Ephemeral, "it changes after its first value"),
            (_, true, true) => choice(Class::CreateOnly, "it was the same every time: better baked"),
            (_, true, false) => choice(Class::CreateOnly, "it was the same wherever it was"),
            (_, false, true) => choice(Class::Pinned, "each boot made its own"),
            (_, false, false) => choice(Class::Ephemeral, "it was there in some boots, and not the same"),
        };
    }
    if findings().all(has_grown) {
        return choice(
            Class::AppendOnly,
            "it grew; to be confirmed by a boot under this contract, since only then the baked part is read alone",
        );
    }
    match (is_refuted, is_always, is_same) {
        (true, ..) => choice(Class::Rotating, "it changes after its first value"),
        (_, true, true) => choice(Class::Pinned, "each boot made the same of it: better baked so"),
        (_, true, false) => choice(Class::Pinned, "each boot made its own"),
        (_, false, _) => {
            choice(Class::Rotating, "only some boots changed it, so it changes while the image runs")
        }
    }
}

/// The terms for a class in place of what `path` is held to now.
pub(super) fn terms(class: Class, contract: &Contract, path: &TreePath) -> Terms {
    let now = contract.terms_of(path).clone();
    let mut forbid = Forbidden::ALL.to_vec();
    if !now.xattrs.contains(CAPABILITY) {
        // A contract that ignores capabilities cannot forbid programs.
        forbid.retain(|forbidden| *forbidden != Forbidden::Exec);
    }
    Terms { class, forbid, ..now }
}

/// Whether a finding shows a log that is longer than it was baked. One that is
/// held to be appended to already, and found, was rewritten.
fn has_grown(finding: &Finding) -> bool {
    let size = |side: &Option<Attributes>| side.as_ref().and_then(|attributes| attributes.size);
    finding.class != Class::AppendOnly
        && finding.held_to == HeldTo::Manifest
        && finding.path.as_bytes().starts_with(LOGS.as_bytes())
        && size(&finding.observed) > size(&finding.expected)
}

fn is_same_value<'a>(findings: impl Iterator<Item = &'a Finding>) -> bool {
    let untimed = |finding: &'a Finding| {
        let observed = finding.observed.clone();
        observed.map(|observed| Attributes { modified_at: None, modified_at_unix: None, ..observed })
    };
    let mut values = findings.map(untimed);
    let first = values.next();
    values.all(|value| Some(value) == first)
}
