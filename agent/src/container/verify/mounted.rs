//! What a container has mounted, held to what was looked at.
//!
//! Layers are looked at by their names on the host, but overlay holds the directories
//! themselves: one that was renamed serves on, while its old name may show a clean copy. So
//! some entries of each layer are compared with what the container's own root shows of
//! them. Overlay shows the change time of the entry that it holds; of files of lower layers,
//! and where all layers are of one file system of their directories too, also the inode
//! number; of the root that of the writable layer's directory (Linux, `ovl_getattr` and
//! `ovl_get_root`, and Documentation/filesystems/overlayfs.rst, "Inode properties").
//!
//! Compared are the directories nearest to each layer's root and a file in each. No file
//! is opened, and no link followed. A container that writes meanwhile is never called
//! wrong for it: what it does shows in its writable layer before it shows in the mount, and
//! what hides an entry of a lower layer hides it for good. So what hides an entry is asked
//! for last; and of the writable layer only what nobody has touched lately is compared.
//!
//! What a lower layer lost behind the runtime's back goes on hiding what lies below, as
//! long as the overlay remembers it: an entry, a whiteout, the mark of an opaque directory.
//! The loss is a finding of the layer that had it, and no gap of those below.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use congruent_protocol::drift::{Change, Finding};
use congruent_protocol::entry::Kind;
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::State;
use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::{CheckedLower, GapPath, Lower, Part, PartGap, Writable, ids};
use crate::container::Container;
use crate::layer::Notes;
use crate::sweep::{Root, open_descendant, sees_trusted};

/// How many directories of a layer are compared, beside its root.
const MAX_DIRECTORIES: usize = 64;
/// How many of them may lie in one directory other than the root: the others are to have
/// their turn.
const MAX_SIBLINGS: usize = 12;
/// How many names of one directory are looked through, and at how many files until one
/// is found that shows.
const MAX_NAMES: usize = 512;
const MAX_FILES: usize = 8;
/// How long ago what is compared of a writable layer was last changed.
const SETTLED: Duration = Duration::from_secs(10);
/// How long a container's root may take to answer. Beneath an overlay that a user mounted
/// may lie a file system of the user's own, which need not answer at all.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many that do not answer are waited for at a time.
const MAX_UNANSWERED: usize = 8;
/// From where the number of an overlay's layer may stand in inode numbers (`xino`).
const XINO_SHIFT: u32 = 54;

/// How directories are opened that are only compared.
const PATH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What is asked of statx(2).
const STATED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID);

/// Threads that still wait for an answer, in all looks.
static UNANSWERED: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug, thiserror::Error)]
enum MountedError {
    #[error("cannot see what it has mounted")]
    Open(#[source] io::Error),
    #[error("its process has another root now than it had")]
    OtherRoot,
    #[error("what it has mounted does not answer")]
    Silent,
    #[error(
        "what lies at {} is not what the container has mounted: it was put there, or what hid it was taken away, while \
         the container ran",
        .0.display()
    )]
    Replaced(PathBuf),
}

/// Holds a running container's layers to what it has mounted. What is not that makes their
/// part incomplete.
pub(super) fn check(
    container: &Container,
    now: Timestamp,
    (lower, upper): (&mut Lower, &mut Writable),
    gaps: &mut Vec<PartGap>,
) {
    let Some(mounted) = Mounted::of(container, now) else { return };
    let found = match mounted.compare_in_time() {
        // Its layers may have been taken away meanwhile. That it ended is told.
        _ if container.has_ended() => return,
        Ok(mut unlike) => {
            leave_out_lost(&mut unlike, &lower.layers);
            // The first of each layer tells as much as all.
            unlike.dedup_by_key(|one| one.at);
            unlike.into_iter().map(|one| one.gap).collect()
        }
        Err(error) => vec![PartGap::of(Part::Container, &error)],
    };
    let has = |part| found.iter().any(|gap| gap.part == part);
    if has(Part::Lower) && matches!(lower.state, State::Congruent | State::Unknown) {
        lower.state = State::Incomplete;
    }
    if has(Part::Upper) && upper.state == State::Congruent {
        upper.state = State::Incomplete;
    }
    gaps.extend(found);
}

/// An entry of a layer of which the container shows something else.
struct Unlike {
    /// Of which layer: 0 is the writable one.
    at: usize,
    /// How many of the image's layers lie below; none where it is no layer of the image.
    height: Option<usize>,
    path: TreePath,
    gap: PartGap,
}

