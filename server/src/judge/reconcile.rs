//! At start, and when a group changes: takes their word on which nodes there
//! are, and on what they may be held to.

use congruent_protocol::action::{ActionState, OrderTarget};
use congruent_protocol::verification::State;
use jiff::Timestamp;

use super::act::{hold_order, withdraw};
use crate::config::{Config, Group};
use crate::ingest::{NEVER_REPORTED, not_accepted};
use crate::store::{StoreError, Tx};
use crate::subject::SubjectId;

/// Puts new nodes in, and gives up what was to happen to those that are gone.
/// What was congruent with a manifest that is no longer accepted is `unknown`;
/// the other way round, the next report tells.
pub(crate) fn reconcile(tx: &Tx<'_>, config: &Config, now: Timestamp) -> Result<(), StoreError> {
    for known in &config.nodes.all() {
        let (id, group) = (&known.id, &known.group);
        match tx.node(id)? {
            None => tx.insert_subject(&SubjectId::node(id), group, now, NEVER_REPORTED)?,
            Some(row) if row.group.as_ref() != Some(group) => tx.set_node_group(id, Some(group))?,
            Some(_) => {}
        }
        if let Some(group) = config.group_of(id) {
            hold_to(tx, id, &group, now)?;
        }
    }
    for action in tx.pending_actions()? {
        if !config.nodes.contains(&action.subject.node) {
            withdraw(tx, &action, "the node is not enrolled any more".to_owned(), now)?;
        }
    }
    Ok(())
}

/// Gives up what was to happen to a node that is gone. An order that the platform has
/// is over, too: whoever joins under that name is another machine.
pub(crate) fn retire(tx: &Tx<'_>, node: &str, now: Timestamp) -> Result<(), StoreError> {
    const REASON: &str = "the node's enrolment was revoked";
    tx.set_node_group(node, None)?;
    for action in tx.pending_actions()?.iter().filter(|action| action.subject.node == node) {
        withdraw(tx, action, REASON.to_owned(), now)?;
    }
    for ordered in tx.dispatched_actions(node)? {
        tx.move_action(&ordered.id, ActionState::Withdrawn, REASON, now)?;
    }
    retire_containers(tx, node, now)?;
    Ok(())
}

/// The note of a container that its node does not list any more.
pub(crate) const OVER: &str = "the container runs no more";
/// The note of one whose node is another machine now, or none.
const OVER_WITH_NODE: &str = "the container runs no more: its node's enrolment has ended";

/// Gives up what was to happen to a container that runs no more, and forgets where it
/// stands. Gives whether an action is over with it. Also an order that the platform has is:
/// whatever runs in its place is another container.
pub(crate) fn end_container(
    tx: &Tx<'_>,
    container: &SubjectId,
    note: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let newest = tx.newest_action(container)?;
    let is_live = newest.as_ref().is_some_and(|action| action.state.is_open());
    match &newest {
        Some(action) if matches!(action.state, ActionState::Held | ActionState::Proposed) => {
            withdraw(tx, action, note.to_owned(), now)?;
        }
        // The whole node is to be replaced, whatever runs on it meanwhile.
        Some(action)
            if action.state == ActionState::Dispatched && tx.target_of(action)? != OrderTarget::Node =>
        {
            tx.move_action(&action.id, ActionState::Withdrawn, note, now)?;
        }
        _ => {}
    }
    tx.end_container(container, now, note)?;
    Ok(is_live)
}

/// Ends the containers of a node that is gone, or another machine now.
pub(crate) fn retire_containers(tx: &Tx<'_>, node: &str, now: Timestamp) -> Result<(), StoreError> {
    for row in tx.subjects_of(node)?.iter().filter(|row| row.id.container.is_some()) {
        end_container(tx, &row.id, OVER_WITH_NODE, now)?;
    }
    Ok(())
}

/// Holds the nodes of a group to a new version of it. Their orders wait until
/// they are judged anew: what was planned under the old version may not be
/// called for any more.
pub(crate) fn reconcile_group(
    tx: &Tx<'_>,
    config: &Config,
    group: &Group,
    now: Timestamp,
) -> Result<(), StoreError> {
    let reason =
        format!("the group {} was changed; the order waits until its new version calls for it", group.name);
    for node in config.nodes.all().iter().filter(|node| node.group == group.name) {
        hold_to(tx, &node.id, group, now)?;
        for subject in tx.subjects_of(&node.id)? {
            hold_order(tx, &subject.id, &reason, now)?;
        }
    }
    Ok(())
}

/// What stands on a manifest that its node's group does not accept is `unknown`.
fn hold_to(tx: &Tx<'_>, node: &str, group: &Group, now: Timestamp) -> Result<(), StoreError> {
    for subject in tx.subjects_of(node)? {
        let report = subject.report_id.map(|report| tx.report(report)).transpose()?.flatten();
        if let Some(manifest) = report.and_then(|report| report.report.manifest)
            && !matches!(subject.state, State::Unknown | State::Silent)
            && group.accepted(&manifest).is_none()
        {
            let note = not_accepted(&manifest, group);
            tx.change_state(&subject.id, State::Unknown, Some(&note), now)?;
        }
    }
    Ok(())
}
