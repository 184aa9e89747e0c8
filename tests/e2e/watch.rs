//! What tests ask a collector, and waiting until it has thought things through.

use anyhow::{Context, Result};
use congruent_protocol::action::ActionState;
use congruent_tests::collector::Collector;
use congruent_tests::program::Ended;
use congruent_tests::site::Site;
use congruent_tests::wait::{PATIENCE, wait_for};
use serde_json::Value;

/// One sweep of a node, its report judged; the exit code must be `code`.
pub(crate) fn sweep(site: &Site, node: &str, code: i32) -> Result<Ended> {
    let ended = site.sweep(node)?;
    assert_eq!(ended.code, Some(code), "{node}: {}", ended.stderr);
    settle(site)?;
    Ok(ended)
}

/// Waits until every report that the collector has is judged.
pub(crate) fn settle(site: &Site) -> Result<()> {
    let waiting = "SELECT count(*) FROM reports WHERE NOT judged";
    wait_for("the reports to be judged", PATIENCE, || Ok((count(site, waiting)? == 0).then_some(())))
}

/// The one number that a query gives.
pub(crate) fn count(site: &Site, query: &str) -> Result<i64> {
    site.count(query)
}

/// A node, as the collector shows it.
pub(crate) fn node(collector: &Collector, id: &str) -> Result<Value> {
    collector.json(&format!("/v1/nodes/{id}"))
}

/// Waits until a node has a state.
pub(crate) fn wait_for_state(collector: &Collector, id: &str, state: &str) -> Result<Value> {
    wait_for(&format!("{id} to be {state}"), PATIENCE, || {
        Ok(Some(node(collector, id)?).filter(|node| node["state"] == state))
    })
}

/// Every action, the newest first.
pub(crate) fn actions(collector: &Collector) -> Result<Vec<Value>> {
    match collector.json("/v1/actions")?["actions"].take() {
        Value::Array(actions) => Ok(actions),
        other => anyhow::bail!("actions are {other}"),
    }
}

/// Waits until the newest action is in `state`.
pub(crate) fn wait_for_action(collector: &Collector, state: ActionState) -> Result<Value> {
    wait_for(&format!("an action to be {}", state.name()), PATIENCE, || {
        Ok(actions(collector)?.into_iter().next().filter(|action| action["state"] == state.name()))
    })
}

/// Holds the newest action to its state and to words in its reason.
pub(crate) fn check_action(collector: &Collector, state: ActionState, says: &str) -> Result<Value> {
    let action = actions(collector)?.into_iter().next().context("there is no action")?;
    assert_eq!(action["state"], state.name(), "{action}");
    assert!(action["reason"].as_str().is_some_and(|reason| reason.contains(says)), "{action}");
    Ok(action)
}
