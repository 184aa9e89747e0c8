//! The spool: numbered reports on disk until the collector has acknowledged
//! them.
//!
//! A report gets its number when it is spooled and keeps it: after a crash the
//! same bytes are sent again under the same number. No report is forgotten before
//! the chain's end is noted beyond it, so that no number is given twice. A file is there whole or not
//! at all: written aside, synced, renamed, directory synced. One process owns
//! the state directory at a time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::report::{Outcome, Report};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::atomic;

/// Holds the chain's id, and the number and digest of its newest report, spooled
/// or not.
const CHAIN_FILE: &str = "chain.json";
const LOCK_FILE: &str = "lock";
const SPOOL_DIRECTORY: &str = "spool";
const REFUSED_DIRECTORY: &str = "refused";

#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("cannot use the state directory {}", .path.display())]
    Use {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another agent runs with the state directory {}; stop it, or give this one its own state-directory", .0.display())]
    Busy(PathBuf),
    #[error(
        "{} is damaged; remove it, and the node begins a new chain of reports, which the collector notes",
        .path.display()
    )]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("the kernel gives no random numbers")]
    Random(#[source] getrandom::Error),
    #[error("the numbers in {} are used up, so it is damaged; remove it, and the node begins a new chain", .0.display())]
    Exhausted(PathBuf),
    #[error("{} is not a regular file", .0.display())]
    Foreign(PathBuf),
}

/// The end of a node's chain of reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Chain {
    /// Made at random when the chain begins.
    id: String,
    /// The newest report's number; 0 before the first.
    sequence: u64,
    /// The newest report's digest.
    digest: Option<Digest>,
}

/// A spooled report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spooled {
    pub(crate) sequence: u64,
    path: PathBuf,
}

impl Spooled {
    /// The report's bytes, as they are sent.
    pub(crate) fn read(&self) -> Result<Vec<u8>, SpoolError> {
        let failed = |source| SpoolError::Use { path: self.path.clone(), source };
        // What else stands here was not spooled by us: a link to a secret, say.
        if !fs::symlink_metadata(&self.path).map_err(failed)?.is_file() {
            return Err(SpoolError::Foreign(self.path.clone()));
        }
        fs::read(&self.path).map_err(failed)
    }
}

/// The reports that the collector has not acknowledged.
pub(crate) struct Spool {
    directory: PathBuf,
    chain: Chain,
    /// The number up to which the chain's end is noted on disk.
    noted: u64,
    /// Held while this process owns the directory; the kernel lets go of it
    /// when the process ends, however it ends.
    _lock: File,
}

