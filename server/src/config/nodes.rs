//! The nodes that there are now. Those of the configuration stay as they are;
//! those that enrolled come and go while the collector runs.
//!
//! It is asked at every request, so it lives in memory. What it says of enrolled
//! nodes is what the store says: it is loaded from there at start, and changed in
//! the transactions that change the store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use super::TokenHash;
use crate::store::EnrolmentRow;

/// A node that may report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its id, as in its reports.
    pub(crate) id: String,
    /// The group it is in.
    pub(crate) group: String,
    /// Its enrolment; none where it is configured.
    pub(crate) membership: Option<Membership>,
}

/// What makes a node one that has enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    /// The enrolment's id.
    pub(crate) enrolment: String,
    /// Its key's fingerprint.
    pub(crate) key: String,
    /// Since when.
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
#[derive(Debug)]
pub(crate) struct Nodes {
    /// Which configured node a bearer token belongs to.
    tokens: HashMap<TokenHash, String>,
    live: RwLock<Live>,
}

#[derive(Debug, Default)]
struct Live {
    nodes: BTreeMap<String, Arc<Node>>,
    revoked_keys: HashSet<String>,
}

impl Node {
    /// The node of an enrolment.
    pub(crate) fn enrolled(row: &EnrolmentRow) -> Self {
        let (enrolment, key, since) = (row.id.clone(), row.key.clone(), row.enrolled_at);
        let membership = Some(Membership { enrolment, key, since });
        Self { id: row.node.clone(), group: row.group.clone(), membership }
    }

    /// The last sign of life: of the last report, or of the enrolment.
    pub(crate) fn heard_at(&self, last_seen: Option<Timestamp>) -> Option<Timestamp> {
        last_seen.max(self.membership.as_ref().map(|membership| membership.since))
    }
}

impl Nodes {
    /// The nodes of a configuration, and which token is whose.
    pub(super) fn configured(nodes: BTreeMap<String, Node>, tokens: HashMap<TokenHash, String>) -> Self {
        let nodes = nodes.into_iter().map(|(id, node)| (id, Arc::new(node))).collect();
        Self { tokens, live: RwLock::new(Live { nodes, revoked_keys: HashSet::new() }) }
    }

    /// Adds what the store knows of enrolments. A configured node goes before an
    /// enrolled one of the same name.
    pub(crate) fn load(&self, enrolments: &[EnrolmentRow]) {
        for row in enrolments {
            match row.revoked_at {
                Some(_) => {
                    self.change().revoked_keys.insert(row.key.clone());
                }
                None if self.get(&row.node).is_some_and(|node| node.membership.is_none()) => {}
                None => self.admit(Node::enrolled(row)),
            }
        }
    }

    /// The node of this id.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Node>> {
        self.look().nodes.get(id).cloned()
    }

    /// Whether there is a node of this id.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.look().nodes.contains_key(id)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.look().nodes.len()
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Node>> {
        self.look().nodes.values().cloned().collect()
    }

    /// Their ids, in order.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.look().nodes.keys().cloned().collect()
    }

    /// The configured node that a bearer token belongs to.
    pub(crate) fn of_token(&self, token: &TokenHash) -> Option<Arc<Node>> {
        self.get(self.tokens.get(token)?)
    }

    /// What is known of `node` with this key.
    pub(crate) fn standing(&self, node: &str, key: &str) -> Standing {
        let live = self.look();
        if live.revoked_keys.contains(key) {
            return Standing::Revoked;
        }
        let is_its_key =
            |node: &&Arc<Node>| node.membership.as_ref().is_some_and(|membership| membership.key == key);
        live.nodes
            .get(node)
            .filter(is_its_key)
            .map_or(Standing::Unknown, |node| Standing::Enrolled(Arc::clone(node)))
    }

    /// Takes a node in that has enrolled.
    pub(crate) fn admit(&self, node: Node) {
        self.change().nodes.insert(node.id.clone(), Arc::new(node));
    }

    /// Forgets an enrolled node, and remembers that its key is revoked.
    pub(crate) fn revoke(&self, id: &str) {
        let mut live = self.change();
        if let Some(membership) = live.nodes.get(id).and_then(|node| node.membership.clone()) {
            live.nodes.remove(id);
            live.revoked_keys.insert(membership.key);
        }
    }

    fn look(&self) -> std::sync::RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> std::sync::RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }
}
