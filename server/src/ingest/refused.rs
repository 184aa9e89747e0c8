//! Why a report is refused: the caller's fault, or ours for now. Never a verdict.

use congruent_protocol::digest::Digest;
use congruent_protocol::manifest::EntriesError;
use congruent_protocol::path::{TreePath, escape};
use congruent_protocol::recompute::RecomputeError;
use congruent_protocol::verification::State;

use crate::config::AcceptError;
use crate::store::StoreError;

/// Why a report is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the report is over {limit} bytes, the limit of this collector")]
    TooLarge { limit: usize },
    #[error("the report did not arrive whole")]
    Cut,
    #[error("the report is not JSON of the shape of a report")]
    Malformed(#[source] serde_json::Error),
    #[error("the report has the number {0}; reports are numbered from 1")]
    Number(u64),
    #[error("the report's {what} is over {limit} bytes")]
    TooLong { what: &'static str, limit: usize },
    #[error(
        "the report is of schema version {found}; this collector reads version {known}: upgrade the older of the two"
    )]
    Version { found: u64, known: u32 },
    #[error("the report is of node \"{}\", the token of node \"{}\"", escape(.claimed.as_bytes()), escape(.owner.as_bytes()))]
    WrongNode { claimed: String, owner: String },
    #[error(
        "report {sequence} was received before with other content; the newest is {newest}, so the next is {next}",
        next = .newest + 1
    )]
    Conflict { sequence: u64, newest: u64 },
    #[error("the manifest with the root {root} is {accepted}, the report calls it {}", escape(.claimed.as_bytes()))]
    OtherManifest { root: Digest, accepted: String, claimed: String },
    #[error("the report claims the state {claimed}, its findings and coverage make it {computed}", claimed = .claimed.name(), computed = .computed.name())]
    OtherState { claimed: State, computed: State },
    #[error("the report claims conditional = {claimed}, its findings and coverage make it {computed}")]
    OtherCondition { claimed: bool, computed: bool },
    #[error("the report's coverage does not hold: {0}")]
    Coverage(String),
    #[error("the report claims the root {claimed}, its findings and the manifest give {computed}")]
    OtherRoot { claimed: Digest, computed: Digest },
    #[error("the report's manifests are no stack")]
    Stack(#[source] AcceptError),
    #[error("{0}")]
    Finding(String),
    #[error("the accepted manifest {manifest} cannot be read again")]
    Manifest {
        manifest: String,
        #[source]
        source: EntriesError,
    },
    #[error("the node's group is not configured at the collector any more; put it back, or revoke the node")]
    NoGroup,
    #[error("the collector cannot store the report")]
    Store(#[source] StoreError),
    #[error("the collector failed")]
    Failed,
}

impl Refused {
    /// The word for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "body-too-large",
            Self::Cut => "incomplete-body",
            Self::Malformed(_) | Self::Number(_) | Self::TooLong { .. } => "malformed",
            Self::Version { .. } => "unsupported-version",
            Self::WrongNode { .. } => "wrong-node",
            Self::Conflict { .. } => "sequence-conflict",
            Self::OtherManifest { .. } | Self::Stack(_) => "manifest-mismatch",
            Self::OtherState { .. } | Self::OtherCondition { .. } => "state-mismatch",
            Self::Coverage(_) => "coverage-refused",
            Self::OtherRoot { .. } => "root-mismatch",
            Self::Finding(_) => "finding-refused",
            Self::Manifest { .. } => "manifest-unavailable",
            Self::NoGroup => "group-unknown",
            Self::Store(_) => "store-unavailable",
            Self::Failed => "internal-error",
        }
    }

    /// The HTTP status: 4xx is the caller's fault, 503 means try again, 500 is
    /// a bug of ours.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::TooLarge { .. } => 413,
            Self::Cut => 408,
            Self::Malformed(_) | Self::Number(_) | Self::TooLong { .. } | Self::Version { .. } => 400,
            Self::WrongNode { .. } => 403,
            Self::Conflict { .. } => 409,
            Self::OtherManifest { .. }
            | Self::Stack(_)
            | Self::OtherState { .. }
            | Self::OtherCondition { .. }
            | Self::Coverage(_)
            | Self::OtherRoot { .. }
            | Self::Finding(_) => 422,
            Self::Manifest { .. } | Self::NoGroup | Self::Store(_) => 503,
            Self::Failed => 500,
        }
    }

    /// Whether it says something of the node, and is kept with it.
    pub(crate) fn is_evidence(&self) -> bool {
        (400..500).contains(&self.status())
    }

    /// A finding that is not one of the manifest, or a manifest that is not to
    /// be had: the first is the agent's fault, the second is not.
    pub(super) fn from_recompute(error: RecomputeError, manifest: String) -> Self {
        match error {
            RecomputeError::Entries(source) => Self::Manifest { manifest, source },
            RecomputeError::Attributes { path, source } => Self::attributes(&path, &source),
            other @ (RecomputeError::Order(_) | RecomputeError::Finding { .. }) => {
                Self::Finding(other.to_string())
            }
        }
    }

    fn attributes(path: &TreePath, source: &impl std::fmt::Display) -> Self {
        Self::Finding(format!("the finding at {path} does not hold: {source}"))
    }
}
