//! Podman's own database: which of its containers are started again.
//!
//! containers/storage does not say whether a container runs. Podman keeps that in a file of
//! bolt (`libpod/boltdb_state_internal.go`), the default before version 4.8: its bucket `ctr`
//! has one for each container's id, with `config` and `state` in JSON. Later ones keep it in
//! SQLite, which is not read: between two runs, their containers are told as stopped.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::bolt::{Bolt, BoltError, Value};
use super::store::{StateError, Store};
use super::{Container, ContainerState};

const FILE: &str = "libpod/bolt_state.db";
/// What was taken to SQLite is told by that alone, at either place.
const SQLITE: [&str; 2] = ["db.sql", "libpod/db.sql"];
/// The longest `config` or `state` that is read.
const MAX_JSON_BYTES: usize = 1 << 20;
/// States by their numbers (`libpod/define/containerstate.go`).
const CREATED: u8 = 2;
const RUNNING: u8 = 3;
const ENDED: [u8; 2] = [4, 6];

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    restart_policy: String,
    /// None is no limit.
    #[serde(default)]
    restart_retries: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    state: u8,
    #[serde(default)]
    exit_code: i32,
    #[serde(default)]
    restart_count: u64,
    /// It ended, and nobody had stopped it.
    #[serde(default)]
    restart_policy_match: bool,
}

/// What a container does that Podman starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restarted {
    /// It runs, as far as Podman knows.
    Runs,
    /// It ended, and is started again.
    Waits,
}

/// Tells which of them Podman starts again, and which of these it takes to run.
pub(super) fn note_restarts(store: &Store, containers: &mut [Container]) -> Result<(), StateError> {
    let mut waiting: HashMap<_, _> = containers
        .iter_mut()
        // Podman writes anew for each run what tells that one was begun.
        .filter(|container| matches!(container.state, ContainerState::Stopped | ContainerState::Created))
        .map(|container| (container.id.clone(), &mut container.state))
        .collect();
    // What was written before the machine was started tells of runs before that.
    let tells = || store.changed_since_boot(FILE) && !SQLITE.iter().any(|file| store.has(file));
    if waiting.is_empty() || !tells() {
        return Ok(());
    }
    let read = restarted(&store.bolt(FILE)?, |id| waiting.contains_key(id));
    for (id, restarted) in read.map_err(|source| StateError::Bolt { path: store.path(FILE), source })? {
        if let Some(state) = waiting.get_mut(&id) {
            **state = match restarted {
                Restarted::Runs => ContainerState::Running,
                Restarted::Waits => ContainerState::Restarting,
            };
        }
    }
    Ok(())
}

/// Those of the wanted containers that are started again, by their ids. What of them is
/// malformed is left out.
///
/// # Errors
/// When a page is damaged, or values take more than the file.
pub fn restarted(
    database: &Bolt,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, Restarted)>, BoltError> {
    let containers = database.root().bucket("ctr")?.map(|containers| containers.items()).transpose()?;
    let (mut found, mut seen, mut left) = (Vec::new(), HashSet::new(), database.length());
    for (id, container) in containers.into_iter().flatten() {
        let id = String::from_utf8_lossy(id).into_owned();
        let Value::Bucket(container) = container else { continue };
        if !is_wanted(&id) || !seen.insert(id.clone()) {
            continue;
        }
        let (Some(config), Some(state)) = (container.bytes("config")?, container.bytes("state")?) else {
            continue;
        };
        // Each has bytes of its own.
        left = left.checked_sub(config.len() + state.len()).ok_or(BoltError::TooLarge)?;
        if config.len().max(state.len()) <= MAX_JSON_BYTES {
            found.extend(told(config, state).map(|restarted| (id, restarted)));
        }
    }
    Ok(found)
}

