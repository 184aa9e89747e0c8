//! Ingest: from a node's bytes to a durable report, or to a refusal that says why.
//!
//! A report is the node's own by its signature and its seal; its set of findings is
//! worked out from the difference that it tells; then it is held to what the group
//! accepts. Everything may be sent twice, nothing counts twice. The answer comes after
//! the commit. What is refused is recorded, and is no sign of life. What comes
//! late is kept as evidence, and changes nothing. It asks no policy.

mod chain;
mod check;
mod containers;
mod fresh;
mod grounds;
mod open;
mod refused;
mod seals;
mod staged;
mod stored;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use congruent_protocol::digest::Digest;
use congruent_protocol::drift::Finding;
use congruent_protocol::ledger::Ledger;
use congruent_protocol::path::escape;
use congruent_protocol::report::{Acknowledgement, Outcome, Report, SetChange, findings_digest};
use jiff::Timestamp;
use tokio::sync::Notify;
use tracing::{Instrument, debug, info_span, warn};

use crate::clock::Clock;
use crate::computing::Computing;
use crate::config::{Config, Node};
use crate::liveness::{Liveness, Twins};
use crate::metrics::Metrics;
use crate::store::{Body, PackedBytes, Store};
use crate::subject::SubjectId;

pub(crate) use check::{Standing, not_accepted, shorten};
pub(crate) use fresh::Fresh;
pub(crate) use refused::Refused;
pub(crate) use stored::{LATE, NEVER_REPORTED};

use chain::{Link, Place};
use grounds::{Grounds, contradicts};
use open::Opened;
use refused::Machine;
use seals::Seals;
use staged::{NoRoom, Pages, Staged};
use stored::{Stored, acknowledge, known, machine_of, standing, store_current, subject_of};

/// Takes reports.
pub(crate) struct Ingest {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// Told of each report that waits to be judged.
    pub(crate) judge: Arc<Notify>,
    /// Told when an action is over whose container is gone.
    pub(crate) budget: Arc<Notify>,
    /// Shared with what works beside the runtime.
    pub(crate) arrived: Arc<Arrived>,
    pub(crate) metrics: Metrics,
    pub(crate) computing: Computing,
}

/// The bytes of a report.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    /// The same, as they were sent, where that was compressed and small.
    pub(crate) packed: Option<Vec<u8>>,
}

impl From<Vec<u8>> for Received {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, packed: None }
    }
}

/// What is kept in memory of what arrives.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    seals: Seals,
    staged: Staged,
    pub(crate) fresh: Arc<Fresh>,
    pub(crate) liveness: Arc<Liveness>,
}

/// A report that has been read and held to what can be known without the store.
struct Checked {
    report: Report,
    digest: Digest,
    body: Body,
    standing: Standing,
    findings_digest: Digest,
    /// The JSON of its findings; none where the store has it, or there are none.
    set: Option<PackedBytes>,
    /// The first values that its node was held to.
    ledger: Ledger,
    /// The version of the group that it was held to.
    group: (String, Option<u64>),
    /// Whether it may be kept in memory.
    is_small: bool,
}

/// A report that was read, as far as that needs nothing of the store.
enum Read {
    Opened(Box<Opened>),
    Checked(Box<Checked>),
}

impl Ingest {
    /// Takes the bytes that a node sent as a report.
    pub(crate) async fn take(
        &self,
        sender: Arc<Node>,
        body: impl Into<Received>,
    ) -> Result<Acknowledgement, Refused> {
        let body = body.into();
        let node = sender.id.clone();
        let span = info_span!("report", node);
        let taking = async {
            let taken = self.try_take(sender, body).await;
            match &taken {
                Ok(answer) => {
                    let (sequence, state, duplicate) =
                        (answer.sequence, answer.state.name(), answer.duplicate);
                    debug!(sequence, state, duplicate, "stored");
                }
                Err(refused) => self.note_refusal(&node, refused).await,
            }
            // What is to be sent again, with more or later, is sent with the same pages.
            if taken.as_ref().err().is_none_or(Refused::is_final) {
                self.arrived.staged.forget(&node);
            }
            taken
        };
        taking.instrument(span).await
    }

