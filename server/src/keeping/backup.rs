//! Making a backup: beside its name, whole and checked, and then by its name.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use jiff::Timestamp;

use super::progress::Meter;
use super::record::{DATABASE, KeepingError, MANIFESTS, Piece, RECORD, RECORD_SCHEMA, REPORTS, Record, at};
use crate::blobs::{BlobError, BlobName, BlobSettings, Blobs, MAX_BLOB_BYTES};
use crate::store::{self, Database, NamedBody, Source};

/// How much of a blob is read at once.
const CHUNK_BYTES: usize = 1 << 16;

/// Makes a backup in the folder `output`, which must not be there.
pub(super) fn make(
    database: &Database,
    blobs: &BlobSettings,
    output: &Path,
    now: Timestamp,
    meter: &mut Meter,
) -> Result<Record, KeepingError> {
    if output.symlink_metadata().is_ok() {
        return Err(KeepingError::OutputExists(output.to_owned()));
    }
    let parent = output.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    // Open to nobody else, and gone when this fails.
    let partial = tempfile::Builder::new().prefix(".backup-").tempdir_in(parent).map_err(at(parent))?;
    let folder = partial.path();
    let file = folder.join(DATABASE);
    store::save(database, &file, &mut |progress| meter.tell(progress))?;
    let saved = Database::Sqlite(file);
    let tables = Source::beside(&saved)?.prove(&mut |progress| meter.tell(progress))?;
    let (pieces, missing) = save_blobs(&saved, blobs, folder)?;
    let record = Record {
        schema_version: RECORD_SCHEMA,
        made_at: now,
        made_with: format!("congruent-server {}", env!("CARGO_PKG_VERSION")),
        database_version: store::known_version(),
        database: Piece::of(folder, DATABASE)?,
        tables: tables.into_iter().map(Into::into).collect(),
        blobs: pieces,
        missing,
    };
    let json = serde_json::to_vec_pretty(&record).expect("text and numbers always serialise");
    let path = folder.join(RECORD);
    fs::write(&path, json).map_err(at(&path))?;
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).map_err(at(&path))?;
    for path in [&path, folder] {
        File::open(path).and_then(|file| file.sync_all()).map_err(at(path))?;
    }
    fs::rename(folder, output).map_err(at(output))?;
    let _ = partial.keep();
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(at(parent))?;
    Ok(record)
}

/// The blobs that a database names, each with its folder in a backup.
pub(super) fn named(database: &Database) -> Result<Vec<(&'static str, BlobName)>, KeepingError> {
    let named = store::read_only(database, "read which blobs are named", |view| {
        let manifests = view.manifests(usize::MAX >> 1)?.into_iter();
        let manifests = manifests.map(|row| (MANIFESTS, BlobName::manifest(row.digest)));
        let reports = NamedBody::all(view)?.into_iter().map(|body| (REPORTS, body.blob));
        Ok(manifests.chain(reports).collect())
    });
    Ok(named?)
}

/// Copies the blobs that the saved database names; tells which were not there.
fn save_blobs(
    saved: &Database,
    settings: &BlobSettings,
    folder: &Path,
) -> Result<(Vec<Piece>, Vec<String>), KeepingError> {
    let (named, mut pieces, mut missing) = (named(saved)?, Vec::new(), Vec::new());
    if named.is_empty() {
        return Ok((pieces, missing));
    }
    let runtime = tokio::runtime::Runtime::new().map_err(KeepingError::Runtime)?;
    runtime.block_on(async {
        let from = Blobs::open(settings)?;
        for within in [MANIFESTS, REPORTS] {
            let to = Blobs::open(&BlobSettings::Directory(folder.join(within)))?;
            for (_, name) in named.iter().filter(|(folder, _)| *folder == within) {
                match from.get(*name).await {
                    Ok(file) => put(&to, *name, &file).await?,
                    Err(error) if error.is_lost() => {
                        missing.push(name.to_string());
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
                pieces.push(Piece::of(folder, &format!("{within}/{name}"))?);
            }
        }
        Ok::<_, KeepingError>(())
    })?;
    Ok((pieces, missing))
}

/// Keeps what a file holds as the blob of this name, which it must be.
pub(super) async fn put(to: &Blobs, name: BlobName, file: &File) -> Result<(), KeepingError> {
    let local = |source| KeepingError::Files { path: name.to_string().into(), source };
    let mut arrival = to.arrive(MAX_BLOB_BYTES)?;
    let (mut chunk, mut position) = (vec![0; CHUNK_BYTES], 0);
    loop {
        // What has just arrived from a bucket stands at its end.
        let read = file.read_at(&mut chunk, position).map_err(local)?;
        if read == 0 {
            break;
        }
        arrival.take(&chunk[..read])?;
        position += read as u64;
    }
    let arrived = arrival.finish();
    if arrived.digest != *name.digest() {
        return Err(BlobError::Damaged { blob: name.to_string(), found: arrived.digest }.into());
    }
    Ok(to.put(name, arrived).await?)
}
