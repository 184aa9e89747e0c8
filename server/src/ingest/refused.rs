//! Why a report is refused: the caller's fault, or ours for now. Never a verdict.

use std::fmt;

use congruent_protocol::digest::Digest;
use congruent_protocol::manifest::EntriesError;
use congruent_protocol::path::{TreePath, escape};
use congruent_protocol::recompute::RecomputeError;
use congruent_protocol::report::{ChangeError, Facts, SealedError};
use congruent_protocol::seal::OutOfReach;
use congruent_protocol::verification::State;

use super::shorten;
use crate::config::AcceptError;
use crate::store::StoreError;

/// A machine, as its reports tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(super) boot: String,
    host: Option<String>,
}

impl Machine {
    pub(super) fn of(boot: &str, facts: &Facts) -> Self {
        Self { boot: boot.to_owned(), host: facts.host_name.clone() }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{} in ", shorten(&escape(host.as_bytes())))?;
        }
        write!(f, "boot {}", escape(self.boot.as_bytes()))
    }
}

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
    #[error("the report is of node \"{}\", the enrolment of node \"{}\"", escape(.claimed.as_bytes()), escape(.owner.as_bytes()))]
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
    #[error("the report is not what its node signed and sealed")]
    Sealed(#[source] SealedError),
    #[error("the report cannot be of this chain")]
    OutOfReach(#[source] OutOfReach),
    #[error("the report is of the chain \"{}\", the node's enrolment began the chain {enrolment}", escape(.claimed.as_bytes()))]
    WrongChain { claimed: String, enrolment: String },
    #[error("the findings of the report do not come together")]
    Change(#[source] ChangeError),
    #[error("the page is not the one that it is named after, {0}")]
    OtherPage(Digest),
    #[error(
        "the node was held to {0} first values, which are not those that are recorded: fewer are, or others"
    )]
    UnknownLedger(u64),
    #[error("the body is {0}; send zstd, or nothing compressed")]
    Encoding(String),
    #[error(
        "report {sequence} of this chain was made by two machines, {} and {}: the node's disk was cloned; revoke its \
         enrolment, and enrol each",
        .machines[0], .machines[1]
    )]
    Forked { sequence: u64, machines: Box<[Machine; 2]> },
    #[error(
        "two machines use this node's enrolment, which the boots {} and {} show: its disk was cloned; revoke it, and \
         enrol each",
        escape(.one.as_bytes()), escape(.other.as_bytes())
    )]
    Cloned { one: String, other: String },
    #[error("the node's enrolment has ended")]
    Revoked,
    #[error("the collector has too much to do; try again later")]
    Busy,
    #[error("what the report says of containers does not hold: {0}")]
    Container(String),
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
            Self::Sealed(SealedError::Seal(_)) | Self::OutOfReach(_) => "broken-seal",
            Self::Sealed(SealedError::Signature(_)) => "bad-signature",
            Self::Sealed(_) => "malformed",
            Self::WrongChain { .. } => "wrong-chain",
            Self::Change(ChangeError::UnknownBase(_)) => "unknown-base",
            Self::Change(ChangeError::MissingPages(_)) => "missing-pages",
            Self::Change(_) => "finding-refused",
            Self::OtherPage(_) | Self::Encoding(_) => "malformed",
            Self::UnknownLedger(_) => "unknown-ledger",
            Self::Forked { .. } => "cloned",
            // Apart, for refusals of one code keep one message, and the other's tells more.
            Self::Cloned { .. } => "two-boots",
            Self::Revoked => congruent_protocol::enrolment::code::REVOKED,
            Self::Busy => "busy",
            Self::Container(_) => "container-refused",
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
            Self::Sealed(SealedError::Seal(_) | SealedError::Signature(_)) | Self::OutOfReach(_) => 422,
            Self::Sealed(_) | Self::OtherPage(_) | Self::Encoding(_) => 400,
            Self::Revoked => 403,
            Self::WrongNode { .. } | Self::WrongChain { .. } => 422,
            Self::Change(ChangeError::UnknownBase(_) | ChangeError::MissingPages(_)) => 409,
            Self::Busy => 429,
            Self::Cloned { .. } | Self::Forked { .. } => 409,
            Self::Conflict { .. } => 409,
            Self::OtherManifest { .. }
            | Self::Stack(_)
            | Self::OtherState { .. }
            | Self::OtherCondition { .. }
            | Self::Coverage(_)
            | Self::OtherRoot { .. }
            | Self::Change(_)
            | Self::UnknownLedger(_)
            | Self::Container(_)
            | Self::Finding(_) => 422,
            Self::Manifest { .. } | Self::NoGroup | Self::Store(_) => 503,
            Self::Failed => 500,
        }
    }

    /// Whether it says something of the node, and is kept with it.
    pub(crate) fn is_evidence(&self) -> bool {
        (400..500).contains(&self.status()) && self.is_final()
    }

    /// Whether sending the same again, with more or later, changes nothing.
    pub(super) fn is_final(&self) -> bool {
        let is_asked_for = matches!(self.code(), "unknown-base" | "missing-pages" | "busy");
        self.status() < 500 && !is_asked_for
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

    fn attributes(path: &TreePath, source: &impl fmt::Display) -> Self {
        Self::Finding(format!("the finding at {path} does not hold: {source}"))
    }
}
