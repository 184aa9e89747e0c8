//! The spool: numbered, signed and sealed reports on disk until the collector has
//! acknowledged them.
//!
//! A report gets its number when it is spooled and keeps it: after a crash the
//! same bytes are sent again under the same number. A file is there whole or not at
//! all. What is spooled is bounded by bytes: where there is no room, the oldest goes,
//! is counted, and the next report says so; the newest state wins. One process owns
//! the state directory at a time.

mod chain;
pub(crate) mod durable;
mod parcel;
mod sets;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use congruent_protocol::digest::Digest;
use congruent_protocol::drift::Finding;
use congruent_protocol::key::SecretKey;
use congruent_protocol::report::{
    MAX_REPORT_BYTES, Outcome, Page, Report, SetChange, findings_digest, report_digest, seal,
};
use congruent_protocol::seal::SEAL_KEY_BYTES;
use rustix::fs::FlockOperation;
use serde::Serialize;

pub(crate) use parcel::Parcel;

use crate::atomic;
use chain::Chain;
use sets::Sets;

const LOCK_FILE: &str = "lock";
const SPOOL_DIRECTORY: &str = "spool";
const REFUSED_DIRECTORY: &str = "refused";
const DAMAGED_DIRECTORY: &str = "damaged";
const SUFFIX: &str = ".report";
/// The longest payload; beside it stands the line that signs it.
const MAX_PAYLOAD_BYTES: u64 = MAX_REPORT_BYTES - 4096;
/// Which part of what a spool may hold is made free where it is full.
const SPARE_PART: u64 = 16;
/// How many reports are kept that were refused, and how many that are damaged.
const KEPT_ASIDE: usize = 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("cannot use {}", .path.display())]
    Use {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another agent runs with the state directory {}; stop it, or give this one its own state-directory", .0.display())]
    Busy(PathBuf),
    #[error("{} is damaged, {what}; revoke the node, remove its state directory, and enrol it with a new token", .path.display())]
    Damaged { path: PathBuf, what: String },
    #[error(
        "{} has no chain of reports, and the key that begins one is gone; revoke the node, remove that directory, and enrol \
         it with a new token",
        .0.display()
    )]
    NoKey(PathBuf),
    #[error("the report in {} is damaged: {what}", .path.display())]
    DamagedReport { path: PathBuf, what: String },
}

/// Who this node is to the collector.
pub(crate) struct Signer {
    /// Names the chain of reports that the enrolment began.
    pub(crate) enrolment: String,
    pub(crate) key: SecretKey,
    /// What seals the first report; gone once the chain has begun.
    pub(crate) first_seal: Option<[u8; SEAL_KEY_BYTES]>,
}

/// A spooled report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spooled {
    pub(crate) sequence: u64,
    path: PathBuf,
}

/// The reports that the collector has not acknowledged.
pub(crate) struct Spool {
    directory: PathBuf,
    chain: Chain,
    key: SecretKey,
    sets: Sets,
    /// Of each container, by its id, the set of findings that the collector acknowledged
    /// last. After a restart they are told whole.
    acknowledged: HashMap<String, Digest>,
    max_bytes: u64,
    /// How many bytes the reports take that wait.
    report_bytes: u64,
    /// How many reports went since sets were forgotten, and how many waited then.
    gone: usize,
    waited: usize,
    /// Held while this process owns the directory; the kernel lets go of it
    /// when the process ends, however it ends.
    _lock: File,
}

impl Spool {
    /// Opens the spool in `state_directory`, making it where it is not. It holds no
    /// more than about `max_bytes`.
    pub(crate) fn open(state_directory: &Path, signer: Signer, max_bytes: u64) -> Result<Self, SpoolError> {
        let directory = state_directory.to_owned();
        let failed = |source| SpoolError::Use { path: directory.clone(), source };
        for made in [SPOOL_DIRECTORY, REFUSED_DIRECTORY, DAMAGED_DIRECTORY] {
            fs::create_dir_all(directory.join(made)).map_err(failed)?;
        }
        let lock = lock(&directory)?;
        // What was being written when the agent was killed may be a key that is to be gone.
        for partial in [directory.clone(), directory.join(SPOOL_DIRECTORY)] {
            durable::remove_partial(&partial).map_err(failed)?;
        }
        let sets = Sets::open(&directory).map_err(failed)?;
        let Signer { enrolment, key, first_seal } = signer;
        let known = Chain::read(&directory)?.filter(|chain| chain.id == enrolment);
        let is_new = known.is_none();
        let chain = match known {
            Some(chain) => chain,
            None => {
                let first = first_seal.ok_or_else(|| SpoolError::NoKey(directory.clone()))?;
                Chain::begin(enrolment, first)
            }
        };
        let acknowledged = HashMap::new();
        let report_bytes = durable::bytes_in(&directory.join(SPOOL_DIRECTORY)).map_err(failed)?;
        let mut spool = Self {
            directory,
            chain,
            key,
            sets,
            acknowledged,
            max_bytes,
            report_bytes,
            gone: 0,
            waited: 0,
            _lock: lock,
        };
        if is_new {
            spool.begin()?;
        } else {
            spool.find_newest()?;
        }
        Ok(spool)
    }