    /// Takes a sign of life. A node that is two is put on record, with the boots of both.
    pub(crate) async fn hear(&self, node: &str, boot: &str) {
        let now = (self.clock)();
        let Some(Twins { one, other }) = self.arrived.liveness.hear(node, boot, now) else { return };
        self.note_refusal(node, &Refused::Cloned { one, other }).await;
    }

    /// Takes a page that goes ahead of a report.
    pub(crate) fn take_page(&self, node: &str, name: Digest, page: Vec<u8>) -> Result<(), Refused> {
        if name.algorithm().digest(&page) != name {
            return Err(Refused::OtherPage(name));
        }
        let limit = self.config.max_body_bytes;
        self.arrived.staged.put(node, name, page, limit).map_err(|NoRoom| Refused::TooLarge { limit })
    }

    /// Records and logs that a report of `node` was refused.
    pub(crate) async fn note_refusal(&self, node: &str, refused: &Refused) {
        let code = refused.code();
        let message = shorten(&escape(chain_of(refused).as_bytes()));
        warn!(node, code, "report refused: {message}");
        if !refused.is_evidence() {
            return;
        }
        let (id, now) = (node.to_owned(), (self.clock)());
        let recording =
            self.store.write("record a refusal", move |tx| tx.insert_refusal(&id, now, code, &message));
        if let Err(error) = recording.await {
            warn!(node, "cannot record the refusal: {}", chain_of(&error));
        }
    }

    async fn try_take(&self, sender: Arc<Node>, body: Received) -> Result<Acknowledgement, Refused> {
        let now = (self.clock)();
        let checked = match self.read(sender, body, now).await? {
            Read::Checked(checked) => *checked,
            Read::Opened(opened) => {
                let sent = Sent::of(&opened.report, opened.digest);
                if !opened.is_new
                    && let Some(answer) = self.look_up(&sent).await?
                {
                    return Ok(answer);
                }
                self.check(*opened, now).await?
            }
        };
        let placed = self.place(checked, now).await?;
        self.keep(placed, now).await
    }

    /// Opens a report, and holds it to what it builds on where that is in memory.
    async fn read(&self, sender: Arc<Node>, body: Received, now: Timestamp) -> Result<Read, Refused> {
        let (arrived, config) = (Arc::clone(&self.arrived), Arc::clone(&self.config));
        let stored = self.stored(&sender).await?;
        // Parsing megabytes and hashing a tree would hold up other requests.
        let reading = self.computing.run(move || {
            let opened = open::open(&sender, &arrived.seals, stored, body)?;
            let grounds = Grounds::in_memory(&opened.report, &arrived.fresh).filter(|_| opened.is_new);
            let Some(grounds) = grounds else { return Ok(Read::Opened(Box::new(opened))) };
            let pages = arrived.staged.of(&opened.report.node);
            check_whole(&config, opened, grounds, &pages, now).map(Box::new).map(Read::Checked)
        });
        reading.await.ok_or(Refused::Failed)?
    }

    /// Brings a body that is too large for a row to where such bodies lie.
    async fn place(&self, checked: Checked, now: Timestamp) -> Result<Checked, Refused> {
        let Checked { body: Body::Row(packed), .. } = checked else { return Ok(checked) };
        let body = self.store.place(packed, now).await.map_err(Refused::Store)?;
        Ok(Checked { body, ..checked })
    }

    /// Stores a report as its group stands when that is committed.
    async fn keep(&self, mut checked: Checked, now: Timestamp) -> Result<Acknowledgement, Refused> {
        loop {
            let (config, storing) = (Arc::clone(&self.config), Arc::new(checked));
            let held = Arc::clone(&storing);
            let writing =
                self.store.write("store a report", move |tx| store_current(tx, &storing, &config, now));
            checked = match writing.await.map_err(Refused::Store)? {
                Stored::Conflict { newest } => {
                    // Where it was another machine, this tells.
                    self.look_up(&Sent::of(&held.report, held.digest)).await?;
                    return Err(Refused::Conflict { sequence: held.report.sequence, newest });
                }
                Stored::Answer { answer, first_values, id, frees_budget } => {
                    self.arrived.liveness.report(&held.report.node, now, first_values);
                    let small = Arc::into_inner(held).filter(|checked| checked.is_small);
                    if let Some((id, checked)) = id.zip(small) {
                        self.arrived.fresh.put(id, checked.report, checked.findings_digest);
                    }
                    self.judge.notify_one();
                    if frees_budget {
                        self.budget.notify_one();
                    }
                    return Ok(answer);
                }
                Stored::Revoked => return Err(Refused::Revoked),
                Stored::Stale => {
                    // Whoever wrote it has let go of it.
                    let stale = Arc::into_inner(held).ok_or(Refused::Failed)?;
                    self.hold_again(stale, now).await?
                }
            };
        }
    }

