//! A case: what policy is to be asked about, read from the store.

use std::collections::BTreeSet;

use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::drift::Finding;
use congruent_protocol::report::{ContainerIdentity, ContainerReport, Outcome, Report};
use congruent_protocol::verification::{Coverage, ManifestId, State};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::mended::is_mended;
use crate::config::{Config, Group};
use crate::ingest::{Fresh, not_accepted};
use crate::plan::waits;
use crate::policy::{InputParts, Policy, PolicyInput, ReportFacts, Subject};
use crate::store::{ReportRow, StoreError, SubjectRow, View};
use crate::subject::SubjectId;

/// How many reports are judged together at most. Each may have megabytes.
const AT_ONCE: usize = 32;

/// What policy is to be asked about.
#[derive(Debug)]
pub(super) struct Case {
    /// The subject as it stood when the case was read.
    pub(super) subject: SubjectRow,
    /// Its newest report, or the one that is to be judged, and its body.
    pub(super) report: Option<(ReportRow, Report)>,
    /// Whether the case is about that report, not about the subject as it stands.
    pub(super) is_about_report: bool,
    /// The decision that the subject's waiting action carries out, where nothing is left of
    /// what was found since the action began.
    pub(super) mended: Option<i64>,
}

/// The first reports that were not judged, of each subject its first.
#[derive(Debug, Default)]
pub(super) struct NextReports {
    pub(super) cases: Vec<Case>,
    /// The subjects among them that are not known any more.
    pub(super) gone: BTreeSet<SubjectId>,
    /// Those whose bodies cannot be had.
    pub(super) unread: Vec<(ReportRow, StoreError)>,
}

impl NextReports {
    pub(super) fn is_empty(&self) -> bool {
        self.cases.is_empty() && self.gone.is_empty() && self.unread.is_empty()
    }

    /// Reads them.
    pub(super) fn read(view: &View<'_>, fresh: &Fresh) -> Result<Self, StoreError> {
        let (mut next, mut seen) = (Self::default(), BTreeSet::new());
        for row in view.unjudged_reports(AT_ONCE)? {
            let subject = row.report.subject();
            if !seen.insert(subject.clone()) {
                continue;
            }
            match view.subject(&subject)? {
                Some(subject) => match fresh.take(row.id).map_or_else(|| view.report_body(row.id), Ok) {
                    Err(error) if error.is_of_body() => next.unread.push((row, error)),
                    body => {
                        let body = body?;
                        let mended = mended(view, &subject.id, &row, &body)?;
                        let report = Some((row, body));
                        next.cases.push(Case { subject, report, is_about_report: true, mended });
                    }
                },
                None => {
                    next.gone.insert(subject);
                }
            }
        }
        Ok(next)
    }
}

impl Case {
    /// The case of a subject as it stands; none where nothing can come of it:
    /// it was decided under the same conditions, and no action is pending.
    pub(super) fn of_subject(
        view: &View<'_>,
        id: &SubjectId,
        config: &Config,
        policy: &Policy,
    ) -> Result<Option<Self>, StoreError> {
        let (Some(subject), Some(group)) = (view.subject(id)?, config.group_of(&id.node)) else {
            return Ok(None);
        };
        let row = subject.report_id.map(|id| view.report(id)).transpose()?.flatten();
        let pending = view.newest_action(id)?.is_some_and(|action| waits(action.state));
        let key = Key { state: subject.state, note: subject.note.as_deref(), report: row.as_ref() };
        let ground = key.to_text(&group, policy);
        let is_decided = subject.decision_key.as_ref().is_some_and(|key| key.starts_with(&ground));
        if is_decided && !pending {
            return Ok(None);
        }
        let report = row.map(|row| view.report_body(row.id).map(|body| (row, body))).transpose()?;
        let mended = match &report {
            Some((row, body)) => mended(view, id, row, body)?,
            None => None,
        };
        Ok(Some(Self { subject, report, is_about_report: false, mended }))
    }

    /// The number of the report in the case; for logs.
    pub(super) fn sequence(&self) -> Option<u64> {
        self.report.as_ref().map(|(row, _)| row.report.sequence)
    }

    /// The state that is judged, and why it is what it is.
    pub(super) fn standing(&self, group: &Group) -> (State, Option<String>) {
        let Some((row, _)) = self.report.as_ref().filter(|_| self.is_about_report) else {
            return (self.subject.state, self.subject.note.clone());
        };
        match &row.report.manifest {
            // Stored under another configuration than today's.
            Some(manifest) if group.accepted(manifest).is_none() => {
                (State::Unknown, Some(not_accepted(manifest, group)))
            }
            _ => (row.report.state, row.report.note.clone()),
        }
    }

    /// The manifest that the subject was held to.
    pub(super) fn manifest(&self) -> Option<ManifestId> {
        self.report.as_ref().and_then(|(row, _)| row.report.manifest.clone())
    }