    /// Begins a chain. What waits was made under another enrolment, and nobody takes it
    /// any more.
    fn begin(&mut self) -> Result<(), SpoolError> {
        for spooled in self.pending()? {
            self.forget(&spooled.path)?;
            self.chain.lost += 1;
        }
        self.chain.write(&self.directory)
    }

    /// Takes account of a report that was spooled just before the process was killed,
    /// so that its number is not given twice.
    fn find_newest(&mut self) -> Result<(), SpoolError> {
        let next = self.chain.sequence + 1;
        let path = self.path_of(next);
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        let newest = Spooled { sequence: next, path };
        match self.read(&newest) {
            Ok(parcel) => {
                self.chain = self.chain.extended(parcel.digest);
                self.chain.write(&self.directory)
            }
            // It was never sent, so that its number is free.
            Err(SpoolError::DamagedReport { .. }) => self.quarantine(&newest).map(drop),
            Err(error) => Err(error),
        }
    }

    /// Numbers a report, chains it to the one before, signs, seals and spools it.
    pub(crate) fn push(&mut self, report: Report) -> Result<Spooled, SpoolError> {
        let report = Report {
            chain: self.chain.id.clone(),
            sequence: self.chain.sequence + 1,
            previous: self.chain.digest,
            lost: self.chain.lost,
            ..report
        };
        let sequence = report.sequence;
        let directory = self.directory.join(SPOOL_DIRECTORY);
        let use_sets = |source| SpoolError::Use { path: directory.clone(), source };
        if let Outcome::Verified(verification) = &report.outcome {
            let digest = findings_digest(&verification.findings);
            self.sets.keep(&digest, &verification.findings).map_err(use_sets)?;
        }
        let base = self.base_of(&report).and_then(|digest| self.sets.findings(&digest));
        if let Some(seen) = report.containers.as_ref().filter(|seen| seen.gaps.is_empty()) {
            self.acknowledged.retain(|id, _| seen.running.binary_search(id).is_ok());
        }
        let Ok(told) = report
            .try_map(|set| Ok::<_, std::convert::Infallible>(SetChange::between(base.as_deref(), &set).0));
        let payload = serde_json::to_vec(&told).expect("a report always serialises");
        if payload.len() as u64 > MAX_PAYLOAD_BYTES {
            let command = if told.container.is_none() { "verify" } else { "containers verify" };
            let why = too_long(payload.len(), command);
            return self.push(told.with_outcome(Outcome::Withheld(why)).0);
        }
        let spooled = Spooled { sequence, path: self.path_of(sequence) };
        let failed = |source| SpoolError::Use { path: spooled.path.clone(), source };
        let sealed = seal(&payload, &self.key, &self.chain.key);
        atomic::write_private(&spooled.path, &sealed).map_err(failed)?;
        self.report_bytes += sealed.len() as u64;
        let extended = self.chain.extended(report_digest(&payload));
        if let Err(error) = extended.write(&self.directory) {
            // Its number is the next one's: it must not be sent.
            let _ = self.forget(&spooled.path);
            return Err(error);
        }
        self.chain = extended;
        self.make_room()?;
        Ok(spooled)
    }

    /// The set that a report's findings are told by their difference to: the last that was
    /// acknowledged of the same subject, so that the difference is small.
    fn base_of(&self, report: &Report) -> Option<Digest> {
        match &report.container {
            None => self.chain.acknowledged,
            Some(container) => self.acknowledged.get(&container.identity.id).copied(),
        }
    }

