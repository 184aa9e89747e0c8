//! Reading: one path's attributes and content, from one open file.
//!
//! A file is stat'ed before and after it is read. If it moved meanwhile it is
//! read again, a few times; then it is *unstable*, and no digest is given.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use congruent_protocol::contract::Class;
use congruent_protocol::digest::{Algorithm, Digest, Hasher};
use congruent_protocol::entry::{Device, Entry, Node, Timestamp, Xattrs, xattr_in_scope};
use congruent_protocol::verification::MountTreatment;
use rustix::fs::{FileType, Mode, OFlags, Statx};
use rustix::io::Errno;

use super::sight::{Inode, MountSeen, Problem, ProblemKind, Seen, SeenEntry, Sight};
use super::walk::{Directory, Job, Look, file_type, stat, stat_at};
use super::{Counters, Purpose, Root, Scope};

/// How often a moving file is read before it is called unstable.
const READ_ATTEMPTS: usize = 3;
/// How often a path that changes its kind while looked at is looked at anew.
const LOOK_ATTEMPTS: usize = 3;
const BUFFER_BYTES: usize = 256 << 10;
/// The longest list of xattr names, and the largest value, that Linux has.
const XATTR_BYTES: usize = 64 << 10;

/// Looks at paths, one after another, with one buffer.
pub(super) struct Reader<'a> {
    root: &'a Root,
    scope: &'a Scope<'a>,
    counters: &'a Counters,
    hasher: Hasher,
    buffer: Box<[u8]>,
}

/// A path was swapped for something else between two calls.
enum LookError {
    Swapped,
    Gone,
    Failed(Problem),
}

impl<'a> Reader<'a> {
    pub(super) fn new(root: &'a Root, scope: &'a Scope<'a>, counters: &'a Counters) -> Self {
        let hasher = Algorithm::Blake3.hasher();
        Self { root, scope, counters, hasher, buffer: vec![0; BUFFER_BYTES].into_boxed_slice() }
    }

    /// Looks at what the job names; nothing where it is gone.
    pub(super) fn look(&mut self, job: Job) -> Option<Seen> {
        let look = match job {
            Job::Seen(seen) => return Some(seen),
            Job::Look(look) => look,
        };
        let mut mount = None;
        let mut outcome = Err(LookError::Swapped);
        for _ in 0..LOOK_ATTEMPTS {
            outcome = self.look_once(&look, &mut mount);
            if !matches!(outcome, Err(LookError::Swapped)) {
                break;
            }
        }
        let sight = match outcome {
            Ok(sight) => sight,
            Err(LookError::Gone) => return None,
            Err(LookError::Failed(problem)) => Sight::Hidden(problem),
            Err(LookError::Swapped) => {
                let reason = "it was swapped for something else each time it was looked at".to_owned();
                Sight::Hidden(Problem { kind: ProblemKind::Unstable, reason })
            }
        };
        Some(Seen { path: look.path, class: look.class, mount, sight })
    }

    fn look_once(&mut self, look: &Look, mount: &mut Option<MountSeen>) -> Result<Sight, LookError> {
        let unread = look.class == Class::Ephemeral && self.scope.purpose == Purpose::Verify;
        if look.likely_file && !unread && look.class != Class::Reserved {
            match open_file(&look.directory, &look.name) {
                Ok(file) => return self.read_file(look, &file, mount),
                Err(Errno::NOENT) => return Err(LookError::Gone),
                // Not a regular file any more, or one that we may only stat.
                Err(_) => {}
            }
        }
        let stat = stat_at(&look.directory, &look.name).map_err(|errno| failed("cannot stat", errno))?;
        if let Some(sight) = self.at_mount(look, &stat, mount) {
            return Ok(sight);
        }
        if unread {
            return Ok(Sight::Anything);
        }
        if file_type(&stat) == FileType::RegularFile && look.class != Class::Reserved {
            return match open_file(&look.directory, &look.name) {
                Ok(file) => self.read_file(look, &file, mount),
                Err(Errno::NOENT) => Err(LookError::Gone),
                Err(Errno::LOOP | Errno::NXIO) => Err(LookError::Swapped),
                Err(errno) => {
                    let problem = Problem::unreadable("cannot open", errno);
                    Ok(unopened(look, &stat, file_node(&stat, None), Some(problem)))
                }
            };
        }
        let node = node_from(look, &stat)?;
        Ok(unopened(look, &stat, node, None))
    }

