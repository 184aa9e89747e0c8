//! Ingest: from a node's bytes to a durable report, or to a refusal that says why.
//!
//! Everything may be sent twice, nothing counts twice. The answer comes after
//! the commit. What is refused is recorded, and is no sign of life. What comes
//! late is kept as evidence, and changes nothing. It asks no policy.

mod chain;
mod check;
mod refused;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::path::escape;
use congruent_protocol::report::{Acknowledgement, Outcome, REPORT_SCHEMA, Report, findings_digest};
use congruent_protocol::verification::State;
use jiff::Timestamp;
use tokio::sync::Notify;
use tracing::{Instrument, info, info_span, warn};

use crate::clock::Clock;
use crate::config::{Config, Node};
use crate::store::{NewReport, PackedBytes, Store, StoreError, Tx, View};

pub(crate) use check::{Standing, not_accepted, shorten};
pub(crate) use refused::Refused;

use chain::{End, Known, Link, Place};

/// Takes reports.
pub(crate) struct Ingest {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// Told of each report that waits to be judged.
    pub(crate) judge: Arc<Notify>,
}

/// A report that has been read and held to what can be known without the store.
struct Checked {
    report: Report,
    digest: Digest,
    body: PackedBytes,
    standing: Standing,
    findings_digest: Digest,
    /// The version of the group that it was held to.
    group: (String, Option<u64>),
}

/// What a transaction made of a report.
enum Stored {
    Answer(Acknowledgement),
    Conflict {
        newest: u64,
    },
    /// The node's group is another than the one that it was held to.
    Stale(Box<Checked>),
}

impl Ingest {
    /// Takes the bytes that `node`, by its token, sent as a report.
    pub(crate) async fn take(&self, node: &Node, body: Vec<u8>) -> Result<Acknowledgement, Refused> {
        let taking = async {
            let taken = self.try_take(node, body).await;
            match &taken {
                Ok(answer) => {
                    let (sequence, state, duplicate) =
                        (answer.sequence, answer.state.name(), answer.duplicate);
                    info!(sequence, state, duplicate, "stored");
                }
                Err(refused) => self.note_refusal(node, refused).await,
            }
            taken
        };
        taking.instrument(info_span!("report", node = node.id)).await
    }

    /// Records and logs that a report of `node` was refused.
    pub(crate) async fn note_refusal(&self, node: &Node, refused: &Refused) {
        let code = refused.code();
        let message = shorten(&escape(chain_of(refused).as_bytes()));
        warn!(node = node.id, code, "report refused: {message}");
        if !refused.is_evidence() {
            return;
        }
        let (id, now) = (node.id.clone(), (self.clock)());
        let recording =
            self.store.write("record a refusal", move |tx| tx.insert_refusal(&id, now, code, &message));
        if let Err(error) = recording.await {
            warn!(node = node.id, "cannot record the refusal: {}", chain_of(&error));
        }
    }

    async fn try_take(&self, node: &Node, body: Vec<u8>) -> Result<Acknowledgement, Refused> {
        let (config, owner) = (Arc::clone(&self.config), node.id.clone());
        // Parsing megabytes and hashing a tree would hold up other requests.
        let parsing = tokio::task::spawn_blocking(move || read(&owner, body));
        let (report, digest, body) = parsing.await.map_err(|_| Refused::Failed)??;
        if let Some(answer) = self.look_up(&report, digest).await? {
            return Ok(answer);
        }
        let now = (self.clock)();
        let sequence = report.sequence;
        let holding = tokio::task::spawn_blocking(move || {
            let (standing, group) = hold(&report, &config, now)?;
            let body = PackedBytes::of(&body).map_err(|_| Refused::Failed)?;
            let findings_digest = findings_digest(report.findings());
            Ok(Checked { report, digest, body, standing, findings_digest, group })
        });
        let mut checked = holding.await.map_err(|_| Refused::Failed)??;
        loop {
            let config = Arc::clone(&self.config);
            let writing =
                self.store.write("store a report", move |tx| store_current(tx, checked, &config, now));
            checked = match writing.await.map_err(Refused::Store)? {
                Stored::Conflict { newest } => return Err(Refused::Conflict { sequence, newest }),
                Stored::Answer(answer) => {
                    self.judge.notify_one();
                    return Ok(answer);
                }
                Stored::Stale(stale) => self.hold_again(*stale, now).await?,
            };
        }
    }

    /// Holds a report to its node's group as that stands now.
    async fn hold_again(&self, checked: Checked, now: Timestamp) -> Result<Checked, Refused> {
        let config = Arc::clone(&self.config);
        let holding = tokio::task::spawn_blocking(move || {
            let (standing, group) = hold(&checked.report, &config, now)?;
            Ok(Checked { standing, group, ..checked })
        });
        holding.await.map_err(|_| Refused::Failed)?
    }

    /// Answers what was sent before, so that it is not held to the manifest
    /// again. The transaction looks once more.
    async fn look_up(&self, report: &Report, digest: Digest) -> Result<Option<Acknowledgement>, Refused> {
        let (node, chain, sequence) = (report.node.clone(), report.chain.clone(), report.sequence);
        let link = Link { sequence, digest, previous: report.previous };
        let looking = self.store.read("look for a report", move |view| {
            let place = chain::place(link, &known(view, &node, &chain, sequence)?);
            let standing = standing(view, &node)?;
            Ok((place, standing))
        });
        let (place, (state, note)) = looking.await.map_err(Refused::Store)?;
        match place {
            Place::Conflict { newest } => Err(Refused::Conflict { sequence, newest }),
            Place::Duplicate => Ok(Some(acknowledge(sequence, digest, true, (state, note)))),
            Place::Late { .. } | Place::Newest { .. } => Ok(None),
        }
    }
}

