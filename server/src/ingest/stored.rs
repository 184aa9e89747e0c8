//! A report's transaction: its place in the chain, and what follows from it for its node.

use congruent_protocol::digest::Digest;
use congruent_protocol::report::{Acknowledgement, ContainerReport, Outcome, REPORT_SCHEMA, Report};
use congruent_protocol::verification::{State, SweepMode};
use jiff::Timestamp;

use super::Checked;
use super::chain::{self, End, Known, Link, Place};
use super::check::Standing;
use super::containers::{self, digest_beside};
use super::refused::Machine;
use crate::config::Config;
use crate::store::{NewReport, StoreError, Tx, View};
use crate::subject::SubjectId;

/// What a transaction made of a report.
pub(super) enum Stored {
    Answer {
        answer: Acknowledgement,
        /// How many first values there are of the node, where it says what it runs.
        first_values: Option<u64>,
        /// The report's id, where it is to be judged.
        id: Option<i64>,
        /// Whether a container is gone with it, whose action took a budget.
        frees_budget: bool,
    },
    Conflict {
        newest: u64,
    },
    /// The node's enrolment has ended meanwhile.
    Revoked,
    /// The node's group is another than the one that it was held to.
    Stale,
}

/// Stores a report, unless its node's group was changed since it was held to it:
/// then what it would be stored as is not so any more.
pub(super) fn store_current(
    tx: &Tx<'_>,
    checked: &Checked,
    config: &Config,
    now: Timestamp,
) -> Result<Stored, StoreError> {
    // Revoked meanwhile, or enrolled anew: what it says is no more the node's.
    let node = config.nodes.get(&checked.report.node);
    if node.is_none_or(|node| node.enrolment != checked.report.chain) {
        return Ok(Stored::Revoked);
    }
    let group = config.group_of(&checked.report.node);
    if group.is_some_and(|group| (&group.name, group.version) != (&checked.group.0, checked.group.1)) {
        return Ok(Stored::Stale);
    }
    store(tx, checked, now)
}

/// Stores a report, and what follows from it for its node.
fn store(tx: &Tx<'_>, checked: &Checked, now: Timestamp) -> Result<Stored, StoreError> {
    let Checked { report, digest, body, standing: Standing { state, note, .. }, .. } = checked;
    let (node, subject) = (&report.node, subject_of(report));
    let link = Link { sequence: report.sequence, digest: *digest, previous: report.previous };
    let (chain, late, chain_note) =
        match chain::place(link, &known(tx, node, &report.chain, report.sequence)?) {
            Place::Conflict { newest } => return Ok(Stored::Conflict { newest }),
            Place::Duplicate => {
                let standing = standing(tx, &subject)?;
                let answer = acknowledge(report.sequence, *digest, true, standing);
                let first_values = first_values(tx, report)?;
                return Ok(Stored::Answer { answer, first_values, id: None, frees_budget: false });
            }
            Place::Late { chain } => (chain, true, None),
            Place::Newest { chain, note } => (chain, false, note),
        };
    let row = row(checked, chain, late, now);
    let id = tx.insert_report(&row, body)?;
    match &checked.set {
        Some(set) => tx.keep_finding_set(&checked.findings_digest, report.findings().len() as u64, set)?,
        None if report.findings().is_empty() => {}
        None => tx.keep_known_set(&checked.findings_digest, report.findings())?,
    }
    if let Some(chain_note) = chain_note {
        tx.insert_chain_note(node, now, report.sequence, &chain_note)?;
    }
    if late {
        let (state, _) = standing(tx, &subject)?;
        let answer = acknowledge(report.sequence, *digest, false, (state, Some(LATE.to_owned())));
        let first_values = first_values(tx, report)?;
        return Ok(Stored::Answer { answer, first_values, id: None, frees_budget: false });
    }
    let known = match tx.subject(&subject)? {
        Some(known) => known,
        None => {
            let standing = (*state, note.as_deref());
            tx.begin_subject(&subject, &checked.group.0, standing, now, Some(id))?;
            tx.subject(&subject)?.expect("it was put in a moment ago")
        }
    };
    let verifies = *state == State::Congruent && row.sweep == Some(SweepMode::Full);
    tx.advance_subject(&known, id, (*state, note.as_deref()), verifies, now)?;
    let container = report.container.as_ref();
    if let Some(container) = container {
        tx.set_identity(&known, &container.identity)?;
    }
    let frees_budget = match container {
        None => containers::take_in(tx, node, &checked.group.0, report.containers.as_ref(), now)?,
        Some(_) => false,
    };
    // Only of what is accepted: nothing of another image is ever held to.
    if let Outcome::Verified(verification) = &report.outcome
        && *state != State::Unknown
    {
        let (root, values) = (verification.baked_root, &verification.coverage.first_seen);
        // A container has no ledger: its first values are told, and it is not held to them.
        if report.container.is_none() {
            tx.record_first_values(&report.chain, &root, values, (id, now))?;
        }
    }
    let answer = acknowledge(report.sequence, *digest, false, (*state, note.clone()));
    let first_values = first_values(tx, report)?;
    Ok(Stored::Answer { answer, first_values, id: Some(id), frees_budget })
}

