//! A copy into a file of its own while a collector writes, and what becomes of such a file
//! when it is restored.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::OpenFlags;
use rusqlite::backup::{Backup, StepResult};

use super::super::sql::{Connection, SqlError, Value, params};
use super::super::{Database, StoreError, schema};
use super::target::Target;
use super::{CopyError, Progress, Source, copy};

/// Pages that are copied between two looks at how far it is.
const PAGES: i32 = 1024;
/// How long is waited where another has the source for itself.
const BUSY: Duration = Duration::from_millis(20);

/// Makes the file `to`, which must not be there: all that the database holds at one time.
/// Collectors go on writing to it meanwhile.
pub(crate) fn save(from: &Database, to: &Path, told: &mut dyn FnMut(Progress)) -> Result<(), CopyError> {
    let source = Source::beside(from)?;
    let open = |source| StoreError::Open { path: to.to_owned(), source };
    match from {
        Database::Postgres(_) => drop(copy(&source, &Database::Sqlite(to.to_owned()), false, told)?),
        Database::Sqlite(path) => {
            let lock = |source| StoreError::Lock { path: to.to_owned(), source };
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(lock)?;
            save_file(path, to, told).map_err(SqlError::Sqlite).map_err(super::to("copy the database"))?;
        }
    }
    // One file, without a log beside it.
    let connection = rusqlite::Connection::open(to).map_err(open)?;
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())).map_err(open)?;
    check_integrity(to, &connection)?;
    drop(connection);
    synced(to)
}

fn save_file(from: &Path, to: &Path, told: &mut dyn FnMut(Progress)) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = rusqlite::Connection::open_with_flags(from, flags)?;
    source.busy_timeout(Duration::from_secs(5))?;
    // A view of one time, held to the end: else each write would have the copy begin anew.
    source.execute_batch("BEGIN DEFERRED")?;
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let mut copy = rusqlite::Connection::open(to)?;
    let backup = Backup::new(&source, &mut copy)?;
    loop {
        let step = backup.step(PAGES)?;
        let progress = backup.progress();
        let rows = u64::try_from(progress.pagecount - progress.remaining).unwrap_or(0);
        told(Progress { doing: "copying", table: "pages", rows });
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => std::thread::sleep(BUSY),
        }
    }
}

fn check_integrity(path: &Path, connection: &rusqlite::Connection) -> Result<(), CopyError> {
    let checked = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    let said = checked.map_err(SqlError::Sqlite).map_err(super::to("check the database"))?;
    if said == "ok" { Ok(()) } else { Err(CopyError::Damaged { path: path.to_owned(), said }) }
}

fn synced(path: &Path) -> Result<(), CopyError> {
    let failed = |source| StoreError::Lock { path: path.to_owned(), source };
    Ok(File::open(path).and_then(|file| file.sync_all()).map_err(failed)?)
}

/// Brings a saved file up to date, and notes in its audit that it was restored, and as of when.
pub(crate) fn make_current(
    path: &Path,
    at: jiff::Timestamp,
    saved_at: jiff::Timestamp,
) -> Result<(), CopyError> {
    let database = Database::Sqlite(path.to_owned());
    let mut target = Target::connect(&database)?;
    schema::migrate(&mut target.connection, &database)?;
    let sql = "INSERT INTO audit (at, operator, role, action, object, reason, detail, count, last_at) \
         VALUES (?1, 'config', 'admin', 'store-restored', 'the store', ?2, '{}', 1, ?1)";
    let reason = format!("restored from the backup of {saved_at}: what came after that is not here");
    let at = Value::Integer(at.as_microsecond());
    target.connection.execute(sql, params![at, reason]).map_err(super::to("note the restoration"))?;
    if let Connection::Sqlite(sqlite) = &mut target.connection {
        check_integrity(path, sqlite.connection())?;
    }
    drop(target);
    synced(path)
}

/// The schema's version that this program knows, which a backup may be of at most.
pub(crate) fn known_version() -> i64 {
    schema::VERSION
}
