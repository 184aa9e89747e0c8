//! At start: takes the configuration's word on which nodes there are, and on
//! what they may be held to.

use congruent_protocol::verification::State;
use jiff::Timestamp;

use super::act::withdraw;
use crate::config::Config;
use crate::ingest::{NEVER_REPORTED, not_accepted};
use crate::store::{StoreError, Tx};

/// Puts new nodes in, and gives up what was to happen to those that are gone.
/// What was congruent with a manifest that is no longer accepted is `unknown`;
/// the other way round, the next report tells.
pub(crate) fn reconcile(tx: &Tx<'_>, config: &Config, now: Timestamp) -> Result<(), StoreError> {
    for id in &config.nodes.ids() {
        let Some(node) = tx.node(id)? else {
            tx.insert_node(id, now, NEVER_REPORTED)?;
            continue;
        };
        let (Some(group), Some(report_id)) = (config.group_of(id), node.report_id) else { continue };
        let manifest = tx.report(report_id)?.and_then(|report| report.report.manifest);
        if let Some(manifest) = manifest
            && !matches!(node.state, State::Unknown | State::Silent)
            && group.accepted(&manifest).is_none()
        {
            let note = not_accepted(&manifest, group);
            tx.change_state(id, State::Unknown, Some(&note), now, None)?;
        }
    }
    for action in tx.pending_actions()? {
        if !config.nodes.contains(&action.node) {
            withdraw(tx, &action, "the node is not configured any more".to_owned(), now)?;
        }
    }
    Ok(())
}

/// Gives up what was to happen to a node that is gone.
pub(crate) fn retire(tx: &Tx<'_>, node: &str, now: Timestamp) -> Result<(), StoreError> {
    for action in tx.pending_actions()?.iter().filter(|action| action.node == node) {
        withdraw(tx, action, "the node's enrolment was revoked".to_owned(), now)?;
    }
    Ok(())
}
