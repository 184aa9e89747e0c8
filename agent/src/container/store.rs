//! A runtime's data root: files beneath it, read without following a link at any
//! component, each up to a limit.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use congruent_protocol::path::TreePath;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;

use super::LATELY;
use super::bolt::{self, Bolt, BoltError};
use crate::beneath;
use crate::sweep::open_descendant;

/// The most names taken of one directory.
const MAX_NAMES: usize = 100_000;
/// The longest word in a file of its own: a digest, an id.
const MAX_WORD_BYTES: u64 = 1_024;
/// The longest id or name of a directory that a runtime gives.
const MAX_ID_BYTES: usize = 128;

/// The largest bolt file taken of root, and of others.
const MAX_BOLT_BYTES: u64 = 1 << 30;
const MAX_BOLT_BYTES_OF_USERS: u64 = 32 << 20;
/// How often one is read anew that changes while it is read.
const BOLT_ATTEMPTS: usize = 10;

/// Why a runtime's state cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error("cannot read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is malformed", .path.display())]
    Json {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{} is no whole file of bolt", .path.display())]
    Bolt {
        path: PathBuf,
        #[source]
        source: BoltError,
    },
    #[error("{} is malformed: {what}", .path.display())]
    Malformed { path: PathBuf, what: String },
}

/// An error with all its causes, as one text.
pub(super) fn chain_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Whether `name` is one that a runtime gives, and leads nowhere else as part of a
/// path.
pub(super) fn is_id(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'=' | b'+' | b':');
    (1..=MAX_ID_BYTES).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain)
}

/// An open data root.
pub(super) struct Store {
    root: PathBuf,
    directory: OwnedFd,
}

impl Store {
    /// Opens a data root that the operator or the system names: links on the way to
    /// it are theirs.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(root, flags, Mode::empty())?;
        Ok(Self { root: root.to_owned(), directory })
    }

    /// Opens a data root that a user names: no link is followed past `trusted`,
    /// which is a directory above it.
    pub(super) fn open_beneath(trusted: &Path, root: &Path) -> io::Result<Self> {
        let above = Self::open(trusted)?;
        let within = root.strip_prefix(trusted).map_err(|_| io::ErrorKind::NotFound)?;
        let directory = open_descendant(above.directory.as_fd(), within.as_os_str().as_bytes())?;
        Ok(Self { root: root.to_owned(), directory })
    }

    /// What tells two names of one directory from two directories.
    pub(super) fn identity(&self) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::fstat(&self.directory)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// The root, as it was named.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The whole path of something in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Whether anything is there under this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.stat(name).is_ok()
    }

    fn stat(&self, name: &str) -> Result<Stat, Errno> {
        let (above, last) = name.rsplit_once('/').unwrap_or((".", name));
        let folder = open_descendant(self.directory.as_fd(), above.as_bytes())?;
        rustix::fs::statat(&folder, last, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Opens a regular file.
    pub(super) fn file(&self, name: &str) -> Result<File, StateError> {
        let open =
            || beneath::open(&self.directory, &TreePath::new(format!("/{name}")).map_err(io::Error::other)?);
        open().map_err(|source| self.unreadable(name, source))
    }

    /// Reads a regular file whole.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, StateError> {
        let mut bytes = Vec::new();
        let file = self.file(name)?;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| self.unreadable(name, source))?;
        if bytes.len() as u64 > limit {
            let why = format!("it is over {limit} bytes long");
            return Err(self.unreadable(name, io::Error::new(io::ErrorKind::FileTooLarge, why)));
        }
        Ok(bytes)
    }

    /// Reads a JSON document.
    pub(super) fn json<T: DeserializeOwned>(&self, name: &str, limit: u64) -> Result<T, StateError> {
        let bytes = self.read(name, limit)?;
        serde_json::from_slice(&bytes).map_err(|source| StateError::Json { path: self.path(name), source })
    }

    /// Reads a file that holds one word.
    pub(super) fn word(&self, name: &str) -> Result<String, StateError> {
        let bytes = self.read(name, MAX_WORD_BYTES)?;
        let word = String::from_utf8(bytes).map_err(|_| self.malformed(name, "it is not text"))?;
        Ok(word.trim_end().to_owned())
    }

    /// Reads a file that holds an id, which is a part of further paths.
    pub(super) fn id(&self, name: &str) -> Result<String, StateError> {
        let word = self.word(name)?;
        if is_id(&word) { Ok(word) } else { Err(self.malformed(name, "it holds no id")) }
    }

    /// The directory of this name, if it is one.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf, StateError> {
        match open_descendant(self.directory.as_fd(), name.as_bytes()) {
            Ok(_) => Ok(self.path(name)),
            Err(errno) => Err(self.unreadable(name, errno.into())),
        }
    }

    /// The directory of this name, also where it is gone: who looks into it says so, and
    /// what it was is known all the same.
    pub(super) fn layer(&self, name: &str) -> Result<PathBuf, StateError> {
        match open_descendant(self.directory.as_fd(), name.as_bytes()) {
            Ok(_) | Err(Errno::NOENT) => Ok(self.path(name)),
            Err(errno) => Err(self.unreadable(name, errno.into())),
        }
    }

    /// The names of the directories in a directory, sorted; none where it is not there.
    pub(super) fn directories(&self, name: &str) -> Result<Vec<String>, StateError> {
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in Dir::new(open_descendant(self.directory.as_fd(), name.as_bytes())?)? {
                let entry = entry?;
                let is_directory = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
                let name = String::from_utf8_lossy(entry.file_name().to_bytes()).into_owned();
                if is_directory && !matches!(&name[..], "." | "..") {
                    names.push(name);
                }
                if names.len() > MAX_NAMES {
                    let why = format!("it holds over {MAX_NAMES} names");
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
                }
            }
            names.sort();
            Ok(names)
        };
        match list() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|source| self.unreadable(name, source)),
        }
    }

    /// Whether a file or directory was written to lately, or is gone.
    pub(super) fn changed_lately(&self, name: &str) -> bool {
        match self.stat(name) {
            Ok(stat) => modified(&stat).elapsed().is_ok_and(|ago| ago < LATELY),
            Err(errno) => errno == Errno::NOENT,
        }
    }

    /// Whether a file was written to since this machine was started.
    pub(super) fn changed_since_boot(&self, name: &str) -> bool {
        let up = clock_gettime(ClockId::Boottime);
        let up = Duration::from_secs(up.tv_sec.unsigned_abs());
        self.stat(name).is_ok_and(|stat| modified(&stat).elapsed().is_ok_and(|ago| ago < up))
    }

    /// Reads a bolt file at one moment, also while a daemon writes to it.
    pub(super) fn bolt(&self, name: &str) -> Result<Bolt, StateError> {
        let file = self.file(name)?;
        let unreadable = |source| self.unreadable(name, source);
        for _ in 0..BOLT_ATTEMPTS {
            let metadata = file.metadata().map_err(unreadable)?;
            let limit = if metadata.uid() == 0 { MAX_BOLT_BYTES } else { MAX_BOLT_BYTES_OF_USERS };
            if metadata.len() > limit {
                let why = format!("it is over {limit} bytes long");
                return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, why)));
            }
            let mut bytes = vec![0; usize::try_from(metadata.len()).unwrap_or_default()];
            file.read_exact_at(&mut bytes, 0).map_err(unreadable)?;
            let mut head = vec![0; bolt::HEAD_BYTES.min(bytes.len())];
            let read =
                Bolt::new(bytes).map_err(|source| StateError::Bolt { path: self.path(name), source })?;
            file.read_exact_at(&mut head, 0).map_err(unreadable)?;
            if bolt::transaction(&head) == Some(read.transaction()) {
                return Ok(read);
            }
        }
        Err(self.malformed(name, "it changed each time that it was read"))
    }

    /// That a file does not hold what it should.
    pub(super) fn malformed(&self, name: &str, what: impl Into<String>) -> StateError {
        StateError::Malformed { path: self.path(name), what: what.into() }
    }

    fn unreadable(&self, name: &str, source: io::Error) -> StateError {
        StateError::Read { path: self.path(name), source }
    }
}

