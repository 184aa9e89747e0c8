//! What an agent that runs says of itself, in its state directory: for `congruent
//! status`, and for people. It is no evidence, and is written over.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use congruent_protocol::verification::{Coverage, State, SweepMode, Verification};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::debug;

use crate::atomic;
use crate::findings::Findings;
use crate::spool::durable;

/// The version of the JSON of the status.
pub(crate) const STATUS_SCHEMA: u32 = 1;
/// In the state directory.
const STATUS_FILE: &str = "status.json";
const MAX_STATUS_BYTES: u64 = 1 << 20;

/// What the agent noted last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Noted {
    pub(crate) schema_version: u32,
    /// The last look that was completed.
    pub(crate) look: Option<LookNoted>,
    /// The last look at containers; none where they are not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) containers: Option<ContainersNoted>,
    /// Why the last look came to nothing, where it did.
    pub(crate) look_failed: Option<Failure>,
    /// When the collector answered last.
    pub(crate) heard_at: Option<Timestamp>,
    /// Why it could not be reached, or did not take what it was sent, since then.
    pub(crate) delivery_failed: Option<Failure>,
}

/// A look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LookNoted {
    pub(crate) state: State,
    pub(crate) mode: SweepMode,
    pub(crate) manifest: String,
    pub(crate) findings: u64,
    pub(crate) coverage: CoverageNoted,
    pub(crate) started_at: Timestamp,
    pub(crate) finished_at: Timestamp,
}

/// A look's coverage, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CoverageNoted {
    pub(crate) entries_expected: u64,
    pub(crate) entries_seen: u64,
    pub(crate) bytes_hashed: u64,
    pub(crate) unreadable: u64,
    pub(crate) unstable: u64,
    pub(crate) hidden: u64,
}

/// A look at containers: how many are in which state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainersNoted {
    pub(crate) congruent: u64,
    pub(crate) divergent: u64,
    pub(crate) incomplete: u64,
    pub(crate) unknown: u64,
    /// Why there may be more of them; the first reason.
    pub(crate) gap: Option<String>,
    pub(crate) mode: SweepMode,
    pub(crate) started_at: Timestamp,
    pub(crate) finished_at: Timestamp,
}

/// What went wrong, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) at: Timestamp,
    pub(crate) why: String,
}

/// The status that is kept up to date; without a file nobody reads it. Clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    path: Option<PathBuf>,
    noted: Arc<Mutex<Noted>>,
}

impl Status {
    /// Goes on from what an earlier agent noted.
    pub(crate) fn open(state_directory: &Path) -> Self {
        let noted = Noted::read(state_directory).unwrap_or_default();
        Self { path: Some(state_directory.join(STATUS_FILE)), noted: Arc::new(Mutex::new(noted)) }
    }

    /// A status that nobody reads.
    pub(crate) fn unkept() -> Self {
        Self { path: None, noted: Arc::default() }
    }

    /// A look was completed.
    pub(crate) fn looked(&self, verification: &Verification<Findings>) {
        let Coverage { started_at, finished_at, mode, .. } = verification.coverage;
        let look = LookNoted {
            state: verification.state,
            mode,
            manifest: verification.manifest.root.to_string(),
            findings: verification.findings.len() as u64,
            coverage: CoverageNoted::of(&verification.coverage),
            started_at,
            finished_at,
        };
        self.note(|noted| (noted.look, noted.look_failed) = (Some(look), None));
    }

    /// Containers were looked at, or are not.
    pub(crate) fn looked_at_containers(&self, containers: Option<ContainersNoted>) {
        self.note(|noted| noted.containers = containers);
    }

    /// A look came to nothing.
    pub(crate) fn look_failed(&self, why: String) {
        self.note(|noted| noted.look_failed = Some(Failure::now(why)));
    }

    /// The collector answered.
    pub(crate) fn heard(&self) {
        self.note(|noted| (noted.heard_at, noted.delivery_failed) = (Some(Timestamp::now()), None));
    }

    /// The collector could not be reached, or did not take what it was sent.
    pub(crate) fn delivery_failed(&self, why: String) {
        self.note(|noted| noted.delivery_failed = Some(Failure::now(why)));
    }