/// Leaves out what a higher layer hid until it lost what hid it.
fn leave_out_lost(unlike: &mut Vec<Unlike>, layers: &[Rc<CheckedLower>]) {
    for (height, layer) in layers.iter().enumerate() {
        let lies_below = |one: &Unlike| one.height.is_some_and(|below| below < height);
        let Some(findings) = layer.findings.as_ref().filter(|_| unlike.iter().any(lies_below)) else {
            continue;
        };
        // What cannot be read back explains nothing.
        let findings = findings.iter().into_iter().flatten().map_while(Result::ok);
        for lost in findings.filter_map(|finding| lost(&finding)) {
            unlike.retain(|one| !lies_below(one) || !hid(&lost, &one.path));
        }
    }
}

/// Where a layer lost what hides all that lies below.
fn lost(finding: &Finding) -> Option<TreePath> {
    let is_lost = matches!(finding.change, Change::Removed | Change::Replaced);
    let is_mark = finding.expected.as_ref().is_some_and(|expected| expected.kind == Kind::Opaque);
    let place = if is_mark { finding.path.parent() } else { Some(finding.path.clone()) };
    place.filter(|_| is_lost)
}

/// Whether what a layer had at `lost` hid `path`, where it has nothing now. What it had
/// beneath `path` it had in a directory, which need not be listed.
fn hid(lost: &TreePath, path: &TreePath) -> bool {
    path.starts_with(lost) || lost.starts_with(path)
}

/// What is to be compared.
struct Mounted {
    pid: u32,
    /// The mount that its root was.
    root_mount: u64,
    /// Highest first: the writable one, and all beneath it.
    layers: Vec<Layer>,
    notes: Notes,
    /// What was changed later, in seconds, may still be changing.
    settled_before: i64,
}

/// One directory of the overlay.
struct Layer {
    part: Part,
    /// As of [`Unlike`].
    height: Option<usize>,
    /// What a gap calls it.
    name: Option<String>,
    directory: PathBuf,
}

/// What a container shows in the place of an entry, unless that is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// The entry.
    Same,
    /// A directory of a higher layer, merged with this.
    Merged,
    /// What hides it, or what cannot be told.
    Other,
    /// Something else, and no layer above hides it.
    Unlike,
}

/// What higher layers have at an entry's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Above {
    Nothing,
    /// Directories that are merged with it.
    Directory,
    /// What hides it, or cannot be told.
    Other,
}

/// A directory of a layer, and the same in the container's root.
struct Place {
    path: TreePath,
    real: OwnedFd,
    shown: OwnedFd,
}

impl Mounted {
    /// None where it is not known that its layers are mounted, be it only by their names, or
    /// where what overlay notes in them is not shown: why has been told then.
    fn of(container: &Container, now: Timestamp) -> Option<Self> {
        let (pid, root_mount, upper) = (container.pid?, container.root_mount?, container.upper.as_ref()?);
        let of_upper = |directory: &PathBuf| Layer {
            part: Part::Upper,
            height: None,
            name: None,
            directory: directory.clone(),
        };
        let lowers = container.layers.iter().enumerate().rev().map(|(height, layer)| Layer {
            part: Part::Lower,
            height: Some(height),
            name: Some(layer.called()),
            directory: layer.directory.clone(),
        });
        let layers = [upper].into_iter().chain(&container.init).map(of_upper).chain(lowers).collect();
        let settled_before = now.as_second().saturating_sub(SETTLED.as_secs().cast_signed());
        let notes = ids::notes_of(container);
        sees_trusted().then_some(Self { pid, root_mount, layers, notes, settled_before })
    }

    /// What is not mounted, of the highest layer first. Compares on a thread of its own,
    /// which is left alone where it gets no answer.
    fn compare_in_time(self) -> Result<Vec<Unlike>, MountedError> {
        if UNANSWERED.fetch_add(1, Ordering::Relaxed) >= MAX_UNANSWERED {
            UNANSWERED.fetch_sub(1, Ordering::Relaxed);
            return Err(MountedError::Silent);
        }
        let (give, take) = mpsc::channel();
        let compare = move || {
            let found = self.compare();
            UNANSWERED.fetch_sub(1, Ordering::Relaxed);
            // Nobody waits any more for what comes too late.
            let _ = give.send(found);
        };
        if let Err(error) = thread::Builder::new().spawn(compare) {
            UNANSWERED.fetch_sub(1, Ordering::Relaxed);
            return Err(MountedError::Open(error));
        }
        take.recv_timeout(PATIENCE).unwrap_or(Err(MountedError::Silent))
    }