    /// What is not acknowledged, oldest first.
    pub(crate) fn pending(&self) -> Result<Vec<Spooled>, SpoolError> {
        let directory = self.directory.join(SPOOL_DIRECTORY);
        let failed = |source| SpoolError::Use { path: directory.clone(), source };
        let mut pending = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(SUFFIX));
            if let Some(sequence) = number.and_then(|number| number.parse().ok()) {
                pending.push(Spooled { sequence, path });
            }
        }
        pending.sort_by_key(|spooled| spooled.sequence);
        Ok(pending)
    }

    /// A report as it is sent, held to the node's own signature.
    pub(crate) fn read(&self, spooled: &Spooled) -> Result<Parcel, SpoolError> {
        Parcel::read(&spooled.path, spooled.sequence, &self.key.public())
    }

    /// The whole set of a report, by its name and as JSON, where the collector cannot
    /// do with the difference.
    pub(crate) fn whole_set(&self, parcel: &Parcel) -> Option<(Digest, Vec<u8>)> {
        let digest = parcel.set.as_ref()?.digest;
        Some((digest, self.sets.json(&digest)?))
    }

    /// The findings of a report.
    pub(crate) fn findings(&self, parcel: &Parcel) -> Option<Vec<Finding>> {
        self.sets.findings(&parcel.set.as_ref()?.digest)
    }

    /// The pages that go ahead of a report.
    pub(crate) fn pages(&self, parcel: &Parcel) -> Vec<Page> {
        let pages = |set: &parcel::SetOf| {
            let now = self.sets.findings(&set.digest)?;
            let base = set.base.and_then(|base| self.sets.findings(&base));
            Some(SetChange::between(base.as_deref(), &now).1)
        };
        parcel.set.as_ref().filter(|set| set.has_pages).and_then(pages).unwrap_or_default()
    }

    /// Forgets a report that the collector has acknowledged. Its set is what the next
    /// one of the same subject is the difference to.
    pub(crate) fn acknowledge(&mut self, spooled: &Spooled, parcel: &Parcel) -> Result<(), SpoolError> {
        match (&parcel.set, &parcel.container) {
            (Some(set), Some(container)) => {
                self.acknowledged.insert(container.identity.id.clone(), set.digest);
            }
            (Some(set), None) => {
                self.chain.acknowledged = Some(set.digest);
                self.chain.write(&self.directory)?;
            }
            (None, _) => {}
        }
        self.forget(&spooled.path)?;
        self.forget_sets_in_time()
    }

    /// Sets a report aside that the collector will never take, for people to see.
    pub(crate) fn set_aside(&mut self, spooled: &Spooled) -> Result<PathBuf, SpoolError> {
        self.move_to(REFUSED_DIRECTORY, spooled)
    }

    /// Sets a report aside that is damaged, and counts it as lost.
    pub(crate) fn quarantine(&mut self, spooled: &Spooled) -> Result<PathBuf, SpoolError> {
        let aside = self.move_to(DAMAGED_DIRECTORY, spooled)?;
        self.lose(1)?;
        Ok(aside)
    }

    /// Counts reports that could not be spooled at all.
    pub(crate) fn lose(&mut self, count: u64) -> Result<(), SpoolError> {
        self.chain.lost += count;
        self.chain.write(&self.directory)
    }

    /// The chain's id, the newest report's number, and how many were lost.
    pub(crate) fn position(&self) -> (&str, u64, u64) {
        (&self.chain.id, self.chain.sequence, self.chain.lost)
    }

    /// How many bytes it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.report_bytes + self.sets.bytes()
    }

    /// Drops the oldest reports where there are more bytes than there may be, but
    /// never the newest; and then some more, so that this is not done for each report.
    fn make_room(&mut self) -> Result<(), SpoolError> {
        if self.bytes() <= self.max_bytes {
            return Ok(());
        }
        let enough = self.max_bytes - self.max_bytes / SPARE_PART;
        let mut pending = self.pending()?.into_iter().peekable();
        while self.bytes() > enough
            && let Some(oldest) = pending.next()
            && pending.peek().is_some()
        {
            self.forget(&oldest.path)?;
            self.lose(1)?;
            self.forget_sets_in_time()?;
        }
        self.forget_sets()
    }

    fn forget(&mut self, path: &Path) -> Result<(), SpoolError> {
        let bytes = path.symlink_metadata().map_or(0, |metadata| metadata.len());
        let removed = fs::remove_file(path)
            .and_then(|()| durable::sync_directory(&self.directory.join(SPOOL_DIRECTORY)));
        removed.map_err(|source| SpoolError::Use { path: path.to_owned(), source })?;
        self.report_bytes = self.report_bytes.saturating_sub(bytes);
        Ok(())
    }

    /// Forgets the sets that no report needs any more, once half of the reports are gone
    /// that waited the last time: every report that waits is read for it.
    fn forget_sets_in_time(&mut self) -> Result<(), SpoolError> {
        self.gone += 1;
        if self.gone > self.waited / 2 { self.forget_sets() } else { Ok(()) }
    }

    fn forget_sets(&mut self) -> Result<(), SpoolError> {
        // Mostly there are none.
        if self.sets.bytes() == 0 {
            return Ok(());
        }
        let acknowledged = self.acknowledged.values().copied();
        let mut wanted: HashSet<Digest> = self.chain.acknowledged.into_iter().chain(acknowledged).collect();
        let pending = self.pending()?;
        for spooled in &pending {
            if let Ok(Parcel { set: Some(set), .. }) = self.read(spooled) {
                wanted.extend([Some(set.digest), set.base].into_iter().flatten());
            }
        }
        (self.gone, self.waited) = (0, pending.len());
        self.sets.retain(&wanted).map_err(|source| SpoolError::Use { path: self.directory.clone(), source })
    }

    /// Moves a report aside; of those that are there the oldest go.
    fn move_to(&mut self, directory: &str, spooled: &Spooled) -> Result<PathBuf, SpoolError> {
        let directory = self.directory.join(directory);
        let failed = |source| SpoolError::Use { path: directory.clone(), source };
        let aside = directory.join(format!("{:020}{SUFFIX}", spooled.sequence));
        let bytes = spooled.path.symlink_metadata().map_or(0, |metadata| metadata.len());
        fs::rename(&spooled.path, &aside).map_err(failed)?;
        self.report_bytes = self.report_bytes.saturating_sub(bytes);
        let kept: io::Result<Vec<PathBuf>> =
            fs::read_dir(&directory).map_err(failed)?.map(|entry| Ok(entry?.path())).collect();
        let mut kept = kept.map_err(failed)?;
        kept.sort();
        for oldest in kept.iter().take(kept.len().saturating_sub(KEPT_ASIDE)) {
            fs::remove_file(oldest).map_err(failed)?;
        }
        Ok(aside)
    }

    fn path_of(&self, sequence: u64) -> PathBuf {
        self.directory.join(SPOOL_DIRECTORY).join(format!("{sequence:020}{SUFFIX}"))
    }
}

