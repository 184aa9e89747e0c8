//! A judgement: what policy said of a case, with all that is needed to record
//! it and to act on it. Made outside any transaction, since evaluation takes time.

use congruent_protocol::action::{ORDER_FINDINGS, ORDER_SCHEMA, Order, OrderTarget, OrderedContainer};
use congruent_protocol::decision::{Decision, Verdict};
use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::drift::Finding;
use congruent_protocol::report::{ContainerReport, findings_digest};
use congruent_protocol::verification::{ManifestId, State};
use jiff::{SignedDuration, Timestamp};

use super::case::Case;
use crate::config::Group;
use crate::ingest::chain_of;
use crate::policy::{Policy, PolicyInput};
use crate::store::{NewDecision, ReportRow, SubjectRow};

/// What policy said of a case.
pub(super) struct Judgement {
    /// The subject as it stood when the case was read.
    pub(super) subject: SubjectRow,
    pub(super) report: Option<ReportRow>,
    /// Whether the case is about that report, not about the subject as it stands.
    pub(super) is_about_report: bool,
    /// The decision of an action that waits, where nothing is left of what was found then.
    pub(super) mended: Option<i64>,
    /// The group that it was judged in, and that group's version.
    group: (String, Option<u64>),
    pub(super) state: State,
    pub(super) outcome: Result<Decision, String>,
    /// What the decision depends on.
    pub(super) ground: String,
    /// The same, and what was decided.
    pub(super) key: String,
    /// As policy was asked.
    input: PolicyInput,
    manifest: Option<ManifestId>,
    /// The container that it is about, and what of it is damaged.
    container: Option<OrderedContainer>,
    /// The first of them.
    findings: Vec<Finding>,
    findings_total: u64,
    findings_digest: Digest,
    policy_digest: Digest,
    engine: &'static str,
}

impl Judgement {
    /// Asks policy about a case.
    pub(super) fn reach(case: Case, group: &Group, policy: &Policy, silent_for: SignedDuration) -> Self {
        let (state, _) = case.standing(group);
        let input = case.input(group, silent_for);
        let outcome = policy.decide(&input).map_err(|error| chain_of(&error));
        let beside = case.beside(state);
        let own =
            beside.into_iter().flat_map(|container| container.runtime_layer.iter().chain(&container.mounts));
        let findings: Vec<&Finding> = case.findings(state).iter().chain(own).collect();
        let purge = beside.into_iter().flat_map(ContainerReport::damaged).cloned().collect();
        let ground = case.ground(group, policy);
        let decided = serde_json::to_vec(&outcome).expect("decisions always serialise");
        Self {
            state,
            outcome,
            key: format!("{ground} {}", Algorithm::Blake3.digest(&decided)),
            ground,
            input,
            manifest: case.manifest(),
            container: case.identity().map(|identity| OrderedContainer { identity, purge }),
            findings: findings.iter().copied().take(ORDER_FINDINGS).cloned().collect(),
            findings_total: findings.len() as u64,
            findings_digest: match &case.report {
                Some((row, _)) if !case.findings(state).is_empty() => row.report.findings_digest,
                _ => findings_digest(&[]),
            },
            policy_digest: policy.digest(),
            engine: policy.engine(),
            is_about_report: case.is_about_report,
            mended: case.mended,
            group: (group.name.clone(), group.version),
            report: case.report.map(|(row, _)| row),
            subject: case.subject,
        }
    }

    /// The report that is judged, where the case is about one.
    pub(super) fn judged_report(&self) -> Option<i64> {
        self.report.as_ref().filter(|_| self.is_about_report).map(|row| row.id)
    }

    /// Whether the case was about where the subject stood, and not about a report
    /// that another had already come after.
    pub(super) fn was_current(&self) -> bool {
        self.state == self.subject.state && self.report.as_ref().map(|row| row.id) == self.subject.report_id
    }

    /// Whether it was reached in this group, and in this version of it.
    pub(super) fn was_in(&self, group: &Group) -> bool {
        (&self.group.0, self.group.1) == (&group.name, group.version)
    }

    /// What policy called for; none where it failed.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.outcome.as_ref().ok().map(|decision| decision.action)
    }

    /// On what that is to be carried out.
    pub(super) fn target(&self) -> OrderTarget {
        let target = self.outcome.as_ref().map(|decision| decision.target).unwrap_or_default();
        OrderTarget::of(target, self.subject.id.container.is_some())
    }

    /// How old the report was when it arrived, by the node's clock.
    pub(super) fn age_on_arrival(&self) -> SignedDuration {
        let age = |row: &ReportRow| row.report.received_at.duration_since(row.report.reported_at);
        self.report.as_ref().map_or(SignedDuration::ZERO, age)
    }

    /// How long ago the report arrived.
    pub(super) fn since_arrival(&self, now: Timestamp) -> SignedDuration {
        let since = |row: &ReportRow| now.duration_since(row.report.received_at);
        self.report.as_ref().map_or(SignedDuration::ZERO, since)
    }

    /// What policy was asked, as it is kept.
    pub(super) fn input_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.input).expect("inputs always serialise")
    }

    /// The decision, to be recorded with what policy was asked.
    pub(super) fn decision(&self, group: &Group, input: &[u8], at: Timestamp) -> NewDecision {
        NewDecision {
            subject: self.subject.id.clone(),
            group: group.name.clone(),
            at,
            report_id: self.report.as_ref().map(|row| row.id),
            state: self.state,
            outcome: self.outcome.clone(),
            policy_digest: self.policy_digest,
            engine: self.engine.to_owned(),
            input_digest: Algorithm::Blake3.digest(input),
        }
    }

    /// The order that carries out `decision`.
    pub(super) fn order(&self, action_id: &str, decision: &Decision, group: &Group, at: Timestamp) -> Order {
        Order {
            schema_version: ORDER_SCHEMA,
            order_type: format!("congruent.action.{}", decision.action.name()),
            action_id: action_id.to_owned(),
            planned_at: at,
            target: self.target(),
            container: self.container.clone(),
            node: self.subject.id.node.clone(),
            group: group.name.clone(),
            environment: group.environment.clone(),
            state: self.state,
            manifest: self.manifest.clone(),
            observed_root: self.report.as_ref().and_then(|row| row.report.observed_root),
            decision: decision.clone(),
            findings_digest: self.findings_digest,
            findings_total: self.findings_total,
            findings: self.findings.clone(),
        }
    }
}
