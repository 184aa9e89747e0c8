//! Signs of life between reports, and what the collector advises in its answers.
//!
//! A heartbeat is neither signed nor kept: it says that the node is there, and
//! changes no state.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where heartbeats are posted.
pub const HEARTBEAT_PATH: &str = "/v1/heartbeats";

/// Where a node whose clock is wrong finds out what the time is: it is answered as a
/// heartbeat is.
pub const CLOCK_PATH: &str = "/v1/clock";

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Heartbeat {
    /// The kernel's boot id.
    pub boot: String,
    /// The chain of the node's reports.
    pub chain: String,
    /// The number of its newest report; 0 before the first.
    pub sequence: u64,
    /// How many reports wait in its spool.
    pub spooled: u64,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeartbeatAnswer {
    /// What the node is to do from now on.
    pub advice: Advice,
}

/// What the collector tells a node. Whatever is missing is as the node's own
/// configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Advice {
    /// The collector's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Seconds from one full sweep to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<u64>,
    /// Seconds from one heartbeat to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_seconds: Option<u64>,
    /// How many first values are recorded of the node, as it runs now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_values: Option<u64>,
    /// What the collector takes at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// What the collector takes at most. Bytes are counted as they are once
/// decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Limits {
    /// The bytes of a report or a page.
    pub body_bytes: u64,
    /// The bytes of all pages of a report together.
    pub pages_bytes: u64,
}