/// What waits in a spool, for those who only look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Waiting {
    pub(crate) reports: u64,
    /// Of reports and of the sets that they name.
    pub(crate) bytes: u64,
    /// How many were lost since the chain began.
    pub(crate) lost: u64,
}

/// Whether an agent runs with this state directory.
pub(crate) fn is_in_use(state_directory: &Path) -> bool {
    let lock = File::open(state_directory.join(LOCK_FILE));
    lock.is_ok_and(|lock| rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
}

/// What waits in the spool of a state directory, whoever owns it.
pub(crate) fn waiting(state_directory: &Path) -> Result<Waiting, SpoolError> {
    let lost = Chain::read(state_directory)?.map_or(0, |chain| chain.lost);
    let mut waiting = Waiting { lost, ..Waiting::default() };
    for (directory, is_reports) in [(SPOOL_DIRECTORY, true), (sets::SETS_DIRECTORY, false)] {
        let Ok(entries) = fs::read_dir(state_directory.join(directory)) else { continue };
        // What is delivered meanwhile is gone, and is no error.
        for length in entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())) {
            waiting.bytes += length;
            waiting.reports += u64::from(is_reports);
        }
    }
    Ok(waiting)
}

fn too_long(bytes: usize, command: &str) -> String {
    format!(
        "the report has {bytes} bytes, and may have {MAX_PAYLOAD_BYTES}; `congruent {command}` on the node tells it all"
    )
}

fn lock(directory: &Path) -> Result<File, SpoolError> {
    let lock = File::create(directory.join(LOCK_FILE))
        .map_err(|source| SpoolError::Use { path: directory.to_owned(), source })?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(_) => Err(SpoolError::Busy(directory.to_owned())),
    }
}
