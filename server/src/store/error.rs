//! Why the store could not be opened, read or written.

use std::path::PathBuf;

use congruent_protocol::digest::Digest;
use congruent_protocol::ledger::LedgerError;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("cannot open the database {}", .path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("the database {} is not there; `congruent-server serve` makes it", .0.display())]
    Missing(PathBuf),
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
        "the database {} is of version {found}, from a newer congruent-server; this one knows version {known}: \
         run the newer one, or restore a backup from before the upgrade",
        .path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error(
        "the database {} is of version {found}, and this program reads version {known}; \
         start `congruent-server serve` once to bring it up to date",
        .path.display()
    )]
    Older { path: PathBuf, found: i64, known: i64 },
    #[error("the database {} is not a regular file; give `database` the path of one", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is not a database of congruent-server; give `database` another path", .0.display())]
    Foreign(PathBuf),
    #[error("cannot bring the database to version {version}")]
    Migrate {
        version: i64,
        #[source]
        source: rusqlite::Error,
    },
    #[error("cannot {action} in the database")]
    Query {
        action: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    #[error("cannot read what the database holds as {what}")]
    Stored {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("the database has no set of findings {0}, though a report names it")]
    NoSet(Digest),
    #[error("a first value in the database is not usable")]
    Ledger(#[source] LedgerError),
    #[error("cannot {action}: the store has stopped")]
    Stopped { action: &'static str },
}

/// Names the action that a failed statement was part of.
pub(super) fn to(action: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |source| StoreError::Query { action, source }
}