    /// Sees to it when the path is a mount point. A mount that is verified is
    /// looked at like any other path.
    fn at_mount(&self, look: &Look, stat: &Statx, mount: &mut Option<MountSeen>) -> Option<Sight> {
        *mount = (stat.stx_mnt_id != look.directory.mount_id)
            .then(|| self.root.mounts.treat(self.scope.contract, &look.path, stat.stx_mnt_id));
        mount.as_ref().is_some_and(|mount| mount.treatment != MountTreatment::Verify).then_some(Sight::Mount)
    }

    fn read_file(
        &mut self,
        look: &Look,
        file: &OwnedFd,
        mount: &mut Option<MountSeen>,
    ) -> Result<Sight, LookError> {
        let mut before = stat(file).map_err(|errno| failed("cannot stat", errno))?;
        if let Some(sight) = self.at_mount(look, &before, mount) {
            return Ok(sight);
        }
        if file_type(&before) != FileType::RegularFile {
            return Err(LookError::Swapped);
        }
        let mut problem = None;
        let mut content = None;
        for attempt in 1..=READ_ATTEMPTS {
            let digest = match self.hash(file, before.stx_size) {
                Ok(digest) => digest,
                Err(errno) => {
                    problem = Some(Problem::unreadable("cannot read", errno));
                    break;
                }
            };
            let after = stat(file).map_err(|errno| failed("cannot stat", errno))?;
            if is_unmoved(&before, &after) {
                content = Some(digest);
                break;
            }
            before = after;
            if attempt == READ_ATTEMPTS {
                let reason = format!("it changed during each of {READ_ATTEMPTS} reads");
                problem = Some(Problem { kind: ProblemKind::Unstable, reason });
            }
        }
        let xattrs = read_xattrs(file);
        Ok(Sight::Entry(Box::new(seen_entry(&before, file_node(&before, content), xattrs, problem))))
    }

    /// The digest of a file's content from its start.
    fn hash(&mut self, file: &OwnedFd, size: u64) -> Result<Digest, Errno> {
        self.hasher.reset();
        let mut offset = 0;
        loop {
            match rustix::io::pread(file, &mut self.buffer[..], offset) {
                Ok(0) => break,
                Ok(count) => {
                    self.hasher.update(&self.buffer[..count]);
                    self.counters.add_bytes(count as u64);
                    offset += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            // One read less for each file. Growth shows in the stat after.
            if offset == size {
                break;
            }
        }
        Ok(self.hasher.finish())
    }
}

fn failed(action: &str, errno: Errno) -> LookError {
    match errno {
        Errno::NOENT => LookError::Gone,
        errno => LookError::Failed(Problem::unreadable(action, errno)),
    }
}

/// O_NONBLOCK: a pipe that took a file's place must not stop us.
fn open_file(directory: &Directory, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match rustix::fs::openat(&directory.fd, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(&directory.fd, name, flags, Mode::empty()),
        opened => opened,
    }
}

fn is_unmoved(before: &Statx, after: &Statx) -> bool {
    let time = |t: rustix::fs::StatxTimestamp| (t.tv_sec, t.tv_nsec);
    before.stx_size == after.stx_size
        && time(before.stx_mtime) == time(after.stx_mtime)
        && time(before.stx_ctime) == time(after.stx_ctime)
}

/// An entry that is not opened: all but regular files, and those we may not open.
fn unopened(look: &Look, stat: &Statx, node: Node, problem: Option<Problem>) -> Sight {
    let xattrs = read_named_xattrs(&look.directory, &look.name);
    Sight::Entry(Box::new(seen_entry(stat, node, xattrs, problem)))
}

fn seen_entry(
    stat: &Statx,
    node: Node,
    xattrs: Result<Xattrs, Errno>,
    problem: Option<Problem>,
) -> SeenEntry {
    let xattrs_unread = xattrs.is_err();
    let problem = problem.or(xattrs.as_ref().err().map(|&e| Problem::unreadable("cannot read xattrs", e)));
    let entry = entry_from(stat, node, xattrs.unwrap_or_default());
    SeenEntry { entry, inode: inode_from(stat), problem, xattrs_unread }
}

fn file_node(stat: &Statx, content: Option<Digest>) -> Node {
    Node::File { size: stat.stx_size, content }
}

fn node_from(look: &Look, stat: &Statx) -> Result<Node, LookError> {
    let device = Device { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor };
    Ok(match file_type(stat) {
        FileType::RegularFile => file_node(stat, None),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&look.directory.fd, &look.name, Vec::new());
            let target = target.map_err(|errno| match errno {
                Errno::INVAL => LookError::Swapped,
                errno => failed("cannot read the link", errno),
            })?;
            Node::Symlink { target: target.into_bytes() }
        }
        FileType::Fifo => Node::Fifo,
        FileType::Socket => Node::Socket,
        FileType::CharacterDevice => Node::CharDevice(device),
        FileType::BlockDevice => Node::BlockDevice(device),
        // The walk took it for something else, and has not listed it.
        FileType::Directory | FileType::Unknown => return Err(LookError::Swapped),
    })
}

