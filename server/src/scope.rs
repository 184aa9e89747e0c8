//! What the collector is configured with, as evidence: recorded at start,
//! whenever it changed, so that the auditor's report needs the database alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use congruent_protocol::digest::Digest;
use congruent_protocol::verification::{ManifestId, Protected};
use serde::{Deserialize, Serialize};

use crate::config::{Accepted, Config, Group, Mode, Node};
use crate::policy::Policy;

/// Everything that decides which nodes are held to what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    pub(crate) policy_digest: Digest,
    pub(crate) engine: String,
    pub(crate) silent_after_seconds: i64,
    pub(crate) groups: Vec<ScopeGroup>,
    pub(crate) nodes: Vec<ScopeNode>,
}

/// A group, and what its nodes may be held to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScopeGroup {
    pub(crate) name: String,
    pub(crate) environment: String,
    pub(crate) mode: Mode,
    pub(crate) manifests: Vec<ScopeManifest>,
}

/// An accepted manifest, with the trusted keys that signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScopeManifest {
    #[serde(flatten)]
    pub(crate) id: ManifestId,
    pub(crate) protected: Protected,
}

/// A node, and its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScopeNode {
    pub(crate) id: String,
    pub(crate) group: String,
}

impl ScopeNode {
    fn of(node: &Node) -> Self {
        Self { id: node.id.clone(), group: node.group.clone() }
    }
}

impl Scope {
    /// The scope of a configuration, groups and a policy.
    pub(crate) fn of(config: &Config, groups: &BTreeMap<String, Arc<Group>>, policy: &Policy) -> Self {
        Self {
            policy_digest: policy.digest(),
            engine: policy.engine().to_owned(),
            silent_after_seconds: config.silent_after.as_secs(),
            groups: groups.values().map(|known| group(known)).collect(),
            nodes: config.nodes.all().iter().map(|node| ScopeNode::of(node)).collect(),
        }
    }
}

fn group(group: &Group) -> ScopeGroup {
    let manifest = |accepted: &Accepted| ScopeManifest { id: accepted.id(), protected: accepted.protected() };
    ScopeGroup {
        name: group.name.clone(),
        environment: group.environment.clone(),
        mode: group.mode,
        manifests: group.manifests.iter().map(manifest).collect(),
    }
}