    /// Holds a report to what it builds on.
    async fn check(&self, opened: Opened, now: Timestamp) -> Result<Checked, Refused> {
        let grounds = match Grounds::in_memory(&opened.report, &self.arrived.fresh) {
            Some(grounds) => grounds,
            None => self.grounds(&opened.report).await?,
        };
        let pages = self.arrived.staged.of(&opened.report.node);
        let config = Arc::clone(&self.config);
        let checking = self.computing.run(move || check_whole(&config, opened, grounds, &pages, now));
        checking.await.ok_or(Refused::Failed)?
    }

    /// Holds a report to its node's group as that stands now.
    async fn hold_again(&self, checked: Checked, now: Timestamp) -> Result<Checked, Refused> {
        let config = Arc::clone(&self.config);
        let holding = self.computing.run(move || {
            let Checked { report, findings_digest, ledger, .. } = &checked;
            let (standing, group) = hold(report, findings_digest, &config, ledger, now)?;
            Ok(Checked { standing, group, ..checked })
        });
        holding.await.ok_or(Refused::Failed)?
    }

    /// The number up to which a node's chain is known. It matters only where no key of
    /// the chain is in memory.
    async fn stored(&self, node: &Node) -> Result<u64, Refused> {
        if self.arrived.seals.newest(&node.enrolment).is_some() {
            return Ok(0);
        }
        let (id, chain) = (node.id.clone(), node.enrolment.clone());
        let reading =
            self.store.read("look how far a chain has come", move |view| view.end_of_chain(&id, &chain));
        reading.await.map_err(Refused::Store)
    }

    /// Reads what a report builds on.
    async fn grounds(&self, report: &Report<SetChange>) -> Result<Grounds, Refused> {
        let Outcome::Verified(verification) = &report.outcome else { return Ok(Grounds::none()) };
        let SetChange { digest, base, .. } = verification.findings;
        let (chain, root, first_values) =
            (report.chain.clone(), verification.baked_root, report.first_values);
        let first_seen = verification.coverage.first_seen.clone();
        let reading = self.store.read("read what a report builds on", move |view| {
            let set = view.finding_set(&digest)?;
            let base = if set.is_some() { None } else { base };
            let base = base.map(|base| view.finding_set(&base)).transpose()?.flatten();
            let recorded = view.first_values_count(&chain, &root)?;
            if first_values > recorded || contradicts(&view.ledger(&chain, root, recorded)?, &first_seen) {
                return Ok(None);
            }
            Ok(Some(Grounds { set, base, ledger: view.ledger(&chain, root, first_values)? }))
        });
        reading.await.map_err(Refused::Store)?.ok_or(Refused::UnknownLedger(first_values))
    }

    /// Answers what was sent before, so that it is not held to the manifest
    /// again. The transaction looks once more.
    async fn look_up(&self, sent: &Sent) -> Result<Option<Acknowledgement>, Refused> {
        let (sequence, digest) = (sent.sequence, sent.digest);
        let Sent { subject, chain, previous, .. } = sent.clone();
        let node = subject.node.clone();
        let link = Link { sequence, digest, previous };
        let looking = self.store.read("look for a report", move |view| {
            let place = chain::place(link, &known(view, &node, &chain, sequence)?);
            let other = match place {
                Place::Conflict { .. } => machine_of(view, &node, &chain, sequence)?,
                _ => None,
            };
            Ok((place, other, standing(view, &subject)?))
        });
        let (place, other, (state, note)) = looking.await.map_err(Refused::Store)?;
        match (place, other) {
            // One machine gives no number twice within a boot, nor goes back to a boot.
            (Place::Conflict { .. }, Some(other)) if other.boot != sent.machine.boot => {
                Err(Refused::Forked { sequence, machines: Box::new([other, sent.machine.clone()]) })
            }
            (Place::Conflict { newest }, _) => Err(Refused::Conflict { sequence, newest }),
            (Place::Duplicate, _) => Ok(Some(acknowledge(sequence, digest, true, (state, note)))),
            (Place::Late { .. } | Place::Newest { .. }, _) => Ok(None),
        }
    }
}

