//! By control: what bears on it, and what nothing here bears on. Pure.
//!
//! "Covered" says that there is evidence, not that the control is met.

use std::collections::{BTreeMap, BTreeSet};

use congruent_protocol::digest::Digest;
use congruent_protocol::strict_toml;
use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use crate::record::DecisionRecord;

/// The controls that we know, and what they ask.
const CONTROLS: &str = include_str!("../../../policies/controls/controls.json");
/// Which of our records bear on them.
const RECORDS: &str = include_str!("records.toml");

#[derive(Debug, Deserialize)]
struct Table {
    controls: Vec<Control>,
}

#[derive(Debug, Deserialize)]
struct Control {
    id: String,
    framework: String,
    title: String,
    asks: String,
}

/// A kind of record that bears on a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Sweeps,
    Manifests,
    Actions,
}

/// A control, and what bears on it in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ControlEvidence {
    control: String,
    /// None, like the two after it, for a control that policy names and we do
    /// not know.
    framework: Option<String>,
    title: Option<String>,
    asks: Option<String>,
    status: Status,
    /// Nodes that were swept in the period.
    nodes: Vec<String>,
    /// Nodes in scope that were not. Without them the others prove little.
    nodes_without_evidence: Vec<String>,
    /// Roots of accepted manifests.
    manifests: Vec<Digest>,
    /// Decisions that name the control.
    decisions: Vec<i64>,
    actions: Vec<String>,
}

/// Whether there is any evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Status {
    #[serde(rename = "covered")]
    Covered,
    #[serde(rename = "not covered")]
    NotCovered,
}

/// Every control that we know or that a decision names, by its id. `swept` are
/// the nodes with a sweep in the period.
pub(super) fn by_control(evidence: &Evidence, swept: &BTreeSet<&str>) -> Vec<ControlEvidence> {
    let mut controls: BTreeMap<String, Option<Control>> =
        known().into_iter().map(|control| (control.id.clone(), Some(control))).collect();
    for control in evidence.decisions.iter().flat_map(controls_of) {
        controls.entry(control.clone()).or_insert(None);
    }
    let records = records();
    let bears = |id: &str, kind| records.get(id).is_some_and(|kinds| kinds.contains(&kind));
    let of = |(id, control): (String, Option<Control>)| {
        let found = ControlEvidence::new(id, control, evidence);
        let found =
            if bears(&found.control, Kind::Sweeps) { found.with_nodes(evidence, swept) } else { found };
        let found =
            if bears(&found.control, Kind::Manifests) { found.with_manifests(evidence) } else { found };
        let found = if bears(&found.control, Kind::Actions) { found.with_actions(evidence) } else { found };
        found.judged()
    };
    controls.into_iter().map(of).collect()
}

fn known() -> Vec<Control> {
    let table: Table = serde_json::from_str(CONTROLS).expect("the table of controls is tested");
    table.controls
}

fn records() -> BTreeMap<String, Vec<Kind>> {
    strict_toml::from_str(RECORDS).expect("the table of records is tested")
}

fn controls_of(decision: &DecisionRecord) -> &[String] {
    decision.decision.as_ref().map_or(&[], |decision| &decision.controls)
}

impl ControlEvidence {
    fn new(id: String, control: Option<Control>, evidence: &Evidence) -> Self {
        let names_it = |decision: &&DecisionRecord| controls_of(decision).contains(&id);
        let decisions = evidence.decisions.iter().filter(names_it).map(|decision| decision.id).collect();
        let (framework, rest) = control.map(|c| (c.framework, (c.title, c.asks))).unzip();
        let (title, asks) = rest.unzip();
        Self {
            control: id,
            framework,
            title,
            asks,
            status: Status::NotCovered,
            nodes: Vec::new(),
            nodes_without_evidence: Vec::new(),
            manifests: Vec::new(),
            decisions,
            actions: Vec::new(),
        }
    }

    fn with_nodes(self, evidence: &Evidence, swept: &BTreeSet<&str>) -> Self {
        let (nodes, nodes_without_evidence) =
            evidence.nodes.keys().cloned().partition(|node| swept.contains(node.as_str()));
        Self { nodes, nodes_without_evidence, ..self }
    }

    fn with_manifests(self, evidence: &Evidence) -> Self {
        let groups = evidence.scopes.iter().flat_map(|(_, scope)| &scope.groups);
        let roots: BTreeSet<Digest> =
            groups.flat_map(|group| &group.manifests).map(|manifest| manifest.id.root).collect();
        Self { manifests: roots.into_iter().collect(), ..self }
    }

    fn with_actions(self, evidence: &Evidence) -> Self {
        Self { actions: evidence.actions.iter().map(|action| action.id.clone()).collect(), ..self }
    }

    fn judged(self) -> Self {
        let is_empty = self.nodes.is_empty()
            && self.manifests.is_empty()
            && self.decisions.is_empty()
            && self.actions.is_empty();
        let status = if is_empty { Status::NotCovered } else { Status::Covered };
        Self { status, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_control_that_is_described_has_its_records_named() {
        let described: Vec<String> = known().into_iter().map(|control| control.id).collect();
        let distinct: BTreeSet<&String> = described.iter().collect();
        assert_eq!(distinct.len(), described.len(), "an id stands twice");
        assert_eq!(distinct, records().keys().collect::<BTreeSet<_>>());
    }

    #[test]
    fn without_evidence_nothing_is_covered_and_nothing_vanishes() {
        let controls = by_control(&Evidence::default(), &BTreeSet::new());
        assert_eq!(controls.len(), known().len());
        assert!(controls.iter().all(|control| control.status == Status::NotCovered));
    }
}
