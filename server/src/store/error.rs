//! Why the store could not be opened, read or written.

use std::path::PathBuf;
use std::sync::Arc;

use congruent_protocol::digest::Digest;
use congruent_protocol::ledger::LedgerError;

use super::bodies::NamedBody;
use super::sql::{Condition, SqlError};
use crate::blobs::{BlobError, BlobName};

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("cannot open the database {}", .path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("cannot reach the database {server}")]
    Connect {
        server: String,
        #[source]
        source: postgres::Error,
    },
    #[error("the database {0} does not answer; this collector tries again by itself")]
    Away(String),
    #[error("the database {} is not there; `congruent-server serve` makes it", .0.display())]
    Missing(PathBuf),
    #[error("cannot start the store's thread")]
    Thread {
        #[source]
        source: std::io::Error,
    },
    #[error("cannot lock {}", .path.display())]
    Lock {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "another collector uses the database {}; stop it, or give this one a `database` of its own",
        .0.display()
    )]
    InUse(PathBuf),
    #[error(
        "the database {database} is of version {found}, from a newer congruent-server; this one knows version \
         {known}: run the newer one, or restore a backup from before the upgrade"
    )]
    Newer { database: String, found: i64, known: i64 },
    #[error(
        "the database {database} is of version {found}, and this program reads version {known}; \
         start `congruent-server serve` once to bring it up to date"
    )]
    Older { database: String, found: i64, known: i64 },
    #[error(
        "a copy into the database {0} was begun and not finished: run `congruent-server store copy` with \
         --replace-unfinished, or give `database` another one"
    )]
    Unfinished(String),
    #[error("the database {} is not a regular file; give `database` the path of one", .0.display())]
    NotAFile(PathBuf),
    #[error("{0} is not a database of congruent-server; give `database` another one")]
    Foreign(String),
    #[error("cannot bring the database to version {version}")]
    Migrate {
        version: i64,
        #[source]
        source: SqlError,
    },
    #[error("cannot {action} in the database")]
    Query {
        action: &'static str,
        #[source]
        source: SqlError,
    },
    #[error("cannot read what the database holds as {what}")]
    Stored {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    /// What a read came upon; [`super::Store::read`] reads it and begins anew.
    #[error("the body of report {} of node {:?} lies in the blob {}, which only a running collector reads",
        .0.sequence, .0.node, .0.blob)]
    InBlob(Box<NamedBody>),
    #[error("cannot read the body of report {} of node {:?}, which lies in the blob {}",
        .body.sequence, .body.node, .body.blob)]
    NoBody {
        body: Box<NamedBody>,
        #[source]
        source: Arc<BlobError>,
    },
    #[error("cannot decompress the body of report {} of node {:?}, which lies in the blob {}",
        .body.sequence, .body.node, .body.blob)]
    Unpack {
        body: Box<NamedBody>,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot keep the body of a report as a blob")]
    Place(#[source] BlobError),
    #[error("cannot remove the body of a report that is gone")]
    Remove(#[source] BlobError),
    #[error("the blob {0} was put so long ago that its report is to be sent again")]
    TakenTooLate(BlobName),
    #[error("the kernel gives no random numbers")]
    Random(#[source] getrandom::Error),
    #[error("the database has no set of findings {0}, though a report names it")]
    NoSet(Digest),
    #[error("a first value in the database is not usable")]
    Ledger(#[source] LedgerError),
    /// Another collector took the lead in between.
    #[error("another collector leads now")]
    Fenced,
    /// What others changed is not in memory yet.
    #[error("what other collectors changed is not taken in yet")]
    Stale,
    #[error("cannot take in what other collectors changed")]
    Sharing(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Of the others in a batch that failed as a whole.
    #[error("{0}")]
    Together(String),
    #[error("cannot {action}: the store has stopped")]
    Stopped { action: &'static str },
}

impl StoreError {
    /// Whether a report's body cannot be had: other reports may well be.
    pub(crate) fn is_of_body(&self) -> bool {
        matches!(self, Self::NoBody { .. } | Self::Unpack { .. })
    }

    /// Whether a report's body is missing or altered, and does not come back by itself.
    pub(crate) fn is_lost_body(&self) -> bool {
        match self {
            Self::NoBody { source, .. } => source.is_lost(),
            other => other.is_of_body(),
        }
    }

    /// Whether there was no room on the disk.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Query { source, .. } if source.is_full())
    }

    /// What the failure means for whoever asked.
    pub(super) fn condition(&self) -> Condition {
        match self {
            Self::Query { source, .. } | Self::Migrate { source, .. } => source.condition(),
            Self::Connect { .. } | Self::Away(_) => Condition::Lost,
            _ => Condition::Failed,
        }
    }
}

/// Names the action that a failed statement was part of.
pub(super) fn to(action: &'static str) -> impl Fn(SqlError) -> StoreError {
    move |source| StoreError::Query { action, source }
}
