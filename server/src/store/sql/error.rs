//! Why a statement failed, and what that means for whoever sent it.

use std::time::Duration;

use postgres::error::SqlState;
use rusqlite::ErrorCode;

use super::Unfit;

pub(crate) type SqlResult<T> = Result<T, SqlError>;

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SqlError {
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    #[error(transparent)]
    Postgres(postgres::Error),
    #[error("the column {column} cannot be used")]
    Unfit {
        column: String,
        #[source]
        reason: Unfit,
    },
    #[error("the value of the parameter {place} cannot be stored")]
    Parameter {
        /// From 1.
        place: usize,
        #[source]
        reason: Unfit,
    },
    #[error("the row is not there")]
    NoRow,
    #[error("it took longer than {} s, the limit of a read", .limit.as_secs_f64())]
    TooLong { limit: Duration },
}

/// What a failure means for whoever sent the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Others wrote at the same time: the same again may well succeed.
    Conflict,
    /// The connection is of no use any more; another may be.
    Lost,
    /// The disk failed: what it keeps cannot be relied on.
    Broken,
    /// Anything else. It would fail again.
    Failed,
}

impl SqlError {
    /// What the failure means.
    pub(crate) fn condition(&self) -> Condition {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == ErrorCode::SystemIoFailure =>
            {
                Condition::Broken
            }
            Self::Postgres(error) => of_postgres(error),
            _ => Condition::Failed,
        }
    }

    /// Whether there was no room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(failure, _)) => failure.code == ErrorCode::DiskFull,
            Self::Postgres(error) => error.code() == Some(&SqlState::DISK_FULL),
            _ => false,
        }
    }

    /// Whether a rule of uniqueness was broken.
    pub(crate) fn is_duplicate(&self) -> bool {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(failure, _)) => {
                failure.code == ErrorCode::ConstraintViolation
            }
            Self::Postgres(error) => error.code() == Some(&SqlState::UNIQUE_VIOLATION),
            _ => false,
        }
    }
}

/// By the class of its SQLSTATE, as in PostgreSQL's appendix A. Errors without one are
/// those of the connection.
fn of_postgres(error: &postgres::Error) -> Condition {
    let Some(code) = error.code() else { return Condition::Lost };
    match code.code() {
        "40001" | "40P01" => Condition::Conflict,
        // A standby, which a failover made of the server or which it was: look for another.
        "25006" => Condition::Lost,
        // No more connections, now.
        "53300" => Condition::Lost,
        code if code.starts_with("08") || code.starts_with("57P") => Condition::Lost,
        _ => Condition::Failed,
    }
}
