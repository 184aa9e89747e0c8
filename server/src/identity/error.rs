//! Why a node was not enrolled, or its certificate not renewed.

use congruent_protocol::enrolment::code;
use congruent_protocol::path::escape;
use jiff::Timestamp;

use super::certificates::IssueError;
use super::join::JoinError;
use super::proof::ProofError;
use crate::store::StoreError;

/// Why a node is not enrolled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    #[error(
        "the request is of schema version {found}; this collector reads version {known}: upgrade the older of the two"
    )]
    Version { found: u32, known: u32 },
    #[error("the node's name {:?} must be 1 to 200 printable characters without \"/\", and not dots alone; give another with --node", escape(.0.as_bytes()))]
    Name(String),
    #[error("the node's clock says {node}, the collector's {server}; set the one that is wrong")]
    ClockSkew { node: Timestamp, server: Timestamp },
    #[error(
        "the node's certificate is valid from {from} on, and the collector's clock says {server}; set the clock that is wrong"
    )]
    NotYet { from: Timestamp, server: Timestamp },
    #[error("cannot take the certificate signing request")]
    Proof(#[source] ProofError),
    #[error("cannot admit the node")]
    Join(#[source] JoinError),
    #[error("the join token is for the group {0:?}, which does not exist any more; make a token for another")]
    NoGroup(String),
    #[error(
        "another node is enrolled as {node:?}, since {since}; revoke it with `congruent-server node revoke`, or give \
         this one another name with --node"
    )]
    NodeTaken { node: String, since: Timestamp },
    #[error(
        "this key is enrolled as {node:?}, in the group {group:?}; on a copied disk remove the agent's state \
         directory and enrol again, else revoke that node first"
    )]
    KeyTaken { node: String, group: String },
    #[error(
        "this node was revoked at {at}; to let it join again, remove its state directory and use a new token"
    )]
    Revoked { at: Timestamp },
    #[error("the request is for another key than the certificate's; a new key needs a new enrolment")]
    OtherKey,
    #[error(
        "the node's certificate ended at {ended}, longer ago than can be renewed; enrol again with a new token"
    )]
    TooLate { ended: Timestamp },
    #[error("cannot issue the certificate")]
    Issue(#[source] IssueError),
    #[error("the kernel gives no random numbers")]
    Random(#[source] getrandom::Error),
    #[error("the collector cannot record the enrolment")]
    Store(#[source] StoreError),
}

impl EnrolError {
    /// The word for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Version { .. } => "unsupported-version",
            Self::Name(_) => "node-refused",
            Self::ClockSkew { .. } | Self::NotYet { .. } => code::CLOCK_SKEW,
            Self::Proof(_) | Self::OtherKey => "csr-refused",
            Self::Join(why) => why.code(),
            Self::NoGroup(_) => "group-unknown",
            Self::NodeTaken { .. } => code::NODE_TAKEN,
            Self::KeyTaken { .. } => code::KEY_TAKEN,
            Self::Revoked { .. } => code::REVOKED,
            Self::TooLate { .. } => code::CERTIFICATE_EXPIRED,
            Self::Issue(_) | Self::Random(_) => "internal-error",
            Self::Store(_) => "store-unavailable",
        }
    }

    /// The HTTP status: 4xx is the caller's fault, 503 means try again, 500 is a
    /// bug of ours.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Version { .. } => 400,
            Self::Name(_) | Self::ClockSkew { .. } | Self::Proof(_) => 422,
            Self::Join(JoinError::Store(_)) | Self::Store(_) => 503,
            Self::Join(JoinError::TooMany { .. }) => 429,
            Self::Join(_)
            | Self::Revoked { .. }
            | Self::NotYet { .. }
            | Self::TooLate { .. }
            | Self::OtherKey => 403,
            Self::NoGroup(_) | Self::NodeTaken { .. } | Self::KeyTaken { .. } => 409,
            Self::Issue(_) | Self::Random(_) => 500,
        }
    }

    /// The collector's time, where clocks are what is wrong.
    pub(crate) fn server_time(&self) -> Option<Timestamp> {
        match self {
            Self::ClockSkew { server, .. } | Self::NotYet { server, .. } => Some(*server),
            _ => None,
        }
    }
}