    fn compare(&self) -> Result<Vec<Unlike>, MountedError> {
        let Some(shown) = self.open_root()? else { return Ok(Vec::new()) };
        let mut open = Vec::new();
        for layer in &self.layers {
            // Why it cannot be opened has been told. What it hides is not known.
            let Ok(root) = Root::open_uncovered(&layer.directory) else { break };
            let Ok(stat) = stat(&root.directory) else { break };
            open.push((root.directory, stat));
        }
        let Some((_, upper)) = open.first() else { return Ok(Vec::new()) };
        let shown_stat = stat(&shown).map_err(|errno| MountedError::Open(errno.into()))?;
        if upper.stx_ino != shown_stat.stx_ino {
            return Ok(vec![self.layers[0].unlike(0, TreePath::root())]);
        }
        let is_one =
            open.len() == self.layers.len() && open.iter().all(|(_, stat)| device(stat) == device(upper));
        let comparison = Comparison { mounted: self, open, shown, is_one };
        let mut found = Vec::new();
        for (at, layer) in self.layers.iter().enumerate().take(comparison.open.len()) {
            let paths = comparison.compare(at);
            found.extend(paths.into_iter().map(|path| layer.unlike(at, path)));
            if at == 0 && !found.is_empty() {
                // What the writable layer hides is not known.
                break;
            }
        }
        Ok(found)
    }

    /// The container's root; none where its process has ended.
    fn open_root(&self) -> Result<Option<OwnedFd>, MountedError> {
        let open = |errno: Errno| MountedError::Open(errno.into());
        let root = match rustix::fs::open(format!("/proc/{}/root", self.pid), PATH, Mode::empty()) {
            Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
            opened => opened.map_err(open)?,
        };
        let stat = stat(&root).map_err(open)?;
        let is_root = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        if stat.stx_mnt_id == self.root_mount && is_root {
            Ok(Some(root))
        } else {
            Err(MountedError::OtherRoot)
        }
    }
}

impl Layer {
    fn unlike(&self, at: usize, path: TreePath) -> Unlike {
        let mut place = self.directory.clone();
        let names = path.as_bytes().split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        place.extend(names.map(OsStr::from_bytes));
        let gap = PartGap::of(self.part, &MountedError::Replaced(place));
        let gap_path = (!path.is_root()).then(|| GapPath::Entry(path.clone()));
        let gap = PartGap { layer: self.name.clone(), path: gap_path, ..gap };
        Unlike { at, height: self.height, path, gap }
    }
}

/// The layers and the root, open.
struct Comparison<'a> {
    mounted: &'a Mounted,
    /// Highest first: those that could be opened, and what their directories are.
    open: Vec<(OwnedFd, Statx)>,
    shown: OwnedFd,
    /// Whether all layers are of one file system.
    is_one: bool,
}

