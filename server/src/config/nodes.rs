//! The nodes that there are now: those that are enrolled. They come and go while the
//! collector runs.
//!
//! It is asked at every request, so it lives in memory. What it says is what the
//! store says: it is loaded from there at start, and changed right after each commit
//! that changes the store, before the next write.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use congruent_protocol::enrolment::SealKey;
use congruent_protocol::key::PublicKey;
use jiff::Timestamp;

use crate::store::EnrolmentRow;

/// A node that may report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its id, as in its reports.
    pub(crate) id: String,
    /// The group it is in.
    pub(crate) group: String,
    /// Its enrolment's id, which names the chain of its reports.
    pub(crate) enrolment: String,
    /// Its key's fingerprint.
    pub(crate) key: String,
    /// What signs its reports.
    pub(crate) public_key: PublicKey,
    /// What seals the first of them.
    pub(crate) first_seal: SealKey,
    /// Since when it is enrolled.
    pub(crate) since: Timestamp,
}

/// What is known of a name and a key that a certificate brings together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They are enrolled.
    Enrolled(Arc<Node>),
    /// The key was revoked.
    Revoked,
    /// No such enrolment is known.
    Unknown,
}

/// The nodes that there are.
#[derive(Debug, Default)]
pub(crate) struct Nodes(RwLock<Live>);

#[derive(Debug, Default)]
struct Live {
    nodes: BTreeMap<String, Arc<Node>>,
    revoked_keys: HashSet<String>,
}

impl Node {
    /// The node of an enrolment.
    pub(crate) fn enrolled(row: &EnrolmentRow) -> Self {
        Self {
            id: row.node.clone(),
            group: row.group.clone(),
            enrolment: row.id.clone(),
            key: row.key.clone(),
            public_key: row.public_key.clone(),
            first_seal: row.seal_key.clone(),
            since: row.enrolled_at,
        }
    }

    /// The last sign of life: of the last report, or of the enrolment.
    pub(crate) fn heard_at(&self, last_seen: Option<Timestamp>) -> Option<Timestamp> {
        last_seen.max(Some(self.since))
    }
}

impl Nodes {
    /// Adds what the store knows of enrolments.
    pub(crate) fn load(&self, enrolments: &[EnrolmentRow]) {
        enrolments.iter().for_each(|row| self.apply(row));
    }

    /// Takes in an enrolment as the store has it now.
    pub(crate) fn apply(&self, row: &EnrolmentRow) {
        if row.revoked_at.is_none() {
            return self.admit(Node::enrolled(row));
        }
        let mut live = self.change();
        if live.nodes.get(&row.node).is_some_and(|node| node.enrolment == row.id) {
            live.nodes.remove(&row.node);
        }
        live.revoked_keys.insert(row.key.clone());
    }

    /// The node of this id.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Node>> {
        self.look().nodes.get(id).cloned()
    }

    /// Whether there is a node of this id.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.look().nodes.contains_key(id)
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Node>> {
        self.look().nodes.values().cloned().collect()
    }

    /// Their ids, in order.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.look().nodes.keys().cloned().collect()
    }

    /// What is known of `node` with this key.
    pub(crate) fn standing(&self, node: &str, key: &str) -> Standing {
        let live = self.look();
        if live.revoked_keys.contains(key) {
            return Standing::Revoked;
        }
        live.nodes
            .get(node)
            .filter(|node| node.key == key)
            .map_or(Standing::Unknown, |node| Standing::Enrolled(Arc::clone(node)))
    }

    /// Takes a node in that has enrolled.
    pub(crate) fn admit(&self, node: Node) {
        self.change().nodes.insert(node.id.clone(), Arc::new(node));
    }

    /// Forgets an enrolled node, and remembers that its key is revoked.
    pub(crate) fn revoke(&self, id: &str) {
        let mut live = self.change();
        if let Some(node) = live.nodes.remove(id) {
            live.revoked_keys.insert(node.key.clone());
        }
    }

    fn look(&self) -> std::sync::RwLockReadGuard<'_, Live> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> std::sync::RwLockWriteGuard<'_, Live> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
