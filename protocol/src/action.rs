//! The order to a platform, as its receiver gets it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decision::{Decision, Target};
use crate::digest::Digest;
use crate::drift::Finding;
use crate::report::{ContainerIdentity, LayerReport};
use crate::verification::{ManifestId, State};

/// The version of the JSON of orders.
pub const ORDER_SCHEMA: u32 = 1;
/// The most findings that an order carries; it says how many there are.
pub const ORDER_FINDINGS: usize = 100;

/// The order to replace or quarantine a node, or a container on it. The body of the webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Order {
    /// [`ORDER_SCHEMA`].
    pub schema_version: u32,
    /// `congruent.action.replace` or `congruent.action.quarantine`.
    #[serde(rename = "type")]
    pub order_type: String,
    /// The action's id, the same in every delivery: what makes it idempotent.
    pub action_id: String,
    /// When the action was planned.
    pub planned_at: Timestamp,
    /// What is to be replaced or quarantined.
    #[serde(default)]
    pub target: OrderTarget,
    /// The node it is about.
    pub node: String,
    /// The container on it that it is about; none where it is the node itself. Where the
    /// target is the node, it is the container that gave cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<OrderedContainer>,
    /// Its group.
    pub group: String,
    /// Its group's environment.
    pub environment: String,
    /// The state that the decision is about.
    pub state: State,
    /// What the node was held to.
    pub manifest: Option<ManifestId>,
    /// The root that was observed.
    pub observed_root: Option<Digest>,
    /// What policy said, and why.
    pub decision: Decision,
    /// The digest of the whole set of findings.
    pub findings_digest: Digest,
    /// How many findings there are.
    pub findings_total: u64,
    /// The first of them, in tree order.
    pub findings: Vec<Finding>,
}

/// What an order is carried out on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum OrderTarget {
    /// The node, with all that runs on it.
    #[default]
    Node,
    /// One container.
    Container,
}

impl OrderTarget {
    /// What a decision about a node, or about a container on it, is carried out on.
    pub fn of(target: Target, is_container: bool) -> Self {
        match (is_container, target) {
            (true, Target::Subject) => Self::Container,
            (false, _) | (true, Target::Node) => Self::Node,
        }
    }

    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Container => "container",
        }
    }
}

/// What a driver needs to know of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderedContainer {
    /// Which container it is.
    #[serde(flatten)]
    pub identity: ContainerIdentity,
    /// Layers that are damaged where they lie, lowest first. Each must be purged before
    /// anything is started anew: a replacement would lie on the same copy. One is one
    /// cause, and all containers that share it are affected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purge: Vec<LayerReport>,
}

/// Where an action is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ActionState {
    /// Decided, not ordered; the action says why.
    Held,
    /// Ordered; the platform has not been told yet.
    Proposed,
    /// The platform has the order; open until a successor is verified.
    Dispatched,
    /// The platform could not be told, and no more tries are left.
    Failed,
    /// No longer called for: before it reached the platform, or because its node's
    /// enrolment was revoked.
    Withdrawn,
}

impl ActionState {
    /// The name, as in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Proposed => "proposed",
            Self::Dispatched => "dispatched",
            Self::Failed => "failed",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether the action takes its group's budget.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Proposed | Self::Dispatched)
    }
}