/// What a report is looked up by.
#[derive(Debug, Clone)]
struct Sent {
    subject: SubjectId,
    chain: String,
    sequence: u64,
    digest: Digest,
    previous: Option<Digest>,
    machine: Machine,
}

impl Sent {
    fn of<S>(report: &Report<S>, digest: Digest) -> Self {
        Self {
            subject: subject_of(report),
            chain: report.chain.clone(),
            sequence: report.sequence,
            digest,
            previous: report.previous,
            machine: Machine::of(&report.boot, &report.facts),
        }
    }
}

/// Works out the whole set of findings, and holds the report to what its group
/// accepts.
fn check_whole(
    config: &Config,
    opened: Opened,
    grounds: Grounds,
    pages: &Pages,
    now: Timestamp,
) -> Result<Checked, Refused> {
    let Opened { report, digest, body, .. } = opened;
    let Grounds { set, base, ledger } = grounds;
    let is_known = set.is_some();
    // The set that it names is the one that comes of it, or it is refused.
    let findings_digest = match &report.outcome {
        Outcome::Verified(verification) => verification.findings.digest,
        Outcome::NoManifest(_) | Outcome::Withheld(_) => findings_digest(&[]),
    };
    let report = report.try_map(|change| whole_set(change, set, base, pages))?;
    check::check_paths(&report)?;
    containers::check_shape(&report)?;
    let (standing, group) = hold(&report, &findings_digest, config, &ledger, now)?;
    let is_small = body.bytes.len() <= fresh::MAX_BYTES;
    let body = match body.packed {
        Some(packed) => PackedBytes::received(packed),
        None => PackedBytes::of(&body.bytes).map_err(|_| Refused::Failed)?,
    };
    let set = if is_known || report.findings().is_empty() {
        None
    } else {
        let json = serde_json::to_vec(report.findings()).expect("findings always serialise");
        if json.len() > config.max_body_bytes {
            return Err(Refused::TooLarge { limit: config.max_body_bytes });
        }
        Some(PackedBytes::of(&json).map_err(|_| Refused::Failed)?)
    };
    let body = Body::Row(body);
    Ok(Checked { report, digest, body, standing, findings_digest, set, ledger, group, is_small })
}

/// The set that a report names: known whole, sent ahead whole, or worked out from the
/// difference.
fn whole_set(
    change: SetChange,
    known: Option<Vec<Finding>>,
    base: Option<Vec<Finding>>,
    pages: &Pages,
) -> Result<Vec<Finding>, Refused> {
    let sent_ahead = || pages.get(&change.digest).map(|json| serde_json::from_slice(json));
    let whole = known.map(Ok).or_else(sent_ahead).transpose().map_err(Refused::Malformed)?;
    // Its bytes have the name, but what they are read as is what is kept.
    let is_it = |set: &Vec<Finding>| {
        set.len() as u64 == change.count
            && findings_digest(set) == change.digest
            && set.is_sorted_by(|one, other| one.path < other.path)
    };
    if let Some(set) = whole.filter(is_it) {
        return Ok(set);
    }
    let empty = findings_digest(&[]);
    let base = |name: &Digest| if *name == empty { Some(Vec::new()) } else { base };
    change.apply(base, |name| pages.get(name).map(|page| page.to_vec())).map_err(Refused::Change)
}

/// Holds a report to its node's group; gives with it the group's version.
fn hold(
    report: &Report,
    set: &Digest,
    config: &Config,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<(Standing, (String, Option<u64>)), Refused> {
    let group = config.group_of(&report.node).ok_or(Refused::NoGroup)?;
    let standing = check::stand(report, set, &group, ledger, now)?;
    Ok((standing, (group.name.clone(), group.version)))
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
