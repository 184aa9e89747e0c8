//! The evidence of a period, as the store has it.

use std::collections::{BTreeMap, BTreeSet};

use congruent_protocol::drift::Finding;
use congruent_protocol::report::ContainerIdentity;
use congruent_protocol::verification::State;
use jiff::Timestamp;

use super::Period;
use crate::record::{ActionRecord, AuditRecord, DecisionRecord, RefusalRecord};
use crate::scope::{Scope, ScopeNode};
use crate::store::{ActionFilter, EnrolmentRow, Found, LookTimes, RemovalRow, StateRow, StoreError, View};
use crate::subject::SubjectId;

/// A limit that cuts nothing: the greatest that the store takes.
const ALL: usize = i64::MAX as usize;

/// What is so in a period.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// What the collector was configured with: what stood at the beginning,
    /// and every change.
    pub(super) scopes: Vec<(Timestamp, Scope)>,
    /// By node.
    pub(super) nodes: BTreeMap<String, SubjectEvidence>,
    /// By node and container.
    pub(super) containers: BTreeMap<SubjectId, SubjectEvidence>,
    pub(super) decisions: Vec<DecisionRecord>,
    pub(super) actions: Vec<ActionRecord>,
    pub(super) refusals: Vec<RefusalRecord>,
    /// What operators changed, and were refused.
    pub(super) audit: Vec<AuditRecord>,
    /// What is gone of any time: also what came before the period tells of it.
    pub(super) removed: Vec<RemovalRow>,
}

/// What is so of a node, or of a container on it.
#[derive(Debug, Default)]
pub(super) struct SubjectEvidence {
    /// Which container it is, as its node said last; none of nodes.
    pub(super) identity: Option<ContainerIdentity>,
    /// Every state until the period's end, in order.
    pub(super) states: Vec<StateRow>,
    /// The last sweep before the period and all looks since, in order.
    pub(super) looks: Vec<LookTimes>,
    /// Each set of findings that a look in the period had.
    pub(super) findings: BTreeMap<Found, Vec<Finding>>,
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
        nodes.insert(id.clone(), read_subject(view, &SubjectId::node(id), period)?);
    }
    let mut containers: BTreeMap<SubjectId, SubjectEvidence> = BTreeMap::new();
    for state in view.states_until(to)? {
        let Some(node) = nodes.get_mut(&state.subject.node) else { continue };
        match state.subject.container {
            None => node.states.push(state),
            Some(_) => containers.entry(state.subject.clone()).or_default().states.push(state),
        }
    }
    // One that was over before the period is none of it.
    containers.retain(|_, container| {
        let last = container.states.last();
        last.is_some_and(|last| last.at >= from || !last.is_over)
    });
    let mut identities = view.identities()?;
    for (id, container) in &mut containers {
        let SubjectEvidence { looks, findings, .. } = read_subject(view, id, period)?;
        (container.looks, container.findings) = (looks, findings);
        container.identity = match identities.remove(id) {
            None => identity_of_over(view, id, to)?,
            told => told,
        };
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
        containers,
        scopes,
    })
}

