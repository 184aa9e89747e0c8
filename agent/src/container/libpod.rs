//! Podman's own database: which of its containers are started again.
//!
//! containers/storage does not say whether a container runs. Podman up to version 4 keeps
//! that in a file of bolt (`libpod/boltdb_state_internal.go`): its bucket `ctr` has one for
//! each container's id, with `config` and `state` in JSON. Later ones keep it in SQLite, which
//! is not read: between two runs, their containers are told as stopped.

use std::collections::HashMap;

use serde::Deserialize;

use super::bolt::{BoltError, Bucket, Value};
use super::containerd::bolt;
use super::store::{StateError, Store};
use super::{Container, ContainerState};

const FILE: &str = "libpod/bolt_state.db";
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

/// Tells which of them Podman starts again, and which of these it takes to run.
pub(super) fn note_restarts(store: &Store, containers: &mut [Container]) -> Result<(), StateError> {
    let mut waiting: HashMap<_, _> = containers
        .iter_mut()
        // Podman writes anew for each run what tells that one was begun.
        .filter(|container| matches!(container.state, ContainerState::Stopped | ContainerState::Created))
        .map(|container| (container.id.clone(), &mut container.state))
        .collect();
    if waiting.is_empty() || !store.has(FILE) {
        return Ok(());
    }
    let file = bolt(store, FILE)?;
    let read = states(file.root(), |id| waiting.contains_key(id));
    for (id, state) in read.map_err(|source| StateError::Bolt { path: store.path(FILE), source })? {
        if let Some(stated) = waiting.get_mut(&id) {
            **stated = state;
        }
    }
    Ok(())
}

/// Those of the wanted containers that are started again, with what they do now.
fn states(
    root: Bucket<'_>,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, ContainerState)>, BoltError> {
    let containers = root.bucket("ctr")?.map(|containers| containers.items()).transpose()?;
    let mut states = Vec::new();
    for (id, container) in containers.into_iter().flatten() {
        let id = String::from_utf8_lossy(id).into_owned();
        let Value::Bucket(container) = container else { continue };
        if is_wanted(&id)
            && let (Some(config), Some(state)) = (container.bytes("config")?, container.bytes("state")?)
        {
            states.extend(restarts(config, state).map(|state| (id, state)));
        }
    }
    Ok(states)
}

/// What a container does that is started again; none of what is not, or is malformed.
fn restarts(config: &[u8], state: &[u8]) -> Option<ContainerState> {
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
        RUNNING if is_restarted => Some(ContainerState::Running),
        // Made ready for another run, which is over by now where it has no process.
        CREATED if is_restarted && state.restart_count > 0 => Some(ContainerState::Restarting),
        ended if is_restarted && state.restart_policy_match && ENDED.contains(&ended) => {
            Some(ContainerState::Restarting)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_again_is_known_by_its_policy() {
        use ContainerState::{Restarting, Running};
        let check = |config: &str, state: &str, expected: Option<ContainerState>| {
            assert_eq!(restarts(config.as_bytes(), state.as_bytes()), expected, "{config} {state}");
        };
        let ended = r#"{"state":6,"exited":true,"restartPolicyMatch":true}"#;
        let failed = r#"{"state":4,"exitCode":3,"restartCount":2,"restartPolicyMatch":true}"#;
        let always = r#"{"restart_policy":"always"}"#;
        let on_failure = r#"{"restart_policy":"on-failure"}"#;
        check(always, ended, Some(Restarting));
        check(always, failed, Some(Restarting));
        check(r#"{"restart_policy":"unless-stopped"}"#, ended, Some(Restarting));
        check(on_failure, failed, Some(Restarting));
        check(on_failure, ended, None);
        check(r#"{"restart_policy":"on-failure","restart_retries":3}"#, failed, Some(Restarting));
        check(r#"{"restart_policy":"on-failure","restart_retries":2}"#, failed, None);
        check(r#"{"restart_policy":"no"}"#, failed, None);
        check("{}", ended, None);
        // Somebody stopped it.
        check(always, r#"{"state":6,"stoppedByUser":true}"#, None);
        check(always, r#"{"state":3,"pid":7}"#, Some(Running));
        check(on_failure, r#"{"state":3}"#, Some(Running));
        check("{}", r#"{"state":3}"#, None);
        check(always, r#"{"state":2,"restartCount":1}"#, Some(Restarting));
        check(on_failure, r#"{"state":2,"restartCount":1}"#, Some(Restarting));
        check("{}", r#"{"state":2,"restartCount":1}"#, None);
        check(always, r#"{"state":2}"#, None);
        // As it is after the machine started: Podman starts it no more.
        check(always, r#"{"state":1,"restartCount":1}"#, None);
        check(always, "{", None);
        check("[]", ended, None);
    }
}
