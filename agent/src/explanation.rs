//! Explaining one path: what it is held to, by which rule, and what was baked.
//!
//! Values in, values out.

use congruent_protocol::contract::{Class, Contract, ExpectedMount, Floor, MountContent, Rule, Terms};
use congruent_protocol::drift::Attributes;
use congruent_protocol::manifest::ManifestKind;
use congruent_protocol::normalise::is_reserved;
use congruent_protocol::path::TreePath;
use serde::Serialize;

/// What is to be said of one path.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    #[serde(flatten)]
    pub(crate) path: TreePath,
    pub(crate) class: Class,
    /// The rule that decides; none where no rule matches.
    pub(crate) decided_by: Option<NumberedRule>,
    /// The other rules that match, which a later one overrules.
    pub(crate) overruled: Vec<NumberedRule>,
    /// The reserved place that it is in.
    pub(crate) reserved: Option<Place>,
    /// The place of the floor that it is, or lies beneath.
    pub(crate) floor: Option<String>,
    /// The mounts that may hide it.
    pub(crate) hiding_mounts: Vec<ExpectedMount>,
    /// What it is held to, in words.
    pub(crate) allows: String,
    /// What was baked there.
    pub(crate) baked: Option<BakedThere>,
}

/// A rule and its number, counted from 1.
#[derive(Debug, Serialize)]
pub(crate) struct NumberedRule {
    pub(crate) number: usize,
    #[serde(flatten)]
    pub(crate) rule: Rule,
}

/// A path by itself.
#[derive(Debug, Serialize)]
pub(crate) struct Place {
    #[serde(flatten)]
    pub(crate) path: TreePath,
}

/// An entry, and the manifest of the stack that holds it.
#[derive(Debug, Serialize)]
pub(crate) struct BakedThere {
    pub(crate) manifest: String,
    pub(crate) version: String,
    pub(crate) kind: ManifestKind,
    /// The package that owns it, with its version, where that was recorded.
    pub(crate) package: Option<String>,
    pub(crate) entry: Attributes,
}

/// Explains `path`.
pub(crate) fn explain(
    path: &TreePath,
    contract: &Contract,
    reserved: &[TreePath],
    floor: &Floor,
    baked: Option<BakedThere>,
) -> Explanation {
    let mut matching = Vec::new();
    contract.follow().matching(path, &mut matching);
    let number = |at: usize| NumberedRule { number: at + 1, rule: contract.rules()[at].clone() };
    let decides = matching.pop();
    let reserved = reserved.iter().find(|place| is_reserved(std::slice::from_ref(place), path));
    let terms = match (reserved, decides) {
        (Some(_), _) => Terms::reserved(),
        (None, Some(at)) => &contract.rules()[at].terms,
        (None, None) => Terms::immutable(),
    };
    let hides = |mount: &&ExpectedMount| {
        mount.content == MountContent::Hide
            && TreePath::new(mount.path.as_str()).is_ok_and(|point| path.starts_with(&point))
    };
    Explanation {
        path: path.clone(),
        class: terms.class,
        decided_by: decides.map(number),
        overruled: matching.into_iter().rev().map(number).collect(),
        reserved: reserved.map(|path| Place { path: path.clone() }),
        floor: floor.place_of(path).map(str::to_owned),
        hiding_mounts: contract.mounts().iter().filter(hides).cloned().collect(),
        allows: in_words(terms, baked.is_some()),
        baked,
    }
}

/// What a class makes of a path, in words.
fn in_words(terms: &Terms, is_baked: bool) -> String {
    let words = match (terms.class, is_baked) {
        (Class::Immutable | Class::AddOn | Class::CreateOnly, true) => "nothing may change",
        (Class::Immutable | Class::AppendOnly | Class::Rotating, false) => {
            "nothing was baked there, and nothing may appear"
        }
        (Class::AppendOnly, true) => "a file may grow; its metadata and what was baked of it stay",
        (Class::Pinned, true) => {
            "the content may be set once for each instance, and is held to through the ledger; kind, mode and \
             owner stay"
        }
        (Class::CreateOnly | Class::Pinned, false) => {
            "nothing was baked there; something may appear, and is held to from then on through the ledger"
        }
        (Class::Rotating, true) => "the content may change; kind, mode, owner and xattrs stay",
        (Class::AddOn, false) => "only what an accepted add-on manifest holds may appear",
        (Class::Ephemeral, true) => "it may be anything, or gone",
        (Class::Ephemeral, false) => "nothing was baked there; anything may appear",
        (Class::Reserved, _) => {
            "outside the tree: only what runs, is setuid or setgid, is a device or an unnamed mount is a finding"
        }
    };
    let forbidden: Vec<_> = terms.forbid.iter().map(|forbidden| forbidden.name()).collect();
    match &forbidden[..] {
        [] => words.to_owned(),
        names => format!("{words}, but nothing new may be {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = "
        base = 'none'
        [[rule]]
        path = '/var/**'
        class = 'ephemeral'
        forbid = ['exec']
        [[rule]]
        path = '/var/log/**'
        class = 'append-only'
        [[rule]]
        path = '/usr/x'
        class = 'pinned'
        [[mount]]
        path = '/var/log'
        content = 'hide'
        [[mount]]
        path = '/usr'
        content = 'verify'
    ";

    #[test]
    fn a_path_is_explained_by_rules_mounts_floor_and_reserved_places() {
        let contract = Contract::from_toml(CONTRACT).unwrap();
        let path = |text: &str| TreePath::new(text).unwrap();
        let reserved = [path("/var/lib/congruent")];
        for (at, class, decided_by, overruled, mounts, floor, says) in [
            ("/", Class::Immutable, None, 0, 0, None, "nothing may appear"),
            ("/var/x", Class::Ephemeral, Some(1), 0, 0, None, "nothing new may be exec"),
            ("/var/log", Class::Ephemeral, Some(1), 0, 1, None, "anything may appear"),
            ("/var/log/a", Class::AppendOnly, Some(2), 1, 1, None, "nothing may appear"),
            ("/var/logs", Class::Ephemeral, Some(1), 0, 0, None, "anything may appear"),
            ("/usr/x", Class::Pinned, Some(3), 0, 0, Some("/usr"), "through the ledger"),
            ("/var/lib/congruent/a", Class::Reserved, Some(1), 0, 0, None, "outside the tree"),
        ] {
            let told = explain(&path(at), &contract, &reserved, &Floor::default(), None);
            assert_eq!((told.class, told.decided_by.map(|rule| rule.number)), (class, decided_by), "{at}");
            assert_eq!((told.overruled.len(), told.hiding_mounts.len()), (overruled, mounts), "{at}");
            assert_eq!(told.floor.as_deref(), floor, "{at}");
            assert!(told.allows.contains(says), "{at}: {}", told.allows);
        }
    }
}
