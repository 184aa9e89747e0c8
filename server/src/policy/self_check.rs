//! The check that every policy stands before it is used: a decision for each
//! state, in an environment that it is sure to know of and in one that it does not.

use congruent_protocol::contract::Class;
use congruent_protocol::digest::Algorithm;
use congruent_protocol::drift::{Attributes, Finding};
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::{Coverage, Gap, ManifestId, State, SweepMode};
use jiff::Timestamp;

use super::engine::Policy;
use super::error::PolicyError;
use super::input::{InputParts, PolicyInput, ReportFacts, Subject};

const STATES: [State; 5] =
    [State::Congruent, State::Divergent, State::Incomplete, State::Silent, State::Unknown];
/// The second is no one's: a policy has to decide also where it was not told.
const ENVIRONMENTS: [&str; 2] = ["prod", "self-check"];

/// Asks `policy` for a decision for each state.
pub(super) fn run(policy: &Policy) -> Result<(), PolicyError> {
    for (state, environment) in STATES.into_iter().flat_map(|s| ENVIRONMENTS.map(|e| (s, e))) {
        policy.decide(&input(state, environment)).map_err(|source| PolicyError::SelfCheck {
            state,
            environment: environment.to_owned(),
            source: Box::new(source),
        })?;
    }
    Ok(())
}

/// A small input in `state`.
fn input(state: State, environment: &str) -> PolicyInput {
    let path = TreePath::new("/usr/bin/self-check").expect("it is a path");
    let findings = match state {
        State::Divergent => vec![Finding::added(&path, Class::Immutable, Attributes::mount(None, None))],
        _ => Vec::new(),
    };
    let gap = Gap { path, reason: "self-check".to_owned() };
    let unreadable = if state == State::Incomplete { vec![gap] } else { Vec::new() };
    let looked = state != State::Unknown;
    let coverage = coverage(unreadable);
    PolicyInput::new(InputParts {
        beside: None,
        subject: Subject {
            container: None,
            node: "self-check".to_owned(),
            group: "self-check".to_owned(),
            environment: environment.to_owned(),
        },
        state,
        note: None,
        manifest: looked.then(manifest),
        report: looked.then(report),
        silent_for_seconds: (state == State::Silent).then_some(3600),
        findings: &findings,
        coverage: looked.then_some(&coverage),
        facts: None,
    })
}

fn manifest() -> ManifestId {
    ManifestId {
        name: "self-check".to_owned(),
        version: "1".to_owned(),
        root: Algorithm::Blake3.digest(b""),
        signed_by: Vec::new(),
    }
}

fn report() -> ReportFacts {
    ReportFacts {
        sequence: 1,
        boot: "self-check".to_owned(),
        reported_at: Timestamp::UNIX_EPOCH,
        received_at: Timestamp::UNIX_EPOCH,
        conditional: false,
        sweep: Some(SweepMode::Full),
    }
}

fn coverage(unreadable: Vec<Gap>) -> Coverage {
    Coverage {
        mode: SweepMode::Full,
        entries_expected: 1,
        entries_seen: 1,
        entries_recalled: 0,
        bytes_hashed: 1,
        direct: None,
        unreadable,
        unstable: Vec::new(),
        hidden: Vec::new(),
        reserved: Vec::new(),
        mounts: Vec::new(),
        first_seen: Vec::new(),
        unchecked: Vec::new(),
        started_at: Timestamp::UNIX_EPOCH,
        finished_at: Timestamp::UNIX_EPOCH,
    }
}
