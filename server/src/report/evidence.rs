//! The evidence of a period, as the store has it.

use std::collections::{BTreeMap, BTreeSet};

use congruent_protocol::digest::Digest;
use congruent_protocol::drift::Finding;
use congruent_protocol::verification::State;
use jiff::Timestamp;

use super::Period;
use crate::record::{ActionRecord, AuditRecord, DecisionRecord, RefusalRecord};
use crate::scope::{Scope, ScopeNode};
use crate::store::{ActionFilter, EnrolmentRow, RemovalRow, StateRow, StoreError, SweepTimes, View};

/// A limit that cuts nothing: the greatest that the store takes.
const ALL: usize = i64::MAX as usize;

/// What is so in a period.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// What the collector was configured with: what stood at the beginning,
    /// and every change.
    pub(super) scopes: Vec<(Timestamp, Scope)>,
    /// By node.
    pub(super) nodes: BTreeMap<String, NodeEvidence>,
    pub(super) decisions: Vec<DecisionRecord>,
    pub(super) actions: Vec<ActionRecord>,
    pub(super) refusals: Vec<RefusalRecord>,
    /// What operators changed, and were refused.
    pub(super) audit: Vec<AuditRecord>,
    /// What is gone of any time: also what came before the period tells of it.
    pub(super) removed: Vec<RemovalRow>,
}

/// What is so of a node.
#[derive(Debug, Default)]
pub(super) struct NodeEvidence {
    /// Every state until the period's end, in order.
    pub(super) states: Vec<StateRow>,
    /// The last sweep before the period and all in it, in order.
    pub(super) sweeps: Vec<SweepTimes>,
    /// Each set of findings that a sweep in the period had.
    pub(super) findings: BTreeMap<Digest, Vec<Finding>>,
}

/// Reads the evidence of a period.
pub(super) fn read(view: &View<'_>, period: Period) -> Result<Evidence, StoreError> {
    let Period { from, to } = period;
    let mut scopes: Vec<(Timestamp, Scope)> = view.scopes_between(from, to)?;
    add_enrolled(view, period, &mut scopes)?;
    let ids: BTreeSet<&String> =
        scopes.iter().flat_map(|(_, scope)| &scope.nodes).map(|node| &node.id).collect();
    let mut nodes = BTreeMap::new();
    for id in ids {
        nodes.insert(id.clone(), read_node(view, id, period)?);
    }
    for state in view.states_until(to)? {
        if let Some(node) = nodes.get_mut(&state.subject.node) {
            node.states.push(state);
        }
    }
    let filter = ActionFilter { between: Some((from, to)), ..ActionFilter::default() };
    let mut actions = view.actions(&filter, ALL)?;
    // In order, unlike in lists that people look at for what is new.
    actions.reverse();
    let actions = actions.into_iter().map(|row| ActionRecord::read(view, row));
    Ok(Evidence {
        actions: actions.collect::<Result<_, _>>()?,
        decisions: view.decisions_between(from, to)?.into_iter().map(Into::into).collect(),
        refusals: view.refusals_between(from, to)?.into_iter().map(Into::into).collect(),
        audit: view.audit_between(from, to)?.into_iter().map(Into::into).collect(),
        removed: RemovalRow::all(view)?,
        nodes,
        scopes,
    })
}

/// Adds the nodes that were enrolled within the period. A scope is recorded when
/// the collector starts, and nodes enrol while it runs.
fn add_enrolled(
    view: &View<'_>,
    period: Period,
    scopes: &mut [(Timestamp, Scope)],
) -> Result<(), StoreError> {
    let Some((_, last)) = scopes.last_mut() else { return Ok(()) };
    let known: BTreeSet<String> = last.nodes.iter().map(|node| node.id.clone()).collect();
    let is_within = |row: &EnrolmentRow| {
        row.enrolled_at < period.to && row.revoked_at.is_none_or(|revoked| revoked >= period.from)
    };
    for row in EnrolmentRow::all(view)?.into_iter().filter(is_within) {
        if !known.contains(&row.node) {
            last.nodes.push(ScopeNode { id: row.node, group: row.group });
        }
    }
    Ok(())
}

fn read_node(view: &View<'_>, id: &str, period: Period) -> Result<NodeEvidence, StoreError> {
    let sweeps = view.sweeps_until(id, period.from, period.to)?;
    let mut findings = BTreeMap::new();
    for sweep in sweeps.iter().filter(|sweep| sweep.received_at >= period.from) {
        // Equal sets are read once: a node that stays divergent reports the
        // same findings at every sweep.
        if sweep.state == State::Divergent && !findings.contains_key(&sweep.findings_digest) {
            findings.insert(sweep.findings_digest, read_findings(view, sweep)?);
        }
    }
    Ok(NodeEvidence { states: Vec::new(), sweeps, findings })
}

/// The set of findings of a sweep. The report's own bytes, which may lie as a blob, are not
/// asked for it, but where it is so old that they alone have it.
fn read_findings(view: &View<'_>, sweep: &SweepTimes) -> Result<Vec<Finding>, StoreError> {
    match view.finding_set(&sweep.findings_digest)? {
        Some(set) => Ok(set),
        None => Ok(view.report_body(sweep.report_id)?.findings().to_vec()),
    }
}