impl Comparison<'_> {
    /// Compares the layer `at`; gives the paths of which something else is shown. What
    /// cannot be opened or listed cannot be compared.
    fn compare(&self, at: usize) -> Vec<TreePath> {
        let mut unlike = Vec::new();
        let (Ok(real), Ok(shown)) = (self.open[at].0.try_clone(), self.shown.try_clone()) else {
            return unlike;
        };
        let mut queue = VecDeque::from([Place { path: TreePath::root(), real, shown }]);
        let mut left = MAX_DIRECTORIES;
        while let Some(place) = queue.pop_front() {
            let mut siblings = if place.path.is_root() { MAX_DIRECTORIES } else { MAX_SIBLINGS };
            let mut files = MAX_FILES;
            for entry in listed(&place.real) {
                let name = entry.file_name().to_bytes();
                let Ok(path) = place.path.join(name) else { continue };
                let shown = match entry.file_type() {
                    FileType::Directory if siblings.min(left) > 0 => {
                        (siblings, left) = (siblings - 1, left - 1);
                        let (shown, below) = self.directory(at, &place, &path, name);
                        queue.extend(below);
                        shown
                    }
                    FileType::RegularFile | FileType::Symlink if files > 0 => {
                        let shown = self.file(at, &place, &path, name);
                        files = if shown == Shown::Same { 0 } else { files - 1 };
                        shown
                    }
                    _ => continue,
                };
                if shown == Shown::Unlike {
                    unlike.push(path);
                }
            }
        }
        unlike
    }

    /// Compares a directory; gives it too where what is in it can be compared.
    fn directory(&self, at: usize, above: &Place, path: &TreePath, name: &[u8]) -> (Shown, Option<Place>) {
        let Ok(real) = open_descendant(above.real.as_fd(), name) else { return (Shown::Other, None) };
        let shown = rustix::fs::openat(&above.shown, name, PATH | OFlags::NOFOLLOW, Mode::empty());
        let stats = (stat(&real), or_none(shown.as_ref().map_err(|errno| *errno).and_then(stat)));
        let (Ok(real_stat), Ok(shown_stat)) = stats else { return (Shown::Other, None) };
        let again = || stat_at(&above.real, name).ok();
        let held = self.hold(at, path, &real_stat, shown_stat.as_ref(), again);
        let shown = shown.ok().filter(|_| matches!(held, Shown::Same | Shown::Merged));
        (held, shown.map(|shown| Place { path: path.clone(), real, shown }))
    }

    /// Compares a file or link.
    fn file(&self, at: usize, above: &Place, path: &TreePath, name: &[u8]) -> Shown {
        let stats = (stat_at(&above.real, name), or_none(stat_at(&above.shown, name)));
        let (Ok(real), Ok(shown)) = stats else { return Shown::Other };
        if real.stx_size == 0 {
            // It may be a whiteout.
            return Shown::Other;
        }
        self.hold(at, path, &real, shown.as_ref(), || stat_at(&above.real, name).ok())
    }

    /// Holds what is shown at `path` to what lies there in the layer `at`.
    fn hold(
        &self,
        at: usize,
        path: &TreePath,
        real: &Statx,
        shown: Option<&Statx>,
        again: impl FnOnce() -> Option<Statx>,
    ) -> Shown {
        let is_covered = shown.is_some_and(|shown| shown.stx_mnt_id != self.mounted.root_mount);
        if is_covered || real.stx_mnt_id != self.open[at].1.stx_mnt_id {
            return Shown::Other;
        }
        if shown.is_some_and(|shown| self.is_same(at, real, shown)) {
            return Shown::Same;
        }
        if again().is_none_or(|again| identity(&again) != identity(real)) {
            return Shown::Other;
        }
        let above = match at {
            0 if real.stx_ctime.tv_sec >= self.mounted.settled_before => Above::Other,
            0 => Above::Nothing,
            _ => self.above(at, path),
        };
        match above {
            Above::Nothing => Shown::Unlike,
            Above::Directory => Shown::Merged,
            Above::Other => Shown::Other,
        }
    }

    /// Whether what is shown is the layer's own. Of the writable layer inode numbers tell
    /// nothing: what was copied up keeps the number of what it is a copy of.
    fn is_same(&self, at: usize, real: &Statx, shown: &Statx) -> bool {
        let is_directory = FileType::from_raw_mode(real.stx_mode.into()).is_dir();
        let keeps_inode = at > 0 && (self.is_one || !is_directory);
        changed(real) == changed(shown) && (!keeps_inode || is_inode(real.stx_ino, shown.stx_ino))
    }

    /// What the layers above the layer `at` have at a path.
    fn above(&self, at: usize, path: &TreePath) -> Above {
        let mut above = Above::Nothing;
        for (root, _) in &self.open[..at] {
            match has(root, path, self.mounted.notes) {
                Above::Nothing => {}
                Above::Directory => above = Above::Directory,
                Above::Other => return Above::Other,
            }
        }
        above
    }
}

/// What a layer has at a path, or in its way.
fn has(root: &OwnedFd, path: &TreePath, notes: Notes) -> Above {
    let mut directory: Option<OwnedFd> = None;
    for name in path.as_bytes()[1..].split(|&byte| byte == b'/') {
        let above = directory.as_ref().unwrap_or(root);
        match or_none(open_descendant(above.as_fd(), name)) {
            Ok(Some(opened)) if !hides(&opened, notes) => directory = Some(opened),
            // Nothing, or no directory.
            Ok(None) if stat_at(above, name).is_err_and(|errno| errno == Errno::NOENT) => {
                return Above::Nothing;
            }
            _ => return Above::Other,
        }
    }
    Above::Directory
}

