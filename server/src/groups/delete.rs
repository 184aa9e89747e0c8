//! Deleting groups. The versions stay, as evidence, and a last one says who ended it.

use std::sync::Arc;

use serde_json::json;

use super::{EditError, GroupEditor};
use crate::config::Config;
use crate::identity::Author;
use crate::scope::Scope;
use crate::store::{GroupRow, StoreError, Tx};

impl GroupEditor {
    /// Deletes a group that no node is in and no join token leads to. Gives the version
    /// that ended it.
    pub(crate) async fn delete(&self, author: Author, name: String) -> Result<GroupRow, EditError> {
        if self.config.groups.get(&name).is_some_and(|group| group.version.is_none()) {
            return Err(EditError::Declared(name));
        }
        let (config, policy, now) = (Arc::clone(&self.config), Arc::clone(&self.policy), (self.clock)());
        let deleted = name.clone();
        let work = move |tx: &Tx<'_>| {
            let Some(current) = tx.group(&deleted)? else { return Ok(Err(None)) };
            if let Some(error) = users(tx, &config, &current, now)? {
                return Ok(Err(Some(error)));
            }
            let row = GroupRow {
                version: current.version + 1,
                at: now,
                operator: author.operator.name.clone(),
                reason: author.reason.clone(),
                is_deleted: true,
                ..current
            };
            tx.insert_group_version(&row)?;
            let detail = json!({ "version": row.version });
            tx.audit_change(&author, now, "group-deleted", &format!("group {deleted}"), &detail)?;
            let mut groups = (*config.groups.all()).clone();
            groups.remove(&deleted);
            tx.record_scope(now, &Scope::of(&config, &groups, &policy))?;
            Ok(Ok(row))
        };
        let config = Arc::clone(&self.config);
        let then = move |outcome: &Result<GroupRow, Option<EditError>>| {
            if let Ok(row) = outcome {
                config.groups.remove(&row.name);
            }
        };
        let outcome = self.store.write_then("delete a group", work, then).await?;
        outcome.map_err(|error| error.unwrap_or_else(|| self.unknown(name)))
    }
}

/// What still needs a group. Who is enrolled is in memory as the store has it, while a
/// write is under way.
fn users(
    tx: &Tx<'_>,
    config: &Config,
    group: &GroupRow,
    now: jiff::Timestamp,
) -> Result<Option<EditError>, StoreError> {
    let name = || group.name.clone();
    let nodes = config.nodes.all();
    let mut inside = nodes.iter().filter(|node| node.group == group.name);
    if let Some(first) = inside.next() {
        let count = 1 + inside.count();
        return Ok(Some(EditError::HasNodes { name: name(), count, node: first.id.clone() }));
    }
    let tokens = tx.live_join_tokens(&group.name, now)?;
    Ok((!tokens.is_empty()).then(|| EditError::HasTokens { name: name(), tokens }))
}
