//! By control: what bears on it, and what nothing here bears on. Pure.
//!
//! "Covered" says that there is evidence, not that the control is met.

use std::collections::{BTreeMap, BTreeSet};

use congruent_protocol::digest::Digest;
use congruent_protocol::strict_toml;
use serde::{Deserialize, Serialize};

use super::evidence::Evidence;

/// The controls that we know.
const CONTROLS: &str = include_str!("controls.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    control: Vec<Control>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Control {
    id: String,
    asks: String,
    evidence: Vec<Kind>,
}

/// A kind of record that bears on a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Sweeps,
    Manifests,
    Decisions,
    Actions,
}

/// A control, and what bears on it in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ControlEvidence {
    pub(super) control: String,
    /// None for a control that policy names and we do not know.
    pub(super) asks: Option<String>,
    pub(super) status: Status,
    /// Nodes that were swept in the period.
    pub(super) nodes: Vec<String>,
    /// Nodes in scope that were not. Without them the others prove little.
    pub(super) nodes_without_evidence: Vec<String>,
    /// Roots of accepted manifests.
    pub(super) manifests: Vec<Digest>,
    /// Decisions that name the control.
    pub(super) decisions: Vec<i64>,
    pub(super) actions: Vec<String>,
}

/// Whether there is any evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Status {
    #[serde(rename = "covered")]
    Covered,
    #[serde(rename = "not covered")]
    NotCovered,
}

/// Every control that we know or that a decision names, by its id. `swept` are
/// the nodes with a sweep in the period.
pub(super) fn by_control(evidence: &Evidence, swept: &BTreeSet<&str>) -> Vec<ControlEvidence> {
    let mut known: BTreeMap<String, Option<Control>> =
        table().into_iter().map(|control| (control.id.clone(), Some(control))).collect();
    let named = evidence.decisions.iter().filter_map(|decision| decision.decision.as_ref());
    for control in named.flat_map(|decision| &decision.controls) {
        known.entry(control.clone()).or_insert(None);
    }
    known.into_iter().map(|(id, control)| of_control(id, control.as_ref(), evidence, swept)).collect()
}

fn table() -> Vec<Control> {
    let table: Table = strict_toml::from_str(CONTROLS).expect("the table of controls is tested");
    table.control
}

fn of_control(
    id: String,
    control: Option<&Control>,
    evidence: &Evidence,
    swept: &BTreeSet<&str>,
) -> ControlEvidence {
    let bears = |kind| control.is_some_and(|control| control.evidence.contains(&kind));
    let all = |wanted: bool| evidence.nodes.keys().filter(move |_| wanted);
    let is_swept = |node: &&String| swept.contains(node.as_str());
    let manifests =
        evidence.scopes.iter().flat_map(|(_, scope)| &scope.groups).flat_map(|group| &group.manifests);
    let manifests: BTreeSet<Digest> =
        manifests.filter(|_| bears(Kind::Manifests)).map(|manifest| manifest.id.root).collect();
    let names_it = |decision: &&crate::record::DecisionRecord| {
        decision.decision.as_ref().is_some_and(|decision| decision.controls.contains(&id))
    };
    let actions = evidence.actions.iter().filter(|_| bears(Kind::Actions));
    let mut found = ControlEvidence {
        nodes: all(bears(Kind::Sweeps)).filter(is_swept).cloned().collect(),
        nodes_without_evidence: all(bears(Kind::Sweeps)).filter(|node| !is_swept(node)).cloned().collect(),
        manifests: manifests.into_iter().collect(),
        decisions: evidence.decisions.iter().filter(names_it).map(|decision| decision.id).collect(),
        actions: actions.map(|action| action.id.clone()).collect(),
        asks: control.map(|control| control.asks.clone()),
        status: Status::NotCovered,
        control: id,
    };
    let nothing = found.nodes.is_empty()
        && found.manifests.is_empty()
        && found.decisions.is_empty()
        && found.actions.is_empty();
    if !nothing {
        found.status = Status::Covered;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_and_without_evidence_nothing_is_covered() {
        let controls = by_control(&Evidence::default(), &BTreeSet::new());
        assert_eq!(controls.len(), table().len(), "an id stands twice");
        assert!(controls.iter().all(|control| control.status == Status::NotCovered));
    }
}