/// What a container does that is started again; none of what is not, or is malformed.
fn told(config: &[u8], state: &[u8]) -> Option<Restarted> {
    let (config, state): (Config, State) =
        (serde_json::from_slice(config).ok()?, serde_json::from_slice(state).ok()?);
    let is_restarted = match &config.restart_policy[..] {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            let has_retries = config.restart_retries == 0 || state.restart_count < config.restart_retries;
            !ENDED.contains(&state.state) || (state.exit_code != 0 && has_retries)
        }
        _ => false,
    };
    match state.state {
        RUNNING if is_restarted => Some(Restarted::Runs),
        // Made ready for another run, which is over by now where it has no process.
        CREATED if is_restarted && state.restart_count > 0 => Some(Restarted::Waits),
        ended if is_restarted && state.restart_policy_match && ENDED.contains(&ended) => {
            Some(Restarted::Waits)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::bolt::testing::{Tree, bucket, bytes, file_with};
    use super::*;

    const ALWAYS: &str = r#"{"restart_policy":"always"}"#;
    const RUNS: &str = r#"{"state":3}"#;

    fn read(containers: Tree) -> Result<Vec<String>, BoltError> {
        let database = Bolt::new(file_with(&bucket([("ctr", containers)]))).unwrap();
        let found = restarted(&database, |id| id != "other")?;
        Ok(found.into_iter().map(|(id, _)| id).collect())
    }

    #[test]
    fn containers_are_read_from_the_database() {
        let container = || bucket([("config", bytes(ALWAYS)), ("state", bytes(RUNS))]);
        let containers = bucket([
            ("a", container()),
            ("a", container()),
            ("b", bytes("no bucket")),
            ("c", bucket([("config", bytes(ALWAYS))])),
            ("d", bucket([("config", bytes("{")), ("state", bytes(RUNS))])),
            ("e", container()),
            ("other", container()),
        ]);
        assert_eq!(read(containers).unwrap(), ["a", "e"]);
        let none = Bolt::new(file_with(&bucket([("v1", bytes(""))]))).unwrap();
        assert!(restarted(&none, |_| true).unwrap().is_empty());
        let long = format!(r#"{{"restart_policy":"always","x":"{}"}}"#, "x".repeat(MAX_JSON_BYTES));
        let containers = bucket([("a", bucket([("config", bytes(long)), ("state", bytes(RUNS))]))]);
        assert!(read(containers).unwrap().is_empty());
    }

    #[test]
    fn what_is_started_again_is_known_by_its_policy() {
        use Restarted::{Runs, Waits};
        let check = |config: &str, state: &str, expected: Option<Restarted>| {
            assert_eq!(told(config.as_bytes(), state.as_bytes()), expected, "{config} {state}");
        };
        let ended = r#"{"state":6,"exited":true,"restartPolicyMatch":true}"#;
        let failed = r#"{"state":4,"exitCode":3,"restartCount":2,"restartPolicyMatch":true}"#;
        let always = r#"{"restart_policy":"always"}"#;
        let on_failure = r#"{"restart_policy":"on-failure"}"#;
        check(always, ended, Some(Waits));
        check(always, failed, Some(Waits));
        check(r#"{"restart_policy":"unless-stopped"}"#, ended, Some(Waits));
        check(on_failure, failed, Some(Waits));
        check(on_failure, ended, None);
        check(r#"{"restart_policy":"on-failure","restart_retries":3}"#, failed, Some(Waits));
        check(r#"{"restart_policy":"on-failure","restart_retries":2}"#, failed, None);
        check(r#"{"restart_policy":"no"}"#, failed, None);
        check("{}", ended, None);
        // Somebody stopped it.
        check(always, r#"{"state":6,"stoppedByUser":true}"#, None);
        check(always, r#"{"state":3,"pid":7}"#, Some(Runs));
        check(on_failure, r#"{"state":3}"#, Some(Runs));
        check("{}", r#"{"state":3}"#, None);
        check(always, r#"{"state":2,"restartCount":1}"#, Some(Waits));
        check(on_failure, r#"{"state":2,"restartCount":1}"#, Some(Waits));
        check("{}", r#"{"state":2,"restartCount":1}"#, None);
        check(always, r#"{"state":2}"#, None);
        // As it is after the machine started: Podman starts it no more.
        check(always, r#"{"state":1,"restartCount":1}"#, None);
        check(always, "{", None);
        check("[]", ended, None);
    }
}