/// Whether a directory has nothing of what lies below under its name.
fn hides(directory: &OwnedFd, notes: Notes) -> bool {
    let note = |name: &str| {
        let mut first = [0; 1];
        let name = [notes.prefix(), name.as_bytes()].concat();
        match rustix::fs::fgetxattr(directory, &name[..], &mut first) {
            Ok(read) => Some(first[..read].to_vec()),
            Err(Errno::NODATA) => None,
            // Longer, or not to be read.
            Err(_) => Some(Vec::new()),
        }
    };
    // "x" only says that it holds whiteouts of one form.
    note("opaque").is_some_and(|value| value != b"x") || note("redirect").is_some()
}

/// The first names of a directory that was just opened. Opened anew, it would keep a trace.
fn listed(directory: &OwnedFd) -> impl Iterator<Item = DirEntry> {
    let listing = directory.try_clone().ok().and_then(|directory| Dir::new(directory).ok());
    listing.into_iter().flatten().map_while(Result::ok).take(MAX_NAMES)
}

fn stat(fd: impl AsFd) -> Result<Statx, Errno> {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, STATED)
}

fn stat_at(directory: &OwnedFd, name: &[u8]) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    rustix::fs::statx(directory, name, flags, STATED)
}

/// None where there is nothing, or no directory.
fn or_none<T>(found: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn device(stat: &Statx) -> (u32, u32) {
    (stat.stx_dev_major, stat.stx_dev_minor)
}

fn changed(stat: &Statx) -> (i64, u32) {
    (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec)
}

fn identity(stat: &Statx) -> (u64, (i64, u32)) {
    (stat.stx_ino, changed(stat))
}

/// Whether overlay shows an inode of this number so: with the number of its layer in the
/// highest bits where layers are of several file systems.
fn is_inode(real: u64, shown: u64) -> bool {
    shown == real || (real >> XINO_SHIFT == 0 && shown & ((1 << XINO_SHIFT) - 1) == real)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{XattrFlags, setxattr};

    use super::*;

    #[test]
    fn overlay_may_put_a_layers_number_into_the_highest_bits() {
        for (real, shown, same) in [
            (7, 7, true),
            (7, 8, false),
            (7, 7 | 1 << 62, true),
            (7, 7 | 3 << 54, true),
            (7, 7 | 1 << 53, false),
            (u64::MAX, u64::MAX, true),
            (7 | 1 << 60, 7 | 1 << 61, false),
        ] {
            assert_eq!(is_inode(real, shown), same, "{real:x} {shown:x}");
        }
    }

    #[test]
    fn what_a_layer_has_at_a_path_hides_what_lies_below() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("usr/bin")).unwrap();
        fs::write(at("usr/file"), "").unwrap();
        symlink("bin", at("usr/link")).unwrap();
        for (name, note, value) in
            [("opaque", "opaque", "y"), ("marked", "opaque", "x"), ("moved", "redirect", "/usr")]
        {
            fs::create_dir(at(name)).unwrap();
            setxattr(at(name), format!("user.overlay.{note}"), value.as_bytes(), XattrFlags::empty())
                .unwrap();
        }
        let root = OwnedFd::from(fs::File::open(folder.path()).unwrap());
        for (path, notes, above) in [
            ("/usr", Notes::User, Above::Directory),
            ("/usr/bin", Notes::User, Above::Directory),
            ("/usr/none", Notes::User, Above::Nothing),
            ("/none/none", Notes::User, Above::Nothing),
            ("/usr/file", Notes::User, Above::Other),
            ("/usr/file/none", Notes::User, Above::Other),
            ("/usr/link", Notes::User, Above::Other),
            ("/usr/link/none", Notes::User, Above::Other),
            ("/opaque/none", Notes::User, Above::Other),
            ("/marked/none", Notes::User, Above::Nothing),
            ("/moved/none", Notes::User, Above::Other),
            // Whoever writes to the layer may set what is not overlay's there.
            ("/opaque/none", Notes::Trusted, Above::Nothing),
        ] {
            assert_eq!(has(&root, &TreePath::new(path).unwrap(), notes), above, "{path} {notes:?}");
        }
    }
}