impl Spool {
    /// Opens the spool in `state_directory`, making it where it is not.
    pub(crate) fn open(state_directory: &Path) -> Result<Self, SpoolError> {
        let directory = state_directory.to_owned();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SpoolError::Use { path, source }
        };
        for made in [SPOOL_DIRECTORY, REFUSED_DIRECTORY] {
            fs::create_dir_all(directory.join(made)).map_err(failed(&directory))?;
        }
        let lock = File::create(directory.join(LOCK_FILE)).map_err(failed(&directory))?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(SpoolError::Busy(directory));
        }
        let chain = read_chain(&directory)?;
        let is_new = chain.is_none();
        let chain = chain.map_or_else(Chain::begin, Ok)?;
        let mut spool = Self { directory, noted: chain.sequence, chain, _lock: lock };
        if is_new {
            spool.note_chain()?;
        }
        // Killed after a report was spooled and before the chain's end was noted.
        let newest = spool.pending()?.into_iter().rev().find_map(|spooled| spooled.parse());
        if let Some((report, digest)) = newest
            && report.chain == spool.chain.id
            && report.sequence > spool.chain.sequence
        {
            spool.chain.sequence = report.sequence;
            spool.chain.digest = Some(digest);
        }
        Ok(spool)
    }

    /// Numbers a report, chains it to the one before, and spools it.
    pub(crate) fn push(&mut self, mut report: Report) -> Result<Spooled, SpoolError> {
        report.chain.clone_from(&self.chain.id);
        report.sequence = self.chain.next().ok_or_else(|| SpoolError::Exhausted(self.directory.clone()))?;
        report.previous = self.chain.digest;
        let bytes = serde_json::to_vec(&report).expect("a report always serialises");
        let spooled = Spooled { sequence: report.sequence, path: self.path_of(report.sequence) };
        write_durably(&spooled.path, &bytes)?;
        self.chain.sequence = report.sequence;
        self.chain.digest = Some(Algorithm::Blake3.digest(&bytes));
        self.note_chain()?;
        Ok(spooled)
    }

    fn note_chain(&mut self) -> Result<(), SpoolError> {
        let bytes = serde_json::to_vec(&self.chain).expect("a chain's end always serialises");
        write_durably(&self.directory.join(CHAIN_FILE), &bytes)?;
        self.noted = self.chain.sequence;
        Ok(())
    }

    /// What is not acknowledged, oldest first.
    pub(crate) fn pending(&self) -> Result<Vec<Spooled>, SpoolError> {
        let directory = self.directory.join(SPOOL_DIRECTORY);
        let failed = |source| SpoolError::Use { path: directory.clone(), source };
        let mut pending = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json"));
            // What is still written aside has another suffix.
            if let Some(sequence) = number.and_then(|number| number.parse().ok()).filter(|n| *n < u64::MAX) {
                pending.push(Spooled { sequence, path });
            }
        }
        pending.sort_by_key(|spooled| spooled.sequence);
        Ok(pending)
    }

    /// Forgets a report that the collector has acknowledged.
    pub(crate) fn acknowledge(&mut self, spooled: &Spooled) -> Result<(), SpoolError> {
        self.note_before_forgetting(spooled)?;
        fs::remove_file(&spooled.path)
            .map_err(|source| SpoolError::Use { path: spooled.path.clone(), source })
    }

    /// Sets a report aside that the collector will never take, for people to see.
    pub(crate) fn set_aside(&mut self, spooled: &Spooled) -> Result<PathBuf, SpoolError> {
        self.note_before_forgetting(spooled)?;
        let name = format!("{:020}.json", spooled.sequence);
        let aside = self.directory.join(REFUSED_DIRECTORY).join(name);
        fs::rename(&spooled.path, &aside)
            .map_err(|source| SpoolError::Use { path: aside.clone(), source })?;
        Ok(aside)
    }

    fn note_before_forgetting(&mut self, spooled: &Spooled) -> Result<(), SpoolError> {
        if self.noted < spooled.sequence { self.note_chain() } else { Ok(()) }
    }

    fn path_of(&self, sequence: u64) -> PathBuf {
        self.directory.join(SPOOL_DIRECTORY).join(format!("{sequence:020}.json"))
    }
}

impl Chain {
    /// The next report's number.
    fn next(&self) -> Option<u64> {
        self.sequence.checked_add(1)
    }

    /// A new chain, with an id that no other has.
    fn begin() -> Result<Self, SpoolError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(SpoolError::Random)?;
        Ok(Self { id: format!("{:032x}", u128::from_le_bytes(id)), sequence: 0, digest: None })
    }
}

impl Spooled {
    /// Whether it is a report that another was withheld: the end of the line.
    pub(crate) fn is_withheld(&self) -> bool {
        self.parse().is_some_and(|(report, _)| matches!(report.outcome, Outcome::Withheld(_)))
    }

    /// The report and its digest, where it is one.
    fn parse(&self) -> Option<(Report, Digest)> {
        let bytes = self.read().ok()?;
        Some((serde_json::from_slice(&bytes).ok()?, Algorithm::Blake3.digest(&bytes)))
    }
}

