//! What policy says of a state.

use serde::{Deserialize, Serialize};

/// The outcome of policy for one subject in one state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// What is to happen.
    pub action: Verdict,
    /// To what. Of a node it is always the node.
    #[serde(default, skip_serializing_if = "Target::is_subject")]
    pub target: Target,
    /// How bad it is.
    pub severity: Severity,
    /// Why, for people; sorted.
    pub reasons: Vec<String>,
    /// The controls that this bears on, such as `PCI-DSS-11.5.2`; sorted.
    pub controls: Vec<String>,
}

/// To what something is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// To what was judged.
    #[default]
    Subject,
    /// To the whole node, also where one of its containers was judged.
    Node,
}

impl Target {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
    fn is_subject(&self) -> bool {
        *self == Self::Subject
    }
}

/// What is to happen to a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing.
    None,
    /// It is shown and recorded.
    Observe,
    /// It is taken out of service and kept.
    Quarantine,
    /// It is replaced by a fresh copy.
    Replace,
}

impl Verdict {
    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Observe => "observe",
            Self::Quarantine => "quarantine",
            Self::Replace => "replace",
        }
    }
}

/// How bad a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Not at all.
    None,
    /// Worth a look some day.
    Low,
    /// Worth a look.
    Medium,
    /// Worth a look today.
    High,
    /// Worth waking someone.
    Critical,
}

impl Severity {
    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}
