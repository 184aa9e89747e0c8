//! Asking the program `rpm` what an rpm database beneath a root holds.
//!
//! rpm writes to the database that it reads: it makes indexes, locks and a
//! write-ahead log. So it is given a copy, in a folder that goes when it is done.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use congruent_protocol::path::escape;

use super::in_root;
use super::read::{Listing, PackagesError};
use super::rpm::{Answer, Listed, QUERY};

/// Where databases are: of rpm since 4.17, of rpm before, of OSTree.
const PLACES: [&str; 3] = ["usr/lib/sysimage/rpm", "var/lib/rpm", "usr/share/rpm"];
/// What a database is, by backend: SQLite, ndb, Berkeley DB.
const DATABASES: [&str; 3] = ["rpmdb.sqlite", "Packages.db", "Packages"];
/// What may lie beside it and holds what is not in it yet.
const BESIDE: [&str; 2] = ["rpmdb.sqlite-wal", "Index.db"];
/// The largest database taken.
const MAX_DATABASE_BYTES: u64 = 2 << 30;
/// The longest answer taken.
const MAX_ANSWER_BYTES: u64 = 1 << 30;
/// How much is shown of what rpm says when it fails.
const MAX_SAID_BYTES: usize = 500;

/// The packages and their paths; empty where there is no database.
pub(super) fn read(root: &OwnedFd) -> Result<Vec<Listing>, PackagesError> {
    let Some(place) = find(root)? else { return Ok(Vec::new()) };
    let failed = |source| PackagesError::Copy { path: place.to_owned(), source };
    let folder = tempfile::tempdir().map_err(failed)?;
    for name in DATABASES.into_iter().chain(BESIDE) {
        copy(root, &format!("{place}/{name}"), &folder.path().join(name))?;
    }
    let answer = ask(folder.path(), place)?;
    let read = |listed: Result<Listed, _>| listed.map(|Listed { package, paths }| (package, paths));
    Answer::new(&answer)
        .map(read)
        .collect::<Result<_, _>>()
        .map_err(|source| PackagesError::Rpm { path: place.to_owned(), source })
}

/// Where the first database is that is there.
fn find(root: &OwnedFd) -> Result<Option<&'static str>, PackagesError> {
    for place in PLACES {
        for name in DATABASES {
            let path = format!("{place}/{name}");
            if in_root::open(root, &path).map_err(|source| PackagesError::Read { path, source })?.is_some() {
                return Ok(Some(place));
            }
        }
    }
    Ok(None)
}

/// Copies the file beneath `root` at `path`, where there is one.
fn copy(root: &OwnedFd, path: &str, to: &Path) -> Result<(), PackagesError> {
    let copy = || -> io::Result<()> {
        let Some(from) = in_root::open(root, path)? else { return Ok(()) };
        let mut from = from.take(MAX_DATABASE_BYTES + 1);
        if io::copy(&mut from, &mut File::create(to)?)? > MAX_DATABASE_BYTES {
            let why = format!("it is over {MAX_DATABASE_BYTES} bytes long");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        Ok(())
    };
    copy().map_err(|source| PackagesError::Copy { path: path.to_owned(), source })
}

/// Runs rpm over the copy in `folder`, with nothing of ours in its environment.
fn ask(folder: &Path, place: &str) -> Result<Vec<u8>, PackagesError> {
    let failed = |source| PackagesError::Run { path: place.to_owned(), source };
    let said = folder.join("said");
    let mut command = Command::new("rpm");
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("LC_ALL", "C")
        // Macros in a home could name another database, or run programs.
        .env("HOME", folder)
        .arg("--dbpath")
        .arg(folder)
        .args(["--query", "--all", "--nosignature", "--nodigest", "--queryformat", QUERY])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&said).map_err(failed)?);
    let mut child = match command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PackagesError::NoRpm(place.to_owned()));
        }
        spawned => spawned.map_err(failed)?,
    };
    let mut answer = Vec::new();
    let read = match child.stdout.take() {
        Some(stdout) => stdout.take(MAX_ANSWER_BYTES + 1).read_to_end(&mut answer),
        None => Ok(0),
    };
    // Our end of the pipe is closed, so it cannot go on writing.
    let status = child.wait().map_err(failed)?;
    read.map_err(failed)?;
    if answer.len() as u64 > MAX_ANSWER_BYTES {
        return Err(PackagesError::TooLarge);
    }
    let said = fs::read(&said).map_err(failed)?;
    // Over a database that it cannot read it may list nothing, and call that success.
    if !status.success() || (answer.is_empty() && !said.is_empty()) {
        let said = &said[..said.len().min(MAX_SAID_BYTES)];
        let lines: Vec<_> = said.trim_ascii().split(|&b| b == b'\n').map(escape).collect();
        let said = lines.join("; ");
        return Err(PackagesError::Failed { path: place.to_owned(), said });
    }
    Ok(answer)
}
