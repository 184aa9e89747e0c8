//! Files that are there whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::FlockOperation;

/// The directory that a file lies in, as it can be opened.
pub(crate) fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Keeps others from what is read, changed and written again, as long as the lock
/// is held. It is the folder's: the file itself is replaced.
pub(crate) fn lock(output: &Path) -> anyhow::Result<File> {
    let directory = directory_of(output);
    let failed = || format!("cannot lock the directory {}", directory.display());
    let lock = File::open(directory).with_context(failed)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).with_context(failed)?;
    Ok(lock)
}

/// A file that is written whole and not yet in its place; gone where it never comes there.
pub(crate) struct Prepared {
    file: tempfile::NamedTempFile,
    output: PathBuf,
}

/// Writes what is to be `output` to another file beside it.
pub(crate) fn prepare(
    output: &Path,
    write: impl FnOnce(&mut File) -> anyhow::Result<()>,
) -> anyhow::Result<Prepared> {
    let failed = || format!("cannot write {}", output.display());
    let mut file = tempfile::NamedTempFile::new_in(directory_of(output)).with_context(failed)?;
    write(file.as_file_mut()).with_context(failed)?;
    // What is kept from others stays so when it is replaced.
    let mode = fs::symlink_metadata(output).map_or(0o644, |before| before.permissions().mode() & 0o777);
    file.as_file().set_permissions(Permissions::from_mode(mode)).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    Ok(Prepared { file, output: output.to_owned() })
}

impl Prepared {
    /// Takes an earlier file's place.
    pub(crate) fn put_in_place(self) -> anyhow::Result<()> {
        let Self { file, output } = self;
        let failed = || format!("cannot write {}", output.display());
        file.persist(&output).with_context(failed)?;
        sync_directory_of(&output).with_context(failed)
    }
}

/// Writes `output` by way of another file; an earlier one stays until then.
pub(crate) fn write(
    output: &Path,
    write: impl FnOnce(&mut File) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    prepare(output, write)?.put_in_place()
}

/// Writes `bytes` to `path`, for its owner alone: written aside, synced, renamed,
/// directory synced.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_aside(path, bytes)?.persist(path)?;
    sync_directory_of(path)
}

/// The same where nothing is there yet; what is there stays as it is.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match write_aside(path, bytes)?.persist_noclobber(path).map_err(|error| error.error) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // Of two that make one at once, the first counts.
        _ => sync_directory_of(path),
    }
}

fn write_aside(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".partial").tempfile_in(directory_of(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

/// Refuses an output that could not be written, before the work is done; `flag`
/// is how it was given.
pub(crate) fn check_output(flag: &str, output: &Path) -> anyhow::Result<()> {
    if output.as_os_str().as_encoded_bytes().ends_with(b"/") || output.is_dir() {
        bail!("{flag} {} is a directory; name a file", output.display());
    }
    // What takes an output's place would take a device's or a link's place too.
    if fs::symlink_metadata(output).is_ok_and(|there| !there.is_file()) {
        bail!("{flag} {} is there and is not a regular file; name another", output.display());
    }
    Ok(())
}