pub(super) fn entry_from(stat: &Statx, node: Node, xattrs: Xattrs) -> Entry {
    let mtime = Timestamp { seconds: stat.stx_mtime.tv_sec, nanoseconds: stat.stx_mtime.tv_nsec };
    Entry {
        node,
        mode: stat.stx_mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mtime,
        link_group: 0,
        xattrs,
    }
}

pub(super) fn inode_from(stat: &Statx) -> Inode {
    Inode { device: (stat.stx_dev_major, stat.stx_dev_minor), number: stat.stx_ino, links: stat.stx_nlink }
}

/// The xattrs in scope of an open file or directory.
pub(super) fn read_xattrs(fd: &impl AsFd) -> Result<Xattrs, Errno> {
    collect_xattrs(
        |list| rustix::fs::flistxattr(fd, list),
        |name, value| rustix::fs::fgetxattr(fd, name, value),
    )
}

/// The same of what cannot be opened. There is no call for a name relative to a
/// directory before Linux 6.13, so the way leads through /proc.
pub(super) fn read_named_xattrs(directory: &Directory, name: &CStr) -> Result<Xattrs, Errno> {
    let mut path = format!("/proc/self/fd/{}/", directory.fd.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    collect_xattrs(
        |list| rustix::fs::llistxattr(&path[..], list),
        |name, value| rustix::fs::lgetxattr(&path[..], name, value),
    )
}

fn collect_xattrs(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&CStr, &mut [u8]) -> Result<usize, Errno>,
) -> Result<Xattrs, Errno> {
    // Nearly every entry has none or a few short ones.
    let mut short = [0; 512];
    let long;
    let names = match list(&mut short) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Xattrs::new()),
        Ok(length) => &short[..length],
        Err(Errno::RANGE) => {
            let mut buffer = vec![0; XATTR_BYTES];
            let length = list(&mut buffer)?;
            buffer.truncate(length);
            long = buffer;
            &long[..]
        }
        Err(errno) => return Err(errno),
    };
    let mut xattrs = Xattrs::new();
    for name in names.split_inclusive(|&b| b == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok()) {
        if !xattr_in_scope(name.to_bytes()) {
            continue;
        }
        let mut value = vec![0; XATTR_BYTES];
        match get(name, &mut value) {
            Ok(length) => value.truncate(length),
            // Removed since it was listed.
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(errno),
        }
        value.shrink_to_fit();
        xattrs.push((name.to_bytes().to_vec(), value));
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}
