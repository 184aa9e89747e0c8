//! Restoring a backup: all of it is held to its record first; the database has its name
//! only when it is whole and up to date.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tempfile::TempPath;

use super::backup::put;
use super::progress::Meter;
use super::record::{KeepingError, MANIFESTS, REPORTS, Record, at};
use crate::blobs::{BlobName, BlobSettings, Blobs};
use crate::store::{self, Database, Progress, Source};

/// Restores the backup in `folder`.
pub(super) fn from(
    folder: &Path,
    database: &Database,
    blobs: &BlobSettings,
    now: Timestamp,
    meter: &mut Meter,
) -> Result<Record, KeepingError> {
    let record = Record::read(folder)?;
    let known = store::known_version();
    if record.database_version > known {
        return Err(KeepingError::Newer { found: record.database_version, known });
    }
    if let Some(path) = database.file() {
        refuse_existing(path)?;
    }
    for (checked, piece) in [&record.database].into_iter().chain(&record.blobs).enumerate() {
        meter.tell(Progress { doing: "checking", table: "files", rows: checked as u64 });
        piece.check(folder)?;
    }
    let saved = folder.join(&record.database.file);
    match database {
        Database::Sqlite(path) => {
            let made = make_ready(&saved, &beside(path, ".restoring"), &record, now)?;
            restore_blobs(&record, folder, blobs)?;
            made.persist_noclobber(path).map_err(|error| at(path)(error.error))?;
            let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(at(parent))?;
        }
        Database::Postgres(_) => {
            let scratch = tempfile::tempdir().map_err(at(&std::env::temp_dir()))?;
            let made = make_ready(&saved, &scratch.path().join("congruent.db"), &record, now)?;
            restore_blobs(&record, folder, blobs)?;
            let source = Source::alone(&Database::Sqlite(made.to_path_buf()))?;
            // What an earlier try left unfinished is let go of.
            store::copy(&source, database, true, &mut |progress| meter.tell(progress))?;
        }
    }
    Ok(record)
}

/// Copies the saved database to `to` and brings it up to date there.
fn make_ready(saved: &Path, to: &Path, record: &Record, now: Timestamp) -> Result<TempPath, KeepingError> {
    // What an earlier try left.
    for leftover in [to.to_owned(), beside(to, "-wal"), beside(to, "-shm"), beside(to, "-journal")] {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(&leftover)(error)),
            _ => {}
        }
    }
    fs::copy(saved, to).map_err(at(to))?;
    let made = TempPath::try_from_path(to).map_err(at(to))?;
    store::make_current(to, now, record.made_at)?;
    Ok(made)
}

fn refuse_existing(path: &Path) -> Result<(), KeepingError> {
    let is_there = [path.to_owned(), beside(path, "-wal")].iter().any(|path| path.symlink_metadata().is_ok());
    if is_there { Err(KeepingError::Exists(path.display().to_string())) } else { Ok(()) }
}

fn restore_blobs(record: &Record, folder: &Path, settings: &BlobSettings) -> Result<(), KeepingError> {
    if record.blobs.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Runtime::new().map_err(KeepingError::Runtime)?;
    runtime.block_on(async {
        let to = Blobs::open(settings)?;
        for piece in &record.blobs {
            let path = folder.join(&piece.file);
            let name = piece.file.split_once('/').filter(|(within, _)| [MANIFESTS, REPORTS].contains(within));
            let Some(name) = name.and_then(|(_, name)| BlobName::parse(name)) else {
                return Err(KeepingError::Damaged { path, what: "has no blob's name" });
            };
            put(&to, name, &File::open(&path).map_err(at(&path))?).await?;
        }
        Ok(())
    })
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}