fn modified(stat: &Stat) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(stat.st_mtime.unsigned_abs())
}

/// Whether an error says that nothing is there.
pub(super) fn is_absent(error: &StateError) -> bool {
    matches!(error, StateError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_is_read_by_way_of_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        std::fs::write(root.join("a/word"), "word\n").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("..", root.join("up")).unwrap();
        let store = Store::open(&root).unwrap();
        assert_eq!(store.word("a/word").unwrap(), "word");
        for name in ["out", "up/secret", "../secret", "a/b", "none"] {
            assert!(store.read(name, 9).is_err(), "{name}");
        }
        assert!(store.read("a/word", 4).is_err());
        assert!(store.directory("up").is_err() && store.directory("a/b").is_ok());
        assert_eq!(store.directories("a").unwrap(), ["b"]);
        assert_eq!(store.directories("none").unwrap(), [""; 0]);
        assert!(store.has("a/word") && store.has("out") && !store.has("up/root"));
    }

    #[test]
    fn a_users_root_is_reached_without_links() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        std::fs::create_dir_all(home.join("real/storage")).unwrap();
        symlink("real", home.join("link")).unwrap();
        assert!(Store::open_beneath(home, &home.join("real/storage")).is_ok());
        assert!(Store::open_beneath(home, &home.join("link/storage")).is_err());
        assert!(Store::open_beneath(home, Path::new("/etc")).is_err());
    }

    #[test]
    fn ids_lead_nowhere() {
        for id in ["web", "0a1b", "sha256:00", "a.b-c_d", "=bWFu+="] {
            assert!(is_id(id), "{id}");
        }
        for no in ["", ".", "..", "a/b", "a\0", "a b", ".hidden", &"x".repeat(129)] {
            assert!(!is_id(no), "{no}");
        }
    }
}
