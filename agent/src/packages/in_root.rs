//! Reading beneath an open root, as seen by whoever has it as `/`: links are
//! followed, and never out of it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use congruent_protocol::path::TreePath;
use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, openat2};

fn open_with(root: &OwnedFd, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    Ok(openat2(root, path, flags, Mode::empty(), resolve | ResolveFlags::NO_MAGICLINKS)?)
}

/// Opens the regular file at `path`; none where nothing is there.
pub(super) fn open(root: &OwnedFd, path: &str) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    match open_with(root, path.as_bytes(), flags, ResolveFlags::IN_ROOT) {
        Ok(opened) => {
            let file = File::from(opened);
            if file.metadata()?.is_file() {
                Ok(Some(file))
            } else {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
            }
        }
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the file at `path`; none where nothing is there.
pub(super) fn read(root: &OwnedFd, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(root, path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is over {limit} bytes long")));
    }
    Ok(Some(bytes))
}

/// The names in the directory at `path` that are text, sorted; none where
/// nothing is there.
pub(super) fn names(root: &OwnedFd, path: &str, limit: usize) -> io::Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let directory = match open_with(root, path.as_bytes(), flags, ResolveFlags::IN_ROOT) {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut names = Vec::new();
    for entry in Dir::new(directory)? {
        if let Ok(name) = entry?.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
        if names.len() > limit {
            let why = format!("it holds over {limit} names");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
    }
    names.sort();
    Ok(names)
}

/// What the link at `path` says; none where it is no link, or not to be seen.
/// No link on the way there is followed.
pub(super) fn read_link(root: &OwnedFd, path: &TreePath) -> Option<Vec<u8>> {
    let path = path.as_bytes().strip_prefix(b"/").filter(|path| !path.is_empty())?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let (parent, name) = match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&b"."[..], path),
    };
    let directory = open_with(root, parent, flags, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS).ok()?;
    rustix::fs::readlinkat(&directory, name, Vec::new()).ok().map(std::ffi::CString::into_bytes)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