/// Holds a report to its node's group; gives with it the group's version.
fn hold(
    report: &Report,
    config: &Config,
    now: Timestamp,
) -> Result<(Standing, (String, Option<u64>)), Refused> {
    let group = config.group_of(&report.node).ok_or(Refused::NoGroup)?;
    let standing = check::stand(report, &group, now)?;
    Ok((standing, (group.name.clone(), group.version)))
}

/// Stores a report, unless its node's group was changed since it was held to it:
/// then what it would be stored as is not so any more.
fn store_current(
    tx: &Tx<'_>,
    checked: Checked,
    config: &Config,
    now: Timestamp,
) -> Result<Stored, StoreError> {
    let group = config.group_of(&checked.report.node);
    if group.is_some_and(|group| (&group.name, group.version) != (&checked.group.0, checked.group.1)) {
        return Ok(Stored::Stale(Box::new(checked)));
    }
    store(tx, &checked, now)
}

/// Reads a body as a report of `owner`.
fn read(owner: &str, body: Vec<u8>) -> Result<(Report, Digest, Vec<u8>), Refused> {
    let report = check::parse(&body)?;
    if report.node != owner {
        return Err(Refused::WrongNode { claimed: report.node, owner: owner.to_owned() });
    }
    let digest = Algorithm::Blake3.digest(&body);
    Ok((report, digest, body))
}

/// Stores a report, and what follows from it for its node.
fn store(tx: &Tx<'_>, checked: &Checked, now: Timestamp) -> Result<Stored, StoreError> {
    let Checked { report, digest, body, standing: Standing { state, note, .. }, .. } = checked;
    let node = &report.node;
    let link = Link { sequence: report.sequence, digest: *digest, previous: report.previous };
    let (chain, late, chain_note) =
        match chain::place(link, &known(tx, node, &report.chain, report.sequence)?) {
            Place::Conflict { newest } => return Ok(Stored::Conflict { newest }),
            Place::Duplicate => {
                let standing = standing(tx, node)?;
                return Ok(Stored::Answer(acknowledge(report.sequence, *digest, true, standing)));
            }
            Place::Late { chain } => (chain, true, None),
            Place::Newest { chain, note } => (chain, false, note),
        };
    let id = tx.insert_report(&row(checked, chain, late, now), body)?;
    if let Some(chain_note) = chain_note {
        tx.insert_chain_note(node, now, report.sequence, &chain_note)?;
    }
    if late {
        let (state, _) = standing(tx, node)?;
        let note = "a later report of this node is known; this one is kept and changes nothing".to_owned();
        return Ok(Stored::Answer(acknowledge(report.sequence, *digest, false, (state, Some(note)))));
    }
    if tx.node(node)?.is_none() {
        tx.insert_node(node, now, NEVER_REPORTED)?;
    }
    tx.advance_node(node, id, (*state, note.as_deref()), now)?;
    Ok(Stored::Answer(acknowledge(report.sequence, *digest, false, (*state, note.clone()))))
}

/// The note of a node of which nothing was heard.
pub(crate) const NEVER_REPORTED: &str = "it has never reported";

fn row(checked: &Checked, chain: u64, late: bool, now: Timestamp) -> NewReport {
    let Checked { report, digest, standing, findings_digest, .. } = checked;
    let verification = match &report.outcome {
        Outcome::Verified(verification) => Some(verification),
        Outcome::NoManifest(_) | Outcome::Withheld(_) => None,
    };
    let coverage = verification.map(|verification| &verification.coverage);
    NewReport {
        node: report.node.clone(),
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
        sweep: coverage.map(|coverage| coverage.mode),
        swept: coverage.map(|coverage| (coverage.started_at, coverage.finished_at)),
        conditional: verification.is_some_and(|verification| verification.conditional),
        manifest: standing.manifest.clone(),
        observed_root: verification.map(|verification| verification.observed_root),
        findings_total: report.findings().len() as u64,
        findings_digest: *findings_digest,
    }
}

/// What is known when a report arrives.
fn known(view: &View<'_>, node: &str, chain: &str, sequence: u64) -> Result<Known, StoreError> {
    let newest = view.newest_report(node)?.map(|newest| newest.report);
    Ok(Known {
        same_number: view.reports_numbered(node, sequence)?,
        newest: newest.map(|newest| End {
            chain: newest.chain,
            sequence: newest.sequence,
            digest: newest.digest,
        }),
        chain: view.chain_of(node, chain)?,
    })
}

/// The state that a node has now.
fn standing(view: &View<'_>, node: &str) -> Result<(State, Option<String>), StoreError> {
    Ok(view.node(node)?.map_or((State::Unknown, None), |row| (row.state, row.note)))
}

fn acknowledge(
    sequence: u64,
    digest: Digest,
    duplicate: bool,
    (state, note): (State, Option<String>),
) -> Acknowledgement {
    Acknowledgement { schema_version: REPORT_SCHEMA, sequence, digest, duplicate, state, note }
}

/// An error and its causes, as one line.
pub(crate) fn chain_of(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        line = format!("{line}: {source}");
        cause = source.source();
    }
    line
}