fn read_chain(directory: &Path) -> Result<Option<Chain>, SpoolError> {
    let path = directory.join(CHAIN_FILE);
    match fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|source| SpoolError::Damaged { path, source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SpoolError::Use { path, source }),
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), SpoolError> {
    atomic::write_private(path, bytes).map_err(|source| SpoolError::Use { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use congruent_protocol::report::{Facts, REPORT_SCHEMA};
    use jiff::Timestamp;

    fn report() -> Report {
        Report {
            schema_version: REPORT_SCHEMA,
            node: "n".to_owned(),
            boot: "b".to_owned(),
            chain: String::new(),
            sequence: 0,
            previous: None,
            agent_version: "0".to_owned(),
            reported_at: Timestamp::UNIX_EPOCH,
            outcome: Outcome::NoManifest("none".to_owned()),
            facts: Facts::default(),
        }
    }

    fn parse(spooled: &Spooled) -> Report {
        serde_json::from_slice(&spooled.read().unwrap()).unwrap()
    }

    #[test]
    fn numbers_and_chain_survive_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let first = Spool::open(state.path()).unwrap().push(report()).unwrap();
        let digest = Algorithm::Blake3.digest(&first.read().unwrap());
        let mut spool = Spool::open(state.path()).unwrap();
        spool.acknowledge(&first).unwrap();
        let second = spool.push(report()).unwrap();
        assert_eq!((parse(&second).sequence, parse(&second).previous), (2, Some(digest)));
        assert_eq!(spool.pending().unwrap(), [second]);
    }

    #[test]
    fn a_crash_before_the_chain_is_noted_reuses_no_number() {
        let state = tempfile::tempdir().unwrap();
        let chain_file = state.path().join(CHAIN_FILE);
        let mut spool = Spool::open(state.path()).unwrap();
        let before = fs::read(&chain_file).unwrap();
        spool.push(report()).unwrap();
        drop(spool);
        fs::write(&chain_file, before).unwrap();
        fs::write(state.path().join("spool/x.partial"), "half").unwrap();
        // Found again, delivered and forgotten, and then killed once more.
        let mut spool = Spool::open(state.path()).unwrap();
        let found = spool.pending().unwrap().remove(0);
        spool.acknowledge(&found).unwrap();
        drop(spool);
        let mut spool = Spool::open(state.path()).unwrap();
        assert_eq!(parse(&spool.push(report()).unwrap()).sequence, 2);
    }

    #[test]
    fn a_lost_state_directory_begins_a_new_chain() {
        let chain_of = || {
            let state = tempfile::tempdir().unwrap();
            parse(&Spool::open(state.path()).unwrap().push(report()).unwrap()).chain
        };
        assert_ne!(chain_of(), chain_of());
    }

    #[test]
    fn what_was_not_spooled_is_not_sent() {
        let state = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(state.path()).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", state.path().join("spool/7.json")).unwrap();
        fs::create_dir(state.path().join("spool/8.json")).unwrap();
        fs::write(state.path().join("spool/18446744073709551615.json"), "x").unwrap();
        for foreign in spool.pending().unwrap() {
            assert!(matches!(foreign.read(), Err(SpoolError::Foreign(_))));
            spool.set_aside(&foreign).unwrap();
        }
        assert_eq!(parse(&spool.push(report()).unwrap()).sequence, 1);
    }

    #[test]
    fn two_at_once_and_damage_are_refused() {
        let state = tempfile::tempdir().unwrap();
        let spool = Spool::open(state.path()).unwrap();
        assert!(matches!(Spool::open(state.path()), Err(SpoolError::Busy(_))));
        drop(spool);
        for damage in ["{", "null", ""] {
            fs::write(state.path().join(CHAIN_FILE), damage).unwrap();
            assert!(matches!(Spool::open(state.path()), Err(SpoolError::Damaged { .. })), "{damage:?}");
        }
    }

    #[test]
    fn a_refused_report_is_set_aside() {
        let state = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(state.path()).unwrap();
        let spooled = spool.push(report()).unwrap();
        let aside = spool.set_aside(&spooled).unwrap();
        assert!(aside.exists() && spool.pending().unwrap().is_empty());
    }
}