/// Which container it was that is none any more. What was over before that was kept with it
/// is looked for in its reports.
fn identity_of_over(
    view: &View<'_>,
    id: &SubjectId,
    until: Timestamp,
) -> Result<Option<ContainerIdentity>, StoreError> {
    match view.identity_of_over(id)? {
        None => view.identity_until(id, until),
        told => Ok(told),
    }
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

fn read_subject(view: &View<'_>, id: &SubjectId, period: Period) -> Result<SubjectEvidence, StoreError> {
    let looks = view.looks_until(id, period.from, period.to)?;
    let mut findings = BTreeMap::new();
    for look in looks.iter().filter(|look| look.received_at >= period.from) {
        // Equal sets are read once: what stays divergent reports the
        // same findings at every sweep.
        if look.state == State::Divergent && !findings.contains_key(&look.found()) {
            findings.insert(look.found(), read_findings(view, look)?);
        }
    }
    Ok(SubjectEvidence { looks, findings, ..SubjectEvidence::default() })
}

/// The findings of a look. The report's own bytes, which may lie as a blob, are not
/// asked for them, but where they alone have them: so it is with old ones, and with what a
/// container has beside its merged tree.
fn read_findings(view: &View<'_>, look: &LookTimes) -> Result<Vec<Finding>, StoreError> {
    let set = match look.beside {
        None => view.finding_set(&look.findings_digest)?,
        Some(_) => None,
    };
    match set {
        Some(set) => Ok(set),
        None => Ok(view.report_body(look.report_id)?.all_findings()),
    }
}

#[cfg(test)]
mod tests {
    use congruent_protocol::verification::SweepMode;
    use jiff::SignedDuration;

    use super::*;
    use crate::store::{Body, NewReport, PackedBytes, Store};
    use crate::testing::{Fixture, new_report, time};

    /// A damaged layer is found also where no manifest is the image's.
    #[tokio::test]
    async fn what_no_manifest_was_held_to_is_a_look_and_no_sweep() {
        let fixture = Fixture::new("report-only");
        let store = Store::open(&fixture.config().database).unwrap();
        let manifest = crate::testing::verified(vec![], &[]).manifest;
        let putting = store.write("put in reports", move |tx| {
            let (full, quick) = (Some(SweepMode::Full), Some(SweepMode::Quick));
            let reports = [
                (State::Congruent, true, full),
                (State::Divergent, false, full),
                (State::Congruent, true, full),
                (State::Divergent, true, quick),
                // Of a manifest that its group does not accept.
                (State::Unknown, true, full),
                (State::Divergent, false, full),
                (State::Unknown, false, full),
                // Nothing was looked at.
                (State::Unknown, false, None),
            ];
            for (hour, (state, has_manifest, sweep)) in reports.into_iter().enumerate() {
                let manifest = has_manifest.then(|| manifest.clone());
                let received_at = time("2026-03-01T00:00:00Z") + SignedDuration::from_hours(hour as i64);
                let (container, sequence) = (Some("c1".to_owned()), hour as u64 + 1);
                let report = new_report("web-1");
                let report = NewReport { container, sequence, state, manifest, sweep, received_at, ..report };
                tx.insert_report(&report, &Body::Row(PackedBytes::received("no frame".into())))?;
            }
            Ok(())
        });
        putting.await.unwrap();
        let (from, until) = (time("2026-03-01T02:30:00Z"), time("2026-03-02T00:00:00Z"));
        let subject = SubjectId::container("web-1", "c1");
        let looks = store.read("read", move |view| view.looks_until(&subject, from, until)).await.unwrap();
        let looks: Vec<_> = looks.iter().map(|look| (look.report_id, look.held, look.complete)).collect();
        let expected =
            [(3, true, true), (4, true, false), (5, false, true), (6, false, true), (7, false, true)];
        assert_eq!(looks, expected);
    }

    /// Reports need not be there, nor be readable.
    #[tokio::test]
    async fn it_is_known_which_container_it_is_without_its_reports() {
        let (from, to) = (time("2026-03-01T00:00:00Z"), time("2026-03-02T00:00:00Z"));
        let fixture = Fixture::new("report-only");
        let store = Store::open(&fixture.config().database).unwrap();
        let named = |id: &str| ContainerIdentity {
            id: id.to_owned(),
            name: Some("web".to_owned()),
            runtime: "docker".to_owned(),
            image: None,
            config_digest: None,
        };
        let putting = store.write("put in containers", move |tx| {
            let nodes = vec![ScopeNode { id: "web-1".to_owned(), group: "web".to_owned() }];
            let policy_digest = new_report("web-1").digest;
            let (engine, groups) = ("none".to_owned(), vec![]);
            tx.record_scope(from, &Scope { policy_digest, engine, silent_after_seconds: 60, groups, nodes })?;
            for (sequence, id) in [(1, "runs"), (2, "over"), (3, "over-unnamed")] {
                let subject = SubjectId::container("web-1", id);
                tx.insert_subject(&subject, "web", from, "new")?;
                let container = Some(id.to_owned());
                let report = NewReport { container, sequence, ..new_report("web-1") };
                tx.insert_report(&report, &Body::Row(PackedBytes::received("no frame".into())))?;
                if id != "over-unnamed" {
                    tx.set_identity(&tx.subject(&subject)?.unwrap(), &named(id))?;
                }
                if id != "runs" {
                    tx.end_container(&subject, from, "it is gone")?;
                }
            }
            Ok(())
        });
        putting.await.unwrap();
        let evidence = store.read("read", move |view| read(view, Period { from, to })).await.unwrap();
        let identities: Vec<_> =
            evidence.containers.into_values().map(|container| container.identity).collect();
        assert_eq!(identities, [Some(named("over")), None, Some(named("runs"))]);
    }
}
