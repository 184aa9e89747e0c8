//! Reading: one path's attributes and content, from one open file.
//!
//! A file is stat'ed before and after it is read. If it moved meanwhile it is
//! read again, a few times; then it is *unstable*, and no digest is given.

use std::os::fd::{AsFd, OwnedFd};

use congruent_protocol::contract::{CAPABILITY, Class, Forbidden};
use congruent_protocol::digest::Digest;
use congruent_protocol::entry::{Device, Entry, Node, Timestamp};
use congruent_protocol::verification::MountTreatment;
use rustix::fs::{FileType, Statx};
use rustix::io::Errno;

use super::cache::Noted;
use super::content::{ContentHasher, Hashed};
use super::links::Links;
use super::open::open_file;
use super::sight::{Inode, MountSeen, Problem, ProblemKind, Seen, SeenEntry, Sight};
use super::stamp::{Moment, Stamp};
use super::stat::{file_type, stat, stat_at};
use super::walk::{Look, is_hiding, without_mounts};
use super::xattrs::{self, ReadXattrs};
use super::{Counters, Purpose, Root, Scope};
use crate::lint;

/// How often a moving file is read before it is called unstable.
const READ_ATTEMPTS: usize = 3;
/// How often a path that changes its kind while looked at is looked at anew.
const LOOK_ATTEMPTS: usize = 3;
/// A damaged file system can have later ones.
const LAST_NANOSECOND: u32 = 999_999_999;

/// Looks at paths, one after another.
pub(super) struct Reader<'w, 'a> {
    root: &'w Root,
    scope: &'w Scope<'a>,
    links: &'w Links,
    counters: &'w Counters,
    hasher: ContentHasher<'w>,
}

/// A path was swapped for something else between two calls.
enum LookError {
    Swapped,
    Gone,
    Failed(Problem),
}

impl<'w, 'a> Reader<'w, 'a> {
    pub(super) fn new(
        root: &'w Root,
        scope: &'w Scope<'a>,
        links: &'w Links,
        counters: &'w Counters,
    ) -> Self {
        Self { root, scope, links, counters, hasher: ContentHasher::new(scope, counters) }
    }

