//! A copy of everything from one database into another, of either kind, that proves itself:
//! afterwards each table's digest is worked out on both sides.
//!
//! The source is read as it stands at one time, row by row; what waits in memory is
//! bounded. The target is marked as unfinished until all is proven, and no
//! collector uses it before.

mod online;
mod proof;
mod target;
#[cfg(test)]
mod tests;

use std::fs::File;

pub(crate) use online::{known_version, make_current, save};
pub(crate) use proof::TableProof;
use proof::{Prover, each_row, first_difference, prove};
use target::{Target, Waiting};

use super::error::to;
use super::sql::{Connection, Next, Purpose, SqlError};
use super::tables::TABLES;
use super::{Database, StoreError, lock, schema};

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the database {database} is not empty: its table {table} holds rows; give one that nothing was written to"
    )]
    NotEmpty { database: String, table: &'static str },
    #[error("the database {0} cannot be copied to itself")]
    Same(String),
    #[error(
        "the database {0} holds what another version of congruent-server began to copy; remove it, or give another"
    )]
    Remains(String),
    #[error("the database {} is damaged: {said}", .path.display())]
    Damaged { path: std::path::PathBuf, said: String },
    #[error("cannot write the table {table}")]
    Write {
        table: &'static str,
        #[source]
        source: SqlError,
    },
    #[error(
        "the copy is not what was copied: the table {table} differs, first at {key}; what was written stays \
         marked as unfinished"
    )]
    Differs { table: &'static str, key: String },
}

/// What is told while it goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) doing: &'static str,
    pub(crate) table: &'static str,
    pub(crate) rows: u64,
}

/// A database that is read as it stands at one time.
pub(crate) struct Source {
    database: Database,
    connection: Connection,
    /// Let go after the connection.
    _lock: Option<File>,
}

impl Source {
    /// Opens a database that no collector writes to meanwhile. Of SQLite that is
    /// made sure; what others write to PostgreSQL from now on is not read.
    pub(crate) fn alone(database: &Database) -> Result<Self, StoreError> {
        if let Some(missing) = database.file().filter(|path| !path.exists()) {
            return Err(StoreError::Missing(missing.to_owned()));
        }
        let held = database.file().map(lock).transpose()?;
        Ok(Self { _lock: held, ..Self::beside(database)? })
    }

    /// Opens a database, beside a collector that may be running.
    pub(crate) fn beside(database: &Database) -> Result<Self, StoreError> {
        if let Some(missing) = database.file().filter(|path| !path.exists()) {
            return Err(StoreError::Missing(missing.to_owned()));
        }
        let mut connection = database.reader(None)?;
        schema::check(&mut connection, database)?;
        Ok(Self { database: database.clone(), connection, _lock: None })
    }

    /// What each table holds.
    pub(crate) fn prove(&self, told: &mut dyn FnMut(Progress)) -> Result<Vec<TableProof>, StoreError> {
        let action = to("work out what the tables hold");
        let proving = || {
            let of = |table: usize| {
                let name = TABLES[table].name;
                prove(&self.connection, &TABLES[table], &mut |rows| {
                    told(Progress { doing: "checking", table: name, rows });
                })
            };
            (0..TABLES.len()).map(of).collect::<Result<Vec<_>, _>>().map_err(&action)
        };
        self.connection.transact(Purpose::Read, proving, &action)
    }
}

/// Copies everything from `source` to the database `to`, and proves that it is there.
pub(crate) fn copy(
    source: &Source,
    to: &Database,
    replace: bool,
    told: &mut dyn FnMut(Progress),
) -> Result<Vec<TableProof>, CopyError> {
    if source.database == *to {
        return Err(CopyError::Same(to.to_string()));
    }
    let mut target = Target::open(to, replace)?;
    let read = super::error::to("read what is to be copied");
    let proofs = source.connection.transact(
        Purpose::Read,
        || -> Result<_, CopyError> {
            let proofs = fill(source, &target, told)?;
            compare(source, &target, &proofs, told)?;
            Ok(proofs)
        },
        |error| read(error).into(),
    )?;
    target.finish()?;
    Ok(proofs)
}

fn fill(
    source: &Source,
    target: &Target,
    told: &mut dyn FnMut(Progress),
) -> Result<Vec<TableProof>, CopyError> {
    let read = to("read what is to be copied");
    let mut proofs = Vec::new();
    for table in TABLES {
        let (mut prover, mut waiting, mut failed) = (Prover::new(), Waiting::default(), None);
        let mut rows = 0;
        each_row(&source.connection, table, &mut |row| {
            prover.take(&row);
            waiting.push(row);
            rows += 1;
            told(Progress { doing: "copying", table: table.name, rows });
            if waiting.is_enough() {
                let put = target.put(table, &std::mem::take(&mut waiting).rows);
                failed = put.err();
            }
            Ok(if failed.is_some() { Next::Enough } else { Next::Wanted })
        })
        .map_err(&read)?;
        if let Some(error) = failed {
            return Err(error);
        }
        target.put(table, &waiting.rows)?;
        if table.counts {
            target.count_on(table).map_err(|source| CopyError::Write { table: table.name, source })?;
        }
        proofs.push(prover.finish(table));
    }
    Ok(proofs)
}

fn compare(
    source: &Source,
    target: &Target,
    proofs: &[TableProof],
    told: &mut dyn FnMut(Progress),
) -> Result<(), CopyError> {
    let read = to("compare the copy");
    for (table, expected) in TABLES.iter().zip(proofs) {
        let found = prove(&target.connection, table, &mut |rows| {
            told(Progress { doing: "comparing", table: table.name, rows });
        })
        .map_err(&read)?;
        if found != *expected {
            let (one, other) = ((&source.connection, expected), (&target.connection, &found));
            let key = first_difference(one, other, table).map_err(&read)?;
            return Err(CopyError::Differs { table: table.name, key });
        }
    }
    Ok(())
}
