//! From what the rules gave to a decision, or to what is wrong with it.

use congruent_protocol::decision::Decision;
use congruent_protocol::path::escape;
use serde_json::Value as Json;

use super::error::PolicyError;

/// The actions that there are, as in JSON.
const ACTIONS: [&str; 4] = ["none", "observe", "quarantine", "replace"];
/// The most reasons, and the most controls.
const MAX_ITEMS: usize = 100;
/// The most characters of a reason or a control.
const MAX_CHARS: usize = 4000;

/// Holds what the rules gave to the shape of a decision. Lists come out
/// escaped, sorted and without repetition, however the rules wrote them.
pub(super) fn decision(outcome: Json) -> Result<Decision, PolicyError> {
    if let Some(action) = outcome.get("action").and_then(Json::as_str)
        && !ACTIONS.contains(&action)
    {
        let action = escape(action.as_bytes()).chars().take(100).collect();
        return Err(PolicyError::UnknownAction { action });
    }
    // An array of the members' values would pass for the object otherwise.
    if !outcome.is_object() {
        return Err(PolicyError::Shape { message: "it is not an object".to_owned() });
    }
    let mut decision: Decision =
        serde_json::from_value(outcome).map_err(|error| PolicyError::Shape { message: error.to_string() })?;
    decision.reasons = list("reasons", &decision.reasons)?;
    decision.controls = list("controls", &decision.controls)?;
    Ok(decision)
}

fn list(name: &str, items: &[String]) -> Result<Vec<String>, PolicyError> {
    let shape = |message| Err(PolicyError::Shape { message });
    if items.len() > MAX_ITEMS {
        return shape(format!("it has {} {name}; at most {MAX_ITEMS} are taken", items.len()));
    }
    if items.iter().any(|item| item.chars().count() > MAX_CHARS) {
        return shape(format!("one of its {name} is over {MAX_CHARS} characters"));
    }
    // Rules may quote what a node said; it must come out inert.
    let mut items: Vec<_> = items.iter().map(|item| escape(item.as_bytes()).into_owned()).collect();
    items.sort_unstable();
    items.dedup();
    Ok(items)
}