/// How many first values are recorded of a node, as its report has it run; none where
/// it does not say.
fn first_values(view: &View<'_>, report: &Report) -> Result<Option<u64>, StoreError> {
    match &report.outcome {
        // The ledger is the node's, and a container's report says nothing of it.
        Outcome::Verified(verification) if report.container.is_none() => {
            view.first_values_count(&report.chain, &verification.baked_root).map(Some)
        }
        Outcome::Verified(_) | Outcome::NoManifest(_) | Outcome::Withheld(_) => Ok(None),
    }
}

/// The note to a report that came after a later one.
pub(crate) const LATE: &str = "a later report of this node is known; this one is kept and changes nothing";

/// The note of a node of which nothing was heard.
pub(crate) const NEVER_REPORTED: &str = "it has never reported";

fn row(checked: &Checked, chain: u64, late: bool, now: Timestamp) -> NewReport {
    let Checked { report, digest, standing, findings_digest, .. } = checked;
    let verification = match &report.outcome {
        Outcome::Verified(verification) => Some(verification),
        Outcome::NoManifest(_) | Outcome::Withheld(_) => None,
    };
    let coverage = verification.map(|verification| &verification.coverage);
    let container = report.container.as_deref();
    // Layers are looked at also where nothing says what the merged tree is to be.
    let looked = container.and_then(|container| container.looked);
    NewReport {
        node: report.node.clone(),
        container: report.container.as_ref().map(|container| container.identity.id.clone()),
        chain,
        sequence: report.sequence,
        digest: *digest,
        boot: report.boot.clone(),
        chain_id: report.chain.clone(),
        agent_version: report.agent_version.clone(),
        reported_at: report.reported_at,
        received_at: now,
        state: standing.state,
        note: standing.note.clone(),
        late,
        sweep: coverage.map(|coverage| coverage.mode).or(looked.map(|looked| looked.mode)),
        swept: coverage
            .map(|coverage| (coverage.started_at, coverage.finished_at))
            .or(looked.map(|looked| (looked.started_at, looked.finished_at))),
        conditional: verification.is_some_and(|verification| verification.conditional),
        manifest: standing.manifest.clone(),
        observed_root: verification.map(|verification| verification.observed_root),
        findings_total: (report.findings().len() as u64)
            .saturating_add(container.map_or(0, ContainerReport::findings_beside)),
        findings_digest: *findings_digest,
        beside: digest_beside(container),
    }
}

/// What is known when a report arrives.
pub(super) fn known(view: &View<'_>, node: &str, chain: &str, sequence: u64) -> Result<Known, StoreError> {
    let Some(newest) = view.end_of_reports(node)? else { return Ok(Known::default()) };
    let end = End { chain: newest.chain, sequence: newest.sequence, digest: newest.digest };
    // Nothing is numbered higher than the newest; of most reports that is all that is asked.
    let (chain, same_number) = match newest.chain_id == chain {
        true if sequence > newest.sequence => (Some(newest.chain), None),
        true => (Some(newest.chain), view.report_digest(node, chain, sequence)?),
        false => (view.chain_of(node, chain)?, view.report_digest(node, chain, sequence)?),
    };
    Ok(Known { same_number, newest: Some(end), chain })
}

/// The machine that made the report of this number.
pub(super) fn machine_of(
    view: &View<'_>,
    node: &str,
    chain: &str,
    sequence: u64,
) -> Result<Option<Machine>, StoreError> {
    let Some(row) = view.report_numbered(node, chain, sequence)? else { return Ok(None) };
    let facts = view.report_body(row.id)?.facts;
    Ok(Some(Machine::of(&row.report.boot, &facts)))
}

/// What a report is about.
pub(super) fn subject_of<F>(report: &Report<F>) -> SubjectId {
    let container = report.container.as_ref().map(|container| container.identity.id.clone());
    SubjectId { node: report.node.clone(), container }
}

/// The state that a subject has now.
pub(super) fn standing(view: &View<'_>, subject: &SubjectId) -> Result<(State, Option<String>), StoreError> {
    Ok(view.subject(subject)?.map_or((State::Unknown, None), |row| (row.state, row.note)))
}

pub(super) fn acknowledge(
    sequence: u64,
    digest: Digest,
    duplicate: bool,
    (state, note): (State, Option<String>),
) -> Acknowledgement {
    let advice = None;
    Acknowledgement { schema_version: REPORT_SCHEMA, sequence, digest, duplicate, state, note, advice }
}