    /// Looks at one path; nothing where it is gone.
    pub(super) fn look(&mut self, look: Look<'a>) -> Option<Seen<'a>> {
        let is_linted = self.scope.purpose.is_linted();
        if is_linted {
            self.hasher.keep_head(lint::head_bytes(&look.path));
        }
        let mut seen = self.see(look)?;
        if let (true, Sight::Entry(entry)) = (is_linted, &mut seen.sight) {
            entry.lints = lint::of(&seen.path, &entry.entry, self.hasher.head());
        }
        Some(seen)
    }

    fn see(&mut self, mut look: Look<'a>) -> Option<Seen<'a>> {
        let mut mount = None;
        let mut outcome = Err(LookError::Swapped);
        for _ in 0..LOOK_ATTEMPTS {
            outcome = self.look_once(&look, &mut mount);
            if self.scope.purpose.is_bake()
                && matches!(outcome, Ok(Sight::Mount))
                && is_hiding(mount.as_deref())
            {
                // What lies beneath is the image's.
                match without_mounts(&look.directory, look.directory.room()) {
                    Ok(beneath) => (look.directory, outcome) = (beneath, Err(LookError::Swapped)),
                    Err(problem) => outcome = Err(LookError::Failed(problem)),
                }
            }
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
        Some(Seen { path: look.path, terms: look.terms, mount, sight })
    }

    fn look_once(&mut self, look: &Look<'_>, mount: &mut Option<Box<MountSeen>>) -> Result<Sight, LookError> {
        let class = look.terms.class;
        let unread = class == Class::Ephemeral && !self.scope.purpose.is_bake();
        if look.likely_file && !unread && class != Class::Reserved && look.known.is_none() {
            match open_file(look.directory.as_fd(), look.name()) {
                Ok(file) => return self.read_file(look, &file, mount),
                Err(Errno::NOENT) => return Err(LookError::Gone),
                // Not a regular file any more, or one that we may only stat.
                Err(_) => {}
            }
        }
        let begun = Moment::now();
        let stat = stat_at(&look.directory, look.name()).map_err(|errno| failed("cannot stat", errno))?;
        if let Some(sight) = self.at_mount(look, &stat, mount) {
            return Ok(sight);
        }
        if unread && self.scope.purpose.is_layer() {
            // It may take away what is not of its class.
            return Ok(self.unopened(look, &stat, node_from(look, &stat)?, None));
        }
        if unread && !self.may_be_forbidden(look, &stat) {
            return Ok(Sight::Anything);
        }
        if let Some(noted) = look.known.filter(|noted| noted.stamp == Stamp::of(&stat)) {
            return Ok(self.recalled(&stat, noted));
        }
        if file_type(&stat) == FileType::RegularFile && class != Class::Reserved {
            return match open_file(look.directory.as_fd(), look.name()) {
                Ok(file) => self.read_file(look, &file, mount),
                Err(Errno::NOENT) => Err(LookError::Gone),
                Err(Errno::LOOP | Errno::NXIO) => Err(LookError::Swapped),
                Err(errno) => {
                    let problem = Problem::unreadable("cannot open", errno);
                    Ok(self.unopened(look, &stat, file_node(&stat, None), Some(problem)))
                }
            };
        }
        let node = node_from(look, &stat)?;
        let mut sight = self.unopened(look, &stat, node, None);
        if let Sight::Entry(seen) = &mut sight {
            seen.settle(&stat, begun);
        }
        Ok(sight)
    }

    /// Sees to it when the path is a mount point. A mount that is verified is
    /// looked at like any other path.
    fn at_mount(&self, look: &Look<'_>, stat: &Statx, mount: &mut Option<Box<MountSeen>>) -> Option<Sight> {
        *mount = (stat.stx_mnt_id != look.directory.identity.mount_id)
            .then(|| Box::new(self.root.mounts.treat(self.scope.contract, &look.path, stat.stx_mnt_id)));
        mount.as_ref().is_some_and(|mount| mount.treatment != MountTreatment::Verify).then_some(Sight::Mount)
    }

    fn read_file(
        &mut self,
        look: &Look<'_>,
        file: &OwnedFd,
        mount: &mut Option<Box<MountSeen>>,
    ) -> Result<Sight, LookError> {
        let mut begun = Moment::now();
        let mut before = stat(file).map_err(|errno| failed("cannot stat", errno))?;
        if let Some(sight) = self.at_mount(look, &before, mount) {
            return Ok(sight);
        }
        if file_type(&before) != FileType::RegularFile {
            return Err(LookError::Swapped);
        }
        let mut attempt = 1;
        let (content, problem, xattrs) = loop {
            let digest = self.digest(look, file, &before, begun);
            let xattrs = xattrs::read(file, self.scope.wanted_xattrs(look.terms));
            let digest = match digest {
                Ok(digest) => digest,
                Err(errno) => break (None, Some(Problem::unreadable("cannot read", errno)), xattrs),
            };
            let again = Moment::now();
            let after = stat(file).map_err(|errno| failed("cannot stat", errno))?;
            if is_unmoved(&before, &after) || self.only_grew(look, &before, &after) {
                break (Some(digest), None, xattrs);
            }
            if attempt == READ_ATTEMPTS {
                let reason = format!("it changed during each of {READ_ATTEMPTS} reads");
                break (None, Some(Problem { kind: ProblemKind::Unstable, reason }), xattrs);
            }
            (begun, before) = (again, after);
            attempt += 1;
        };
        let past_cache = content.as_ref().is_some_and(|content| content.past_cache);
        let node = file_node(&before, content.map(|content| content.digest));
        let mut seen = seen_entry(&before, node, xattrs, problem);
        seen.past_cache = past_cache;
        // Of a file that may only be appended to the digest is not that of the whole.
        if look.terms.class != Class::AppendOnly {
            seen.settle(&before, begun);
        }
        Ok(Sight::Entry(Box::new(seen)))
    }

    /// The digest of a file's content, read here or at another of its paths.
    fn digest(
        &mut self,
        look: &Look<'_>,
        file: &OwnedFd,
        stat: &Statx,
        begun: Moment,
    ) -> Result<Hashed, Errno> {
        let size = self.bytes_to_hash(look, stat);
        if stat.stx_nlink < 2 || size < stat.stx_size || self.scope.purpose.is_linted() {
            return self.hasher.hash(file, stat, size);
        }
        let stamp = Stamp::of(stat);
        let mut is_read = false;
        let digest = self.links.digest(&stamp, stat.stx_nlink, || {
            is_read = true;
            let hashed = self.hasher.hash(file, stat, size)?;
            let holds = super::stat::stat(file).is_ok_and(|after| Stamp::of(&after) == stamp);
            Ok((hashed, holds && stamp.was_settled_at(begun)))
        });
        if !is_read {
            self.counters.add_spared(size);
        }
        digest
    }

    /// How much of a file is hashed: all of it, or of one that may only be
    /// appended to what was baked.
    fn bytes_to_hash(&self, look: &Look<'_>, stat: &Statx) -> u64 {
        self.baked_size(look).map_or(stat.stx_size, |baked| baked.min(stat.stx_size))
    }

    fn baked_size(&self, look: &Look<'_>) -> Option<u64> {
        match self.scope.purpose {
            Purpose::Verify { base: Some(base) } | Purpose::Layer { base: Some(base) }
                if look.terms.class == Class::AppendOnly =>
            {
                base.append_only_size(&look.path)
            }
            _ => None,
        }
    }

    /// Whether all that happened meanwhile is that more was appended to what was
    /// baked: a live log is stable.
    fn only_grew(&self, look: &Look<'_>, before: &Statx, after: &Statx) -> bool {
        self.baked_size(look).is_some_and(|baked| before.stx_size >= baked)
            && after.stx_size >= before.stx_size
            && (before.stx_mode, before.stx_uid, before.stx_gid)
                == (after.stx_mode, after.stx_uid, after.stx_gid)
    }

    /// Whether what may be anything could be something that its rule forbids; then
    /// it is looked at in full.
    fn may_be_forbidden(&self, look: &Look<'_>, stat: &Statx) -> bool {
        let forbid = &look.terms.forbid;
        let is_file = file_type(stat) == FileType::RegularFile;
        let is_device = matches!(file_type(stat), FileType::CharacterDevice | FileType::BlockDevice);
        forbid.iter().any(|forbidden| match forbidden {
            Forbidden::Exec => is_file && (stat.stx_mode & 0o111 != 0 || self.has_capability(look)),
            Forbidden::Setuid => is_file && stat.stx_mode & 0o6000 != 0,
            Forbidden::Device => is_device,
        })
    }

    /// Whether a file has rights of its own, or might: what cannot be asked is
    /// looked at.
    fn has_capability(&self, look: &Look<'_>) -> bool {
        let read = xattrs::read_named(&look.directory, look.name(), self.scope.wanted_xattrs(look.terms));
        read.failed.is_some() || read.xattrs.iter().any(|(name, _)| name == CAPABILITY)
    }

    /// What has not changed since something was noted of it.
    fn recalled(&self, stat: &Statx, Noted { stamp, content }: Noted) -> Sight {
        let Some(content) = content else { return Sight::AsBefore(stamp) };
        self.counters.add_spared(stat.stx_size);
        let seen = seen_entry(stat, file_node(stat, Some(content)), ReadXattrs::none(), None);
        Sight::Entry(Box::new(SeenEntry { stamp: Some(stamp), is_recalled: true, ..seen }))
    }

    /// An entry that is not opened: all but regular files, and those we may not open.
    fn unopened(&self, look: &Look<'_>, stat: &Statx, node: Node, problem: Option<Problem>) -> Sight {
        let xattrs = xattrs::read_named(&look.directory, look.name(), self.scope.wanted_xattrs(look.terms));
        Sight::Entry(Box::new(seen_entry(stat, node, xattrs, problem)))
    }
}

fn failed(action: &str, errno: Errno) -> LookError {
    match errno {
        Errno::NOENT => LookError::Gone,
        errno => LookError::Failed(Problem::unreadable(action, errno)),
    }
}

fn is_unmoved(before: &Statx, after: &Statx) -> bool {
    let time = |t: rustix::fs::StatxTimestamp| (t.tv_sec, t.tv_nsec);
    before.stx_size == after.stx_size
        && time(before.stx_mtime) == time(after.stx_mtime)
        && time(before.stx_ctime) == time(after.stx_ctime)
}

pub(super) fn seen_entry(stat: &Statx, node: Node, read: ReadXattrs, problem: Option<Problem>) -> SeenEntry {
    let problem = problem.or(read.failed.map(|errno| Problem::unreadable("cannot read xattrs", errno)));
    let problem = problem.or((stat.stx_mtime.tv_nsec > LAST_NANOSECOND).then(|| Problem {
        kind: ProblemKind::Unreadable,
        reason: "the file system gives it a time that does not exist".to_owned(),
    }));
    let nanoseconds = stat.stx_mtime.tv_nsec.min(LAST_NANOSECOND);
    let mtime = Timestamp { seconds: stat.stx_mtime.tv_sec, nanoseconds };
    let entry = Entry {
        node,
        mode: stat.stx_mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mtime,
        link_group: 0,
        xattrs: read.xattrs,
        package: 0,
    };
    let inode = Inode {
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        number: stat.stx_ino,
        links: stat.stx_nlink,
    };
    let xattrs_answered = read.failed.map(|_| read.answered);
    SeenEntry {
        entry,
        inode,
        problem,
        is_unlisted: false,
        xattrs_answered,
        lints: Vec::new(),
        stamp: None,
        is_recalled: false,
        past_cache: false,
    }
}

impl SeenEntry {
    /// Keeps the stamp where it proves for later that nothing has changed.
    fn settle(&mut self, stat: &Statx, begun: Moment) {
        let stamp = Stamp::of(stat);
        if self.problem.is_none() && stamp.was_settled_at(begun) {
            self.stamp = Some(stamp);
        }
    }
}

fn file_node(stat: &Statx, content: Option<Digest>) -> Node {
    Node::File { size: stat.stx_size, content }
}

fn node_from(look: &Look<'_>, stat: &Statx) -> Result<Node, LookError> {
    let device = Device { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor };
    Ok(match file_type(stat) {
        FileType::RegularFile => file_node(stat, None),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&*look.directory, look.name(), Vec::new());
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
