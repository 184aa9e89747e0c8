//! The walk: lists directories depth first, names in order of their bytes.
//!
//! A directory's own attributes are read here, from the descriptor that also
//! lists it; everything else is left to the readers.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use congruent_protocol::contract::{Class, Follower, Terms};
use congruent_protocol::entry::Node;
use congruent_protocol::normalise::is_reserved;
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::MountTreatment;
use rustix::fs::{FileType, OFlags, SeekFrom, Statx};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::cache::Noted;
use super::directory::{Directory, Room};
use super::levels::Levels;
use super::listing::Names;
use super::open::open;
use super::pool::{Stopped, Window, WindowQueue};
use super::read::seen_entry;
use super::sight::{MountSeen, Problem, ProblemKind, Seen, SeenEntry, Sight};
use super::stat::{file_type, stat, stat_at};
use super::xattrs::{self, ReadXattrs};
use super::{Recalled, Root, Scope};

/// The longest path that is looked at: no report can hold longer ones.
const MAX_PATH_BYTES: usize = 1 << 16;

/// A path that a reader looks at.
pub(super) struct Look<'a> {
    pub(super) directory: Arc<Directory>,
    pub(super) path: TreePath,
    pub(super) terms: &'a Terms,
    /// Whether the directory said that it is a regular file.
    pub(super) likely_file: bool,
    /// What an earlier look noted of it.
    pub(super) known: Option<Noted>,
}

impl Look<'_> {
    /// What the directory calls it.
    pub(super) fn name(&self) -> &[u8] {
        self.path.name()
    }
}

pub(super) struct Walk<'w, 'a> {
    root: &'w Root,
    scope: &'w Scope<'a>,
    recalled: Recalled,
    queue: WindowQueue<'a>,
    window: Window<'a>,
    room: Arc<Room>,
    levels: Levels,
    path: TreePath,
    follower: Follower<'a>,
    buffer: Box<[MaybeUninit<u8>]>,
}

impl<'w, 'a> Walk<'w, 'a> {
    pub(super) fn new(
        root: &'w Root,
        scope: &'w Scope<'a>,
        recalled: Recalled,
        queue: WindowQueue<'a>,
    ) -> Self {
        let room = Room::new(scope.means.threads);
        Self {
            root,
            scope,
            recalled,
            queue,
            window: Window::new(scope.means),
            levels: Levels::new(room.share_of_the_walk()),
            room,
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
        while let Some(level) = self.levels.innermost() {
            let path_bytes = level.path_bytes;
            let Some(listed) = level.names.next() else {
                if self.levels.leaving_opens() {
                    self.make_room()?;
                }
                self.levels.leave(&self.path, &self.room);
                continue;
            };
            self.path.truncate_bytes(path_bytes);
            self.path
                .push(listed.name)
                .expect("names listed are not empty, and the kernel lists none with a separator");
            let (kind, inode) = (listed.kind, listed.inode);
            match level.directory() {
                Ok(directory) => self.visit(&directory, kind, inode)?,
                Err(problem) => {
                    let terms = self.terms();
                    self.unseen(terms, None, problem)?;
                }
            }
        }
        self.flush()
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
        // Another look may have listed it: both have one place in it.
        let opened = opened.and_then(|fd| {
            rustix::fs::seek(&fd, SeekFrom::Start(0))?;
            Ok((stat(&fd)?, fd))
        });
        match opened {
            Ok((stat, fd)) => self.enter(fd, &stat, terms, None),
            Err(errno) => self.unseen(terms, None, Problem::unreadable("cannot stat", errno)),
        }
    }

    /// Takes the path at hand: goes into directories, leaves the rest to the
    /// readers. `kind` and `inode` are as `parent` lists it.
    fn visit(&mut self, parent: &Arc<Directory>, kind: FileType, inode: u64) -> Result<(), Stopped> {
        let terms = self.terms();
        if self.path.as_bytes().len() > MAX_PATH_BYTES {
            let reason = format!("its path is over {MAX_PATH_BYTES} bytes long");
            return self.unseen(terms, None, Problem { kind: ProblemKind::Unreadable, reason });
        }
        let is_directory = match kind {
            FileType::Directory => true,
            FileType::Unknown => {
                stat_at(parent, self.path.name()).is_ok_and(|stat| file_type(&stat) == FileType::Directory)
            }
            _ => false,
        };
        if is_directory {
            self.visit_directory(parent, terms, inode)
        } else {
            self.look(parent, terms, kind == FileType::RegularFile, inode)
        }
    }

    /// Leaves the path at hand to the readers.
    fn look(
        &mut self,
        parent: &Arc<Directory>,
        terms: &'a Terms,
        likely_file: bool,
        inode: u64,
    ) -> Result<(), Stopped> {
        let look = Look {
            directory: parent.clone(),
            path: self.path.clone(),
            terms,
            likely_file,
            known: self.recalled.take(&self.path),
        };
        self.window.add_look(look, inode);
        self.flush_if_full()
    }

    fn visit_directory(
        &mut self,
        parent: &Arc<Directory>,
        terms: &'a Terms,
        inode: u64,
    ) -> Result<(), Stopped> {
        // Before it is opened: opening can wake an automount or hang on a dead
        // server, and a mount that is hidden is none of our business.
        let stat = match stat_at(parent, self.path.name()) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return self.unseen(terms, None, Problem::unreadable("cannot stat", errno)),
        };
        let mount = self.mount_between(parent, &stat);
        if self.scope.purpose.is_bake() && is_hiding(mount.as_deref()) {
            // What lies beneath is the image's.
            return match without_mounts(parent, &self.room) {
                Ok(beneath) => self.visit_directory(&beneath, terms, inode),
                Err(problem) => self.unseen(terms, None, problem),
            };
        }
        if let Some(mount) = mount.as_ref().filter(|mount| mount.treatment != MountTreatment::Verify) {
            let (mount, path) = (Some(mount.clone()), self.path.clone());
            return self.put(Seen { path, terms, mount, sight: Sight::Mount });
        }
        self.make_room()?;
        let opened = open(parent.as_fd(), self.path.name(), OFlags::DIRECTORY);
        match opened.and_then(|fd| Ok((super::stat::stat(&fd)?, fd))) {
            Ok((opened, fd)) if opened.stx_mnt_id == stat.stx_mnt_id => self.enter(fd, &opened, terms, mount),
            // Mounted over between the two calls, or swapped for something else:
            // whoever comes by name sees what is there now.
            Ok(_) | Err(Errno::NOTDIR | Errno::LOOP) => self.look(parent, terms, false, inode),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => {
                let problem = Problem::unreadable("cannot open the directory", errno);
                let xattrs = xattrs::read_named(parent, self.path.name(), self.scope.wanted_xattrs(terms));
                self.seen_directory(&stat, terms, mount, xattrs, Some(problem))
            }
        }
    }

