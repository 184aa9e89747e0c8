//! What a backup says of itself: the digest of each of its files, and of each table.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::count::counted;
use crate::store::{CopyError, StoreError, TableProof};

/// The version of the JSON.
pub(super) const RECORD_SCHEMA: u32 = 1;
pub(super) const RECORD: &str = "backup.json";
pub(super) const DATABASE: &str = "congruent.db";
pub(super) const MANIFESTS: &str = "manifests";
pub(super) const REPORTS: &str = "reports";
/// A record has some KiB; one of this size is not ours.
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// `backup.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) schema_version: u32,
    pub(super) made_at: Timestamp,
    /// What made it.
    pub(super) made_with: String,
    /// The version of the database's schema.
    pub(super) database_version: i64,
    pub(super) database: Piece,
    pub(super) tables: Vec<TableRecord>,
    pub(super) blobs: Vec<Piece>,
    /// Manifests and bodies of reports that are on record, and whose blobs were not there.
    pub(super) missing: Vec<String>,
}

/// A file of the backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Piece {
    /// Within the backup's folder.
    pub(super) file: String,
    pub(super) bytes: u64,
    /// BLAKE3, in hexadecimal.
    pub(super) digest: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableRecord {
    pub(super) table: String,
    pub(super) rows: u64,
    pub(super) digest: String,
}

/// Why a backup is not made or not restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepingError {
    #[error("{} is there already; give --output the path of a folder that is not", .0.display())]
    OutputExists(PathBuf),
    #[error("cannot use {}", .path.display())]
    Files {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not the record of a backup; give --input the folder that `backup` made", .path.display())]
    Record {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "the backup is of the form {0}, which this program does not know; use the congruent-server that made it"
    )]
    Form(u32),
    #[error(
        "the backup's database is of version {found}, from a newer congruent-server; this one knows version {known}: \
         restore it with the newer one"
    )]
    Newer { found: i64, known: i64 },
    #[error("the backup is damaged: {} {what}; nothing was restored, take another backup", .path.display())]
    Damaged { path: PathBuf, what: &'static str },
    #[error(
        "the database {0} is there already, and is never overwritten; move it away with what lies beside it \
         (-wal, -shm), or have `database` name another"
    )]
    Exists(String),
    #[error("cannot copy the database")]
    Copy(#[from] CopyError),
    #[error("cannot use the database")]
    Store(#[from] StoreError),
    #[error("cannot use the place where manifests and large reports are kept")]
    Blobs(#[from] crate::blobs::BlobError),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

/// Names the path that could not be used.
pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> KeepingError {
    move |source| KeepingError::Files { path: path.to_owned(), source }
}

impl Record {
    /// Reads the record of the backup in `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self, KeepingError> {
        let path = folder.join(RECORD);
        let mut text = String::new();
        let file = File::open(&path).map_err(at(&path))?;
        file.take(MAX_RECORD_BYTES).read_to_string(&mut text).map_err(at(&path))?;
        let record: Self =
            serde_json::from_str(&text).map_err(|source| KeepingError::Record { path, source })?;
        if record.schema_version != RECORD_SCHEMA {
            return Err(KeepingError::Form(record.schema_version));
        }
        Ok(record)
    }

    /// How many blobs it has.
    pub(super) fn told_blobs(&self) -> String {
        let is_report = |piece: &&Piece| piece.file.starts_with(REPORTS);
        let reports = self.blobs.iter().filter(is_report).count();
        let manifests = counted((self.blobs.len() - reports) as u64, "manifest", "manifests");
        format!("{manifests} and {}", counted(reports as u64, "large report", "large reports"))
    }

    /// What the operator is told.
    pub(super) fn told(&self, folder: &Path) -> String {
        let rows: u64 = self.tables.iter().map(|table| table.rows).sum();
        let mut told = format!(
            "{}: {} in {}, {}, as of {}\nkeep the configuration, the authority's key and \
             the secrets elsewhere: they are not in it",
            folder.display(),
            counted(rows, "row", "rows"),
            counted(self.tables.len() as u64, "table", "tables"),
            self.told_blobs(),
            self.made_at
        );
        for missing in &self.missing {
            told.push_str(&format!("\nmissing, and not in it: {missing}"));
        }
        told
    }
}

impl Piece {
    /// Reads a file of the backup in `folder`.
    pub(super) fn of(folder: &Path, file: &str) -> Result<Self, KeepingError> {
        let path = folder.join(file);
        let mut hasher = blake3::Hasher::new();
        let mut open = File::open(&path).map_err(at(&path))?;
        let bytes = io::copy(&mut open, &mut hasher).map_err(at(&path))?;
        Ok(Self { file: file.to_owned(), bytes, digest: hasher.finalize().to_hex().to_string() })
    }

    /// Holds the file to what it was.
    pub(super) fn check(&self, folder: &Path) -> Result<(), KeepingError> {
        let path = folder.join(&self.file);
        let damaged = |what| Err(KeepingError::Damaged { path: path.clone(), what });
        // Only what `backup` makes: nothing is read from elsewhere.
        let is_plain =
            Path::new(&self.file).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !is_plain {
            return damaged("is not within it");
        }
        if !path.exists() {
            return damaged("is missing");
        }
        let found = Self::of(folder, &self.file)?;
        if (found.bytes, &found.digest) == (self.bytes, &self.digest) {
            return Ok(());
        }
        damaged("is not what it was when the backup was made")
    }
}

impl From<TableProof> for TableRecord {
    fn from(proof: TableProof) -> Self {
        Self { table: proof.table.to_owned(), rows: proof.rows, digest: proof.digest }
    }
}