    /// What was found of a container beside its merged tree, where that counts.
    pub(super) fn beside(&self, state: State) -> Option<&ContainerReport> {
        let (row, report) = self.report.as_ref()?;
        report.container.as_deref().filter(|_| was_held(row, state))
    }

    /// The findings that count: those against a manifest that is accepted.
    pub(super) fn findings(&self, state: State) -> &[Finding] {
        match &self.report {
            Some((row, report)) if was_held(row, state) => report.findings(),
            _ => &[],
        }
    }

    fn coverage(&self, state: State) -> Option<&Coverage> {
        let (row, report) = self.report.as_ref()?;
        match &report.outcome {
            Outcome::Verified(verification) if was_held(row, state) => Some(&verification.coverage),
            _ => None,
        }
    }

    /// What policy is asked.
    pub(super) fn input(&self, group: &Group, silent_for: SignedDuration) -> PolicyInput {
        let (state, note) = self.standing(group);
        let report = self.report.as_ref().map(|(row, _)| &row.report);
        PolicyInput::new(InputParts {
            subject: Subject {
                node: self.subject.id.node.clone(),
                container: self.identity(),
                group: group.name.clone(),
                environment: group.environment.clone(),
            },
            state,
            note,
            manifest: self.manifest(),
            report: report.map(|report| ReportFacts {
                sequence: report.sequence,
                boot: report.boot.clone(),
                reported_at: report.reported_at,
                received_at: report.received_at,
                conditional: report.conditional,
                sweep: report.sweep,
            }),
            silent_for_seconds: (state == State::Silent).then(|| silent_for.as_secs().max(0).unsigned_abs()),
            findings: self.findings(state),
            beside: self.beside(state),
            coverage: self.coverage(state),
            facts: self.report.as_ref().map(|(_, report)| &report.facts),
        })
    }

    /// Which container it is; none of nodes.
    pub(super) fn identity(&self) -> Option<ContainerIdentity> {
        let of_report = self.report.as_ref().and_then(|(_, report)| report.container.as_ref());
        of_report.map(|container| container.identity.clone()).or_else(|| self.subject.identity.clone())
    }

    /// What the decision depends on; another value asks for another decision.
    pub(super) fn ground(&self, group: &Group, policy: &Policy) -> String {
        let (state, note) = self.standing(group);
        let report = self.report.as_ref().map(|(row, _)| row);
        Key { state, note: note.as_deref(), report }.to_text(group, policy)
    }
}

/// Whether the report was held to an accepted manifest. Differences from
/// anything else are claims that nobody checked.
fn was_held(row: &ReportRow, state: State) -> bool {
    let looked = |state| matches!(state, State::Congruent | State::Divergent | State::Incomplete);
    looked(row.report.state) && (looked(state) || state == State::Silent)
}

/// The decision that the subject's waiting action carries out, where this report says that
/// nothing is left of all that was found since the action began. What one look could not see
/// may be what a later one found.
fn mended(
    view: &View<'_>,
    id: &SubjectId,
    row: &ReportRow,
    report: &Report,
) -> Result<Option<i64>, StoreError> {
    // Of most reports that is all that is asked.
    let is_clean = report.container.as_ref().is_some_and(|container| !container.has_findings());
    if !is_clean || !matches!(report.outcome, Outcome::NoManifest(_)) {
        return Ok(None);
    }
    let Some(action) = view.newest_action(id)?.filter(|action| waits(action.state)) else { return Ok(None) };
    let decision = view.decision(action.decision_id)?;
    let Some(decided_on) = decision.and_then(|row| row.decision.report_id) else { return Ok(None) };
    let found = view.found_since(&action, decided_on, row.id)?;
    for &then in &found {
        let then = match view.report_body(then) {
            // Then nobody can tell.
            Err(error) if error.is_of_body() => return Ok(None),
            then => then?,
        };
        if !is_mended(&then, report) {
            return Ok(None);
        }
    }
    Ok((!found.is_empty()).then_some(action.decision_id))
}

/// State, findings, manifest, subject and policy: all of a decision's ground
/// but what differs from report to report of one and the same state.
struct Key<'a> {
    state: State,
    note: Option<&'a str>,
    report: Option<&'a ReportRow>,
}

impl Key<'_> {
    fn to_text(&self, group: &Group, policy: &Policy) -> String {
        let report = self.report.map(|row| &row.report);
        let findings: Option<Digest> = report.map(|report| report.findings_digest);
        let root = report.and_then(|report| report.manifest.as_ref()).map(|manifest| manifest.root);
        let mut parts = vec![
            json!(self.state),
            json!(self.note),
            json!(findings),
            json!(root),
            json!(group.name),
            json!(group.environment),
            json!(policy.digest()),
            json!(policy.engine()),
        ];
        parts.extend(report.and_then(|report| report.beside).map(|beside| json!(beside)));
        let parts = Value::Array(parts);
        Algorithm::Blake3.digest(parts.to_string().as_bytes()).to_string()
    }
}