    /// Waits until one more directory may be opened.
    fn make_room(&mut self) -> Result<(), Stopped> {
        if self.room.is_full() {
            // What waits in the window holds directories open.
            self.flush()?;
            self.room.wait();
        }
        Ok(())
    }

    /// Reads a directory's attributes and names, and goes down into it.
    fn enter(
        &mut self,
        fd: OwnedFd,
        stat: &Statx,
        terms: &'a Terms,
        mount: Option<Box<MountSeen>>,
    ) -> Result<(), Stopped> {
        let xattrs = xattrs::read(&fd, self.scope.wanted_xattrs(terms));
        let (names, errno) = Names::list(&fd, &mut self.buffer);
        let problem = errno.map(|errno| Problem::unreadable("cannot list the directory", errno));
        self.seen_directory(stat, terms, mount, xattrs, problem)?;
        self.levels.enter(&self.path, self.room.take(fd, stat), names);
        Ok(())
    }

    fn seen_directory(
        &mut self,
        stat: &Statx,
        terms: &'a Terms,
        mount: Option<Box<MountSeen>>,
        xattrs: ReadXattrs,
        problem: Option<Problem>,
    ) -> Result<(), Stopped> {
        // Nothing can be forbidden of a directory.
        if terms.class == Class::Ephemeral && !self.scope.purpose.sees_all() {
            let (path, sight) = (self.path.clone(), problem.map_or(Sight::Anything, Sight::Hidden));
            return self.put(Seen { path, terms, mount, sight });
        }
        let is_unlisted = problem.is_some();
        let seen = SeenEntry { is_unlisted, ..seen_entry(stat, Node::Directory, xattrs, problem) };
        let path = self.path.clone();
        self.put(Seen { path, terms, mount, sight: Sight::Entry(Box::new(seen)) })
    }

    fn unseen(
        &mut self,
        terms: &'a Terms,
        mount: Option<Box<MountSeen>>,
        problem: Problem,
    ) -> Result<(), Stopped> {
        let path = self.path.clone();
        self.put(Seen { path, terms, mount, sight: Sight::Hidden(problem) })
    }

    fn put(&mut self, seen: Seen<'a>) -> Result<(), Stopped> {
        self.window.add_seen(seen);
        self.flush_if_full()
    }

    fn flush_if_full(&mut self) -> Result<(), Stopped> {
        if self.window.is_full() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Stopped> {
        self.queue.push(self.window.take())
    }

    fn mount_between(&self, parent: &Directory, stat: &Statx) -> Option<Box<MountSeen>> {
        (stat.stx_mnt_id != parent.identity.mount_id)
            .then(|| Box::new(self.root.mounts.treat(self.scope.contract, &self.path, stat.stx_mnt_id)))
    }
}

/// Whether a mount is one that the contract names and that is not looked into.
pub(crate) fn is_hiding(mount: Option<&MountSeen>) -> bool {
    mount.is_some_and(|mount| mount.treatment == MountTreatment::Hide)
}

/// A directory as it is without the mounts in it: a private copy of its own mount
/// alone, which nobody else sees and which goes with its descriptor.
pub(super) fn without_mounts(directory: &Directory, room: &Arc<Room>) -> Result<Arc<Directory>, Problem> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let copied = rustix::mount::open_tree(directory, c"", flags).and_then(|fd| Ok((stat(&fd)?, fd)));
    match copied {
        Ok((stat, fd)) => Ok(Arc::new(room.take(fd, &stat))),
        Err(errno) => Err(Problem::unreadable("cannot look beneath the mount on it", errno)),
    }
}
