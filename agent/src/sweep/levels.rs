//! The directories on the way to where the walk is, outermost first.
//!
//! Only the innermost are kept open, however deep the way. One that was closed is
//! opened again when the walk comes back to it, and must then be the same one.

use std::os::fd::AsFd;
use std::sync::Arc;

use congruent_protocol::path::TreePath;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::directory::{Directory, Identity, Room};
use super::listing::Names;
use super::open::open_descendant;
use super::sight::{Problem, ProblemKind};
use super::stat::stat;

/// A directory whose names are being visited.
pub(super) struct Level {
    /// How deep it lies: 0 for the root.
    depth: usize,
    /// The length of its path.
    pub(super) path_bytes: usize,
    pub(super) names: Names,
    identity: Identity,
    held: Held,
}

enum Held {
    Open(Arc<Directory>),
    /// Closed until the walk comes back.
    Closed,
    /// It was not found again where it had been.
    Lost(Problem),
}

impl Level {
    /// The directory; or why what is left of it cannot be looked at.
    pub(super) fn directory(&self) -> Result<Arc<Directory>, Problem> {
        match &self.held {
            Held::Open(directory) => Ok(directory.clone()),
            Held::Lost(problem) => Err(problem.clone()),
            Held::Closed => Err(moved_away()),
        }
    }
}

/// All of them. The root is always open.
pub(super) struct Levels {
    levels: Vec<Level>,
    most_open: usize,
}

impl Levels {
    /// None yet; of those to come at most `most_open` will be open, and at least
    /// the root and the innermost.
    pub(super) fn new(most_open: usize) -> Self {
        Self { levels: Vec::new(), most_open: most_open.max(2) }
    }

    pub(super) fn innermost(&mut self) -> Option<&mut Level> {
        self.levels.last_mut()
    }

    pub(super) fn enter(&mut self, path: &TreePath, directory: Directory, names: Names) {
        let path_bytes = path.len();
        let (depth, identity) = (self.levels.len(), directory.identity);
        self.levels.push(Level { depth, path_bytes, names, identity, held: Held::Open(Arc::new(directory)) });
        if let Some(outer) = self.levels.len().checked_sub(self.most_open).filter(|&outer| outer > 0) {
            self.levels[outer].held = Held::Closed;
        }
    }

    /// Whether going back opens a directory again.
    pub(super) fn leaving_opens(&self) -> bool {
        let above = self.levels.len().checked_sub(2).map(|above| &self.levels[above]);
        above.is_some_and(|level| matches!(level.held, Held::Closed))
    }

    /// Goes back to the directory that holds the innermost one. `path` is where
    /// the walk was, in the innermost one or beneath.
    pub(super) fn leave(&mut self, path: &TreePath, room: &Arc<Room>) {
        let left = self.levels.pop();
        let Some(level) = self.levels.last().filter(|level| matches!(level.held, Held::Closed)) else {
            return;
        };
        let child = left.and_then(|level| level.directory().ok());
        let held = match child.and_then(|child| level.above(&child, room)) {
            Some(directory) => Held::Open(Arc::new(directory)),
            None => self
                .find_again(level, path, room)
                .map_or_else(Held::Lost, |directory| Held::Open(Arc::new(directory))),
        };
        if let Some(level) = self.levels.last_mut() {
            level.held = held;
        }
    }

    /// The innermost directory, by its path from the nearest one that is open.
    fn find_again(&self, level: &Level, path: &TreePath, room: &Arc<Room>) -> Result<Directory, Problem> {
        let open = self.levels.iter().rev().find_map(|level| match &level.held {
            Held::Open(directory) => Some((level.depth, directory)),
            Held::Closed | Held::Lost(_) => None,
        });
        let (depth, from) = open.ok_or_else(moved_away)?;
        let names: Vec<&[u8]> =
            path.as_bytes()[1..].split(|&byte| byte == b'/').take(level.depth).skip(depth).collect();
        let fd = open_descendant(from.as_fd(), &names.join(&b'/'));
        let found = fd.and_then(|fd| Ok((stat(&fd)?, fd)));
        match found {
            Ok((stat, fd)) if Identity::of(&stat) == level.identity => Ok(room.take(fd, &stat)),
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Err(moved_away()),
            Err(errno) => Err(Problem::unreadable("cannot open the directory again", errno)),
        }
    }
}

impl Level {
    /// This directory, as the one above `child`, if it still is.
    fn above(&self, child: &Directory, room: &Arc<Room>) -> Option<Directory> {
        // Leads out of `child`, and so is not beneath it: what it is has to be
        // looked at before it is used.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(child.as_fd(), c"..", flags, rustix::fs::Mode::empty()).ok()?;
        let stat = stat(&fd).ok()?;
        (Identity::of(&stat) == self.identity).then(|| room.take(fd, &stat))
    }
}

fn moved_away() -> Problem {
    let reason = "its directory was moved away while it was being swept".to_owned();
    Problem { kind: ProblemKind::Unstable, reason }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::mem::MaybeUninit;
    use std::path::Path;

    use super::*;

    /// Goes down `names` from `root`, with two directories open at most, and back
    /// up by one, after `meanwhile`.
    fn come_back(root: &Path, names: &[&str], meanwhile: impl FnOnce()) -> Result<(), ProblemKind> {
        let room = Room::new(1);
        let mut levels = Levels::new(2);
        let mut buffer = vec![MaybeUninit::uninit(); 4096];
        let mut enter = |levels: &mut Levels, at: &TreePath, path: &Path| {
            let fd = fs::File::open(path).unwrap().into();
            let listed = Names::list(&fd, &mut buffer).0;
            let directory = room.take(fd, &stat(&fs::File::open(path).unwrap().into()).unwrap());
            levels.enter(at, directory, listed);
        };
        let (mut at, mut path) = (root.to_owned(), TreePath::root());
        enter(&mut levels, &path, &at);
        for name in names {
            at.push(name);
            path.push(name.as_bytes()).unwrap();
            enter(&mut levels, &path, &at);
        }
        meanwhile();
        levels.leave(&path, &room);
        levels.innermost().unwrap().directory().map(drop).map_err(|problem| problem.kind)
    }

    #[test]
    fn a_directory_that_was_closed_is_found_again_or_is_lost() {
        let check = |what: &str, meanwhile: fn(&Path), expected: Result<(), ProblemKind>| {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            fs::create_dir_all(root.join("a/b/c/d")).unwrap();
            assert_eq!(come_back(root, &["a", "b", "c", "d"], || meanwhile(root)), expected, "{what}");
        };
        check("nothing happened", |_| {}, Ok(()));
        check(
            "what was left moved away, and leads elsewhere",
            |root| fs::rename(root.join("a/b/c/d"), root.join("d")).unwrap(),
            Ok(()),
        );
        check("what was left is gone", |root| fs::remove_dir(root.join("a/b/c/d")).unwrap(), Ok(()));
        check(
            "both moved, each elsewhere",
            |root| {
                fs::rename(root.join("a/b/c/d"), root.join("d")).unwrap();
                fs::rename(root.join("a/b/c"), root.join("c")).unwrap();
            },
            Err(ProblemKind::Unstable),
        );
        check(
            "another took its place",
            |root| {
                fs::rename(root.join("a/b/c/d"), root.join("d")).unwrap();
                fs::rename(root.join("a/b/c"), root.join("c")).unwrap();
                fs::create_dir(root.join("a/b/c")).unwrap();
            },
            Err(ProblemKind::Unstable),
        );
    }
}
