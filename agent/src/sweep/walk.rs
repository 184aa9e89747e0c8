//! The walk: lists directories depth first, names in order of their bytes.
//!
//! A directory's own attributes are read here, from the descriptor that also
//! lists it; everything else is left to the readers.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use congruent_protocol::contract::{Class, Follower, Terms};
use congruent_protocol::entry::Node;
use congruent_protocol::normalise::is_reserved;
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::MountTreatment;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::pool::{BATCH_JOBS, BatchQueue, Stopped};
use super::read::seen_entry;
use super::sight::{MountSeen, Problem, ProblemKind, Seen, SeenEntry, Sight};
use super::xattrs::{self, ReadXattrs};
use super::{Root, Scope};

/// The longest path that is looked at: no report can hold longer ones.
const MAX_PATH_BYTES: usize = 1 << 16;

/// What is asked of statx(2) everywhere.
pub(super) const STAT_MASK: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID);

/// What a reader is to do about one path.
pub(super) enum Job<'a> {
    /// Nothing: it was seen by the walk.
    Seen(Seen<'a>),
    /// Look at it.
    Look(Look<'a>),
}

/// A path that a reader looks at.
pub(super) struct Look<'a> {
    pub(super) directory: Arc<Directory>,
    pub(super) name: CString,
    pub(super) path: TreePath,
    pub(super) terms: &'a Terms,
    /// Whether the directory said that it is a regular file.
    pub(super) likely_file: bool,
}

/// An open directory, kept while jobs need it.
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
    pub(super) mount_id: u64,
}

/// A directory whose names are being visited.
struct Level {
    directory: Arc<Directory>,
    names: std::vec::IntoIter<(CString, FileType)>,
}

pub(super) struct Walk<'w, 'a> {
    root: &'w Root,
    scope: &'w Scope<'a>,
    queue: BatchQueue<'a>,
    batch: Vec<Job<'a>>,
    levels: Vec<Level>,
    path: TreePath,
    follower: Follower<'a>,
    buffer: Box<[MaybeUninit<u8>]>,
}

impl<'w, 'a> Walk<'w, 'a> {
    pub(super) fn new(root: &'w Root, scope: &'w Scope<'a>, queue: BatchQueue<'a>) -> Self {
        Self {
            root,
            scope,
            queue,
            batch: Vec::with_capacity(BATCH_JOBS),
            levels: Vec::new(),
            path: TreePath::root(),
            follower: scope.contract.follow(),
            buffer: vec![MaybeUninit::uninit(); 64 << 10].into_boxed_slice(),
        }
    }

    /// Walks until all is visited or the consumer stops.
    pub(super) fn run(mut self) {
        let _: Result<(), Stopped> = self.walk();
    }

    fn walk(&mut self) -> Result<(), Stopped> {
        self.enter_root()?;
        while let Some(level) = self.levels.last_mut() {
            let Some((name, kind)) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            let directory = level.directory.clone();
            self.path.truncate(self.levels.len() - 1);
            self.path
                .push(name.to_bytes())
                .expect("names listed are not empty, and the kernel lists none with a separator");
            self.visit(&directory, name, kind)?;
        }
        let rest = std::mem::take(&mut self.batch);
        self.queue.push(rest)
    }