    fn note(&self, change: impl FnOnce(&mut Noted)) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut noted);
        let Some(path) = &self.path else { return };
        noted.schema_version = STATUS_SCHEMA;
        let json = serde_json::to_vec(&*noted).expect("a status always serialises");
        // A status that cannot be written says so by its age; the log has the rest.
        if let Err(error) = atomic::write_private(path, &json) {
            debug!("the status is not noted: {error}");
        }
    }
}

impl Noted {
    /// What is noted in a state directory, where anything readable is.
    pub(crate) fn read(state_directory: &Path) -> Option<Self> {
        let json = durable::read(&state_directory.join(STATUS_FILE), MAX_STATUS_BYTES).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

impl CoverageNoted {
    fn of(coverage: &Coverage) -> Self {
        Self {
            entries_expected: coverage.entries_expected,
            entries_seen: coverage.entries_seen,
            bytes_hashed: coverage.bytes_hashed,
            unreadable: coverage.unreadable.len() as u64,
            unstable: coverage.unstable.len() as u64,
            hidden: coverage.hidden.iter().map(|hidden| hidden.entries).sum(),
        }
    }
}

impl ContainersNoted {
    /// A look that begins now.
    pub(crate) fn new(mode: SweepMode) -> Self {
        let (congruent, divergent, incomplete, unknown, gap) = Default::default();
        let now = Timestamp::now();
        Self { congruent, divergent, incomplete, unknown, gap, mode, started_at: now, finished_at: now }
    }

    /// Counts a container.
    pub(crate) fn count(&mut self, state: State) {
        let counter = match state {
            State::Congruent => &mut self.congruent,
            State::Divergent => &mut self.divergent,
            State::Incomplete => &mut self.incomplete,
            State::Silent | State::Unknown => &mut self.unknown,
        };
        *counter += 1;
    }

    /// Ends the look.
    pub(crate) fn finish(&mut self, gaps: &[String]) {
        self.gap = gaps.first().cloned();
        self.finished_at = Timestamp::now();
    }

    /// How many there are.
    pub(crate) fn running(&self) -> u64 {
        self.congruent + self.divergent + self.incomplete + self.unknown
    }

    /// What all of them come to: what differs anywhere comes first, then what is not known
    /// or was not seen.
    pub(crate) fn state(&self) -> State {
        if self.divergent > 0 {
            State::Divergent
        } else if self.incomplete > 0 || self.unknown > 0 || self.gap.is_some() {
            State::Incomplete
        } else {
            State::Congruent
        }
    }

    /// What a node and its containers come to. A node of which nothing is known stays so,
    /// unless one of them differs.
    pub(crate) fn with_node(&self, node: State) -> State {
        match (node, self.state()) {
            (State::Divergent, _) | (_, State::Divergent) => State::Divergent,
            (State::Congruent, containers) => containers,
            (node, _) => node,
        }
    }
}

impl Failure {
    fn now(why: String) -> Self {
        Self { at: Timestamp::now(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_and_its_containers_come_to_one_state() {
        use State::{Congruent, Divergent, Incomplete, Unknown};
        let check = |states: &[State], gap: Option<&str>, nodes: [State; 4]| {
            let mut containers = ContainersNoted::new(SweepMode::Full);
            states.iter().for_each(|state| containers.count(*state));
            containers.finish(&gap.map(str::to_owned).into_iter().collect::<Vec<_>>());
            assert_eq!(containers.running(), states.len() as u64);
            let come_to = [Congruent, Divergent, Incomplete, Unknown].map(|node| containers.with_node(node));
            assert_eq!(come_to, nodes, "{states:?}");
        };
        check(&[], None, [Congruent, Divergent, Incomplete, Unknown]);
        check(&[Congruent, Congruent], None, [Congruent, Divergent, Incomplete, Unknown]);
        check(&[Congruent], Some("more"), [Incomplete, Divergent, Incomplete, Unknown]);
        check(&[Congruent, Unknown], None, [Incomplete, Divergent, Incomplete, Unknown]);
        check(&[Incomplete], None, [Incomplete, Divergent, Incomplete, Unknown]);
        check(&[Unknown, Divergent], Some("more"), [Divergent; 4]);
    }
}