    /// What the path at hand is held to.
    fn terms(&mut self) -> &'a Terms {
        if is_reserved(self.scope.reserved, &self.path) {
            Terms::reserved()
        } else {
            self.follower.terms_of(&self.path)
        }
    }

    fn enter_root(&mut self) -> Result<(), Stopped> {
        let terms = self.terms();
        let opened = self
            .root
            .directory
            .try_clone()
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::BADF));
        let opened = opened.and_then(|fd| Ok((stat(&fd)?, fd)));
        match opened {
            Ok((stat, fd)) => self.enter(fd, &stat, terms, None),
            Err(errno) => self.unseen(terms, None, Problem::unreadable("cannot stat", errno)),
        }
    }

    /// Takes one name: goes into directories, leaves the rest to the readers.
    fn visit(&mut self, parent: &Arc<Directory>, name: CString, kind: FileType) -> Result<(), Stopped> {
        if self.path.as_bytes().len() > MAX_PATH_BYTES {
            let reason = format!("its path is over {MAX_PATH_BYTES} bytes long");
            let problem = Problem { kind: ProblemKind::Unreadable, reason };
            let terms = self.terms();
            return self.unseen(terms, None, problem);
        }
        let terms = self.terms();
        let is_directory = match kind {
            FileType::Directory => true,
            // Some file systems do not say.
            FileType::Unknown => {
                stat_at(parent, &name).is_ok_and(|stat| file_type(&stat) == FileType::Directory)
            }
            _ => false,
        };
        if is_directory {
            return self.visit_directory(parent, name, terms);
        }
        let path = self.path.clone();
        let likely_file = kind == FileType::RegularFile;
        self.put(Job::Look(Look { directory: parent.clone(), name, path, terms, likely_file }))
    }

    fn visit_directory(
        &mut self,
        parent: &Arc<Directory>,
        name: CString,
        terms: &'a Terms,
    ) -> Result<(), Stopped> {
        // Before it is opened: opening can wake an automount or hang on a dead
        // server, and a mount that is hidden is none of our business.
        let stat = match stat_at(parent, &name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return self.unseen(terms, None, Problem::unreadable("cannot stat", errno)),
        };
        let mount = self.mount_between(parent, &stat);
        if self.scope.purpose.is_bake() && is_hiding(mount.as_ref()) {
            // What lies beneath is the image's.
            return match without_mounts(parent) {
                Ok(beneath) => self.visit_directory(&beneath, name, terms),
                Err(problem) => self.unseen(terms, None, problem),
            };
        }
        if let Some(mount) = mount.as_ref().filter(|mount| mount.treatment != MountTreatment::Verify) {
            let (mount, path) = (Some(mount.clone()), self.path.clone());
            return self.put(Job::Seen(Seen { path, terms, mount, sight: Sight::Mount }));
        }
        match open_directory(parent, &name).and_then(|fd| Ok((self::stat(&fd)?, fd))) {
            Ok((opened, fd)) if opened.stx_mnt_id == stat.stx_mnt_id => self.enter(fd, &opened, terms, mount),
            // Mounted over between the two calls, or swapped for something else:
            // whoever comes by name sees what is there now.
            Ok(_) | Err(Errno::NOTDIR | Errno::LOOP) => {
                let path = self.path.clone();
                let directory = parent.clone();
                self.put(Job::Look(Look { directory, name, path, terms, likely_file: false }))
            }
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => {
                let problem = Problem::unreadable("cannot open the directory", errno);
                let xattrs = xattrs::read_named(parent, &name, &terms.xattrs);
                self.seen_directory(&stat, terms, mount, xattrs, Some(problem))
            }
        }
    }

    /// Reads a directory's attributes and names, and goes down into it.
    fn enter(
        &mut self,
        fd: OwnedFd,
        stat: &Statx,
        terms: &'a Terms,
        mount: Option<MountSeen>,
    ) -> Result<(), Stopped> {
        let xattrs = xattrs::read(&fd, &terms.xattrs);
        let (names, problem) = match list(&fd, &mut self.buffer) {
            (names, None) => (names, None),
            (names, Some(errno)) => (names, Some(Problem::unreadable("cannot list the directory", errno))),
        };
        self.seen_directory(stat, terms, mount, xattrs, problem)?;
        let directory = Arc::new(Directory { fd, mount_id: stat.stx_mnt_id });
        self.levels.push(Level { directory, names: names.into_iter() });
        Ok(())
    }

    fn seen_directory(
        &mut self,
        stat: &Statx,
        terms: &'a Terms,
        mount: Option<MountSeen>,
        xattrs: ReadXattrs,
        problem: Option<Problem>,
    ) -> Result<(), Stopped> {
        // Nothing can be forbidden of a directory.
        if terms.class == Class::Ephemeral && !self.scope.purpose.is_bake() {
            let (path, sight) = (self.path.clone(), problem.map_or(Sight::Anything, Sight::Hidden));
            return self.put(Job::Seen(Seen { path, terms, mount, sight }));
        }
        let is_unlisted = problem.is_some();
        let seen = SeenEntry { is_unlisted, ..seen_entry(stat, Node::Directory, xattrs, problem) };
        let path = self.path.clone();
        self.put(Job::Seen(Seen { path, terms, mount, sight: Sight::Entry(Box::new(seen)) }))
    }

    fn unseen(
        &mut self,
        terms: &'a Terms,
        mount: Option<MountSeen>,
        problem: Problem,
    ) -> Result<(), Stopped> {
        let path = self.path.clone();
        self.put(Job::Seen(Seen { path, terms, mount, sight: Sight::Hidden(problem) }))
    }

    fn put(&mut self, job: Job<'a>) -> Result<(), Stopped> {
        self.batch.push(job);
        if self.batch.len() < BATCH_JOBS {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_JOBS));
        self.queue.push(full)
    }

    fn mount_between(&self, parent: &Directory, stat: &Statx) -> Option<MountSeen> {
        (stat.stx_mnt_id != parent.mount_id)
            .then(|| self.root.mounts.treat(self.scope.contract, &self.path, stat.stx_mnt_id))
    }
}

/// Whether a mount is one that the contract names and that is not looked into.
pub(crate) fn is_hiding(mount: Option<&MountSeen>) -> bool {
    mount.is_some_and(|mount| mount.treatment == MountTreatment::Hide)
}

/// A directory as it is without the mounts in it: a private copy of its own mount
/// alone, which nobody else sees and which goes with its descriptor.
pub(super) fn without_mounts(directory: &Directory) -> Result<Arc<Directory>, Problem> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let copied = rustix::mount::open_tree(&directory.fd, c"", flags).and_then(|fd| Ok((stat(&fd)?, fd)));
    match copied {
        Ok((stat, fd)) => Ok(Arc::new(Directory { fd, mount_id: stat.stx_mnt_id })),
        Err(errno) => Err(Problem::unreadable("cannot look beneath the mount on it", errno)),
    }
}

/// What kind of thing a stat is of.
pub(super) fn file_type(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

pub(super) fn stat(fd: &OwnedFd) -> Result<Statx, Errno> {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, STAT_MASK)
}

pub(super) fn stat_at(directory: &Directory, name: &CStr) -> Result<Statx, Errno> {
    rustix::fs::statx(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, STAT_MASK)
}

fn open_directory(parent: &Directory, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::openat(&parent.fd, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner may ask for no access time.
        Err(Errno::PERM) => rustix::fs::openat(&parent.fd, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// The names in a directory, sorted by their bytes; with the error that ended
/// the listing early, if one did.
fn list(fd: &OwnedFd, buffer: &mut [MaybeUninit<u8>]) -> (Vec<(CString, FileType)>, Option<Errno>) {
    let mut names = Vec::new();
    let mut error = None;
    let mut listing = RawDir::new(fd, buffer);
    while let Some(entry) = listing.next() {
        match entry {
            Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
            // A damaged directory: the kernel lets a name begin with NUL.
            Ok(entry) if entry.file_name().is_empty() => error = Some(Errno::IO),
            Ok(entry) => names.push((entry.file_name().to_owned(), entry.file_type())),
            Err(errno) => {
                error = Some(errno);
                break;
            }
        }
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    // A listing that changes under us can name an entry twice.
    names.dedup_by(|a, b| a.0 == b.0);
    (names, error)
}
