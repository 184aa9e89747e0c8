//! What a full sweep saw, kept for a quick one, and for the same one when it is
//! interrupted.
//!
//! Of a root or a lower layer, there is the inode's stamp for every path that is not a
//! directory, and was exactly as its class has it be; as long as that is the same, so is
//! the rest. What was not is looked at each time. In a writable layer nearly all is other
//! than baked: there it is the stamp of files that were read whole, and what they hold,
//! but for those with attributes in scope and those whose content is sensitive.
//!
//! The file is bound to what the root was held to, to the root and to the boot: it is of
//! no use to any other, and is then not used. It is of the node's own making, so it proves
//! nothing to anybody else, and full sweeps stay on schedule.
//!
//! `FILE.part` holds a full sweep under way, and takes the place of `FILE` when that is
//! complete. A sweep that finds one that was interrupted goes on where it ended.

mod frames;
mod recall;
mod record;
mod recorder;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::manifest::{ImageLayer, Manifest};
use congruent_protocol::path::TreePath;
use congruent_protocol::stack::Stack;
use congruent_protocol::verification::SweepMode;
use jiff::{SignedDuration, Timestamp};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

pub(crate) use self::recall::{Recalled, Unusable};
pub(crate) use self::record::Noted;
pub(crate) use self::recorder::Recorder;
use super::stat::stat;
use super::{Means, Root};

/// An interrupted sweep that began longer ago than this is not gone on with.
const LONGEST_SWEEP: SignedDuration = SignedDuration::from_hours(24);
/// By how much the clock may differ from where it would be, had nobody set it.
const CLOCK_SLACK_SECONDS: i64 = 2;

/// What stands beside a cache: the lock, a sweep under way, and one that has not come
/// as far as the one that it goes on with.
const LOCK: &str = ".lock";
const PART: &str = ".part";
const BEGUN: &str = ".part.new";

/// What a cache is good for, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Binding {
    /// The tree root of the stack, or of the image; or the root of the layer.
    stack: Digest,
    /// The digests of its entries, the base's first. What a full sweep proved of
    /// them is proven.
    entries: Vec<Digest>,
    /// The digest of its contract and of its reserved places, or of the way in which a
    /// layer is seen: they say what each path is held to, and how it is read.
    contract: Digest,
    /// The root directory's device and inode.
    root: (u32, u32, u64),
    /// The kernel's boot id.
    boot: String,
    /// What wrote it.
    agent_version: String,
}

/// What stands before the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    binding: Binding,
    /// When the sweep began.
    started_at: Timestamp,
    /// Whether contents are read past the page cache.
    is_direct: bool,
    /// How far the clock was ahead of the time since boot, in seconds. Where that has
    /// changed, someone set the clock, and a stamp proves nothing.
    clock_ahead_seconds: i64,
}

/// What a sweep recalls, and what it leaves to be recalled. By default nothing of
/// either: it is a full one.
#[derive(Default)]
pub(crate) struct Memory {
    pub(super) is_quick: bool,
    pub(super) recalled: Recalled,
    pub(super) recorder: Option<Recorder>,
    /// Held as long as the sweep goes on; the kernel lets go of it when the process
    /// ends, however it ends.
    lock: Option<File>,
}

impl Memory {
    /// Whether what cannot have changed is not looked at.
    pub(crate) fn is_quick(&self) -> bool {
        self.is_quick
    }

    /// When the sweep began, where an interrupted one is gone on with.
    pub(crate) fn resumed_from(&self) -> Option<Timestamp> {
        if self.is_quick { None } else { self.recalled.started_at() }
    }

    /// What is recalled, for the sweep.
    pub(crate) fn take_recalled(&mut self) -> Recalled {
        std::mem::take(&mut self.recalled)
    }

    /// Notes what holds of `path` as long as it has its stamp. Paths come in tree order.
    pub(crate) fn note(&mut self, path: &TreePath, noted: &Noted) {
        if let Some(recorder) = &mut self.recorder {
            recorder.note(path, noted);
        }
    }

    /// Keeps what was seen, when all was.
    ///
    /// # Errors
    /// When it could not be written.
    pub(crate) fn keep(self) -> Result<(), CacheError> {
        let kept = self.recorder.map_or(Ok(()), Recorder::finish);
        drop(self.lock);
        kept
    }
}

/// A cache that this process alone uses.
pub(crate) struct Cache {
    path: PathBuf,
    binding: Binding,
    clock_ahead_seconds: i64,
    lock: File,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error(
        "cannot use the cache {}; give a file in a directory that is there, that has room, and that this user may \
         write to",
        .path.display()
    )]
    Use {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another sweep uses the cache {}; let it end, or give this one a cache of its own", .0.display())]
    Busy(PathBuf),
    #[error("cannot tell which root the cache {} would be of", .path.display())]
    Root {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Cache {
    /// The cache in the file at `path`, for sweeps that hold `root` to `stack`.
    pub(crate) fn open(path: &Path, root: &Root, stack: &Stack) -> Result<Self, CacheError> {
        let manifests = [stack.base()].into_iter().chain(stack.add_ons());
        let entries = manifests.map(|manifest| manifest.predicate().entries.digest).collect();
        Self::bound(path, root, (stack.root(), entries), &(stack.contract(), stack.reserved()))
    }

    /// The cache in the file at `path`, for sweeps that hold a layer's directory to what a
    /// manifest states of it. `way` is all else that decides what is as stated. A sweep
    /// that was interrupted is not gone on with: what it was held to was not yet proven to
    /// be what is stated.
    pub(crate) fn of_layer(
        path: &Path,
        root: &Root,
        stated: &ImageLayer,
        way: &impl Serialize,
    ) -> Result<Self, CacheError> {
        Self::without_part(path, root, (stated.root, vec![stated.entries.digest]), &("layer", way))
    }

    /// The cache in the file at `path`, for sweeps of a writable layer's directory over
    /// `image`. `notes` is all else that decides how it is read. Of a sweep that was
    /// interrupted nothing is gone on with either.
    pub(crate) fn of_writable(
        path: &Path,
        root: &Root,
        image: &Manifest,
        notes: &impl Serialize,
    ) -> Result<Self, CacheError> {
        let predicate = image.predicate();
        let held_to = ("writable", notes, &predicate.contract);
        Self::without_part(path, root, (predicate.root, Vec::new()), &held_to)
    }

    /// A cache beside which nothing is left of a sweep that was interrupted.
    fn without_part(
        path: &Path,
        root: &Root,
        subject: (Digest, Vec<Digest>),
        held_to: &impl Serialize,
    ) -> Result<Self, CacheError> {
        let cache = Self::bound(path, root, subject, held_to)?;
        match fs::remove_file(beside(path, PART)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(CacheError::Use { path: path.to_owned(), source })
            }
            _ => Ok(cache),
        }
    }

    fn bound(
        path: &Path,
        root: &Root,
        (stack, entries): (Digest, Vec<Digest>),
        held_to: &impl Serialize,
    ) -> Result<Self, CacheError> {
        let of_root = |source| CacheError::Root { path: path.to_owned(), source };
        let stat = stat(&root.directory).map_err(|errno| of_root(errno.into()))?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(of_root)?;
        let held_to = serde_json::to_vec(held_to).expect("contracts and ways always serialise");
        let binding = Binding {
            stack,
            entries,
            contract: Algorithm::Blake3.digest(&held_to),
            root: (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino),
            boot: boot.trim().to_owned(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let path = path.to_owned();
        let lock = lock(&path)?;
        Ok(Self { path, binding, clock_ahead_seconds: clock_ahead_seconds(), lock })
    }

    /// What is recalled for a sweep of this mode, as of `now`. A quick one for which
    /// nothing can be is a full one; then there is the reason as well.
    ///
    /// # Errors
    /// When a full sweep cannot be recorded.
    pub(crate) fn recall(
        self,
        mode: SweepMode,
        means: &Means,
        now: Timestamp,
    ) -> Result<(Memory, Option<Unusable>), CacheError> {
        let unusable = match mode {
            SweepMode::Full => None,
            SweepMode::Quick => match self.for_quick() {
                Ok(memory) => return Ok((Memory { lock: Some(self.lock), ..memory }, None)),
                Err(unusable) => Some(unusable),
            },
        };
        let memory = self.for_full(means.direct, now)?;
        Ok((Memory { lock: Some(self.lock), ..memory }, unusable))
    }

    /// What the last full sweep saw; or why that is of no use now.
    fn for_quick(&self) -> Result<Memory, Unusable> {
        let recalled = Recalled::complete(&self.path, |header| self.fits(header))?;
        Ok(Memory { is_quick: true, recalled, recorder: None, lock: None })
    }

    /// What a full sweep saw that was interrupted, and a record of this one.
    fn for_full(&self, is_direct: bool, now: Timestamp) -> Result<Memory, CacheError> {
        let part = beside(&self.path, PART);
        let interrupted = Recalled::interrupted(&part, |header| {
            self.fits(header)?;
            let age = now.duration_since(header.started_at);
            if age.is_negative() || age > LONGEST_SWEEP {
                return Err(Unusable::TooOld);
            }
            // What was read through the page cache is not what lies beneath it.
            if is_direct && !header.is_direct { Err(Unusable::ThroughCache) } else { Ok(()) }
        });
        // Whatever it was that is of no use, the sweep is made from the beginning.
        let (recalled, last) = interrupted.ok().filter(|(_, last)| last.is_some()).unwrap_or_default();
        let header = Header {
            binding: self.binding.clone(),
            started_at: recalled.started_at().unwrap_or(now),
            is_direct,
            clock_ahead_seconds: self.clock_ahead_seconds,
        };
        let failed = |source| CacheError::Use { path: self.path.clone(), source };
        let recorder = Recorder::begin(&self.path, &header, last.as_ref()).map_err(failed)?;
        Ok(Memory { is_quick: false, recalled, recorder: Some(recorder), lock: None })
    }

    fn fits(&self, header: &Header) -> Result<(), Unusable> {
        let (was, is) = (&header.binding, &self.binding);
        if was.boot != is.boot {
            return Err(Unusable::OtherBoot);
        }
        if was.agent_version != is.agent_version {
            return Err(Unusable::OtherVersion);
        }
        if was != is {
            return Err(Unusable::OtherSubject);
        }
        if (header.clock_ahead_seconds - self.clock_ahead_seconds).abs() > CLOCK_SLACK_SECONDS {
            return Err(Unusable::ClockSet);
        }
        Ok(())
    }
}

/// Removes the cache at `path` and what stands beside it, unless a sweep uses it.
///
/// # Errors
/// When something of it cannot be removed.
pub(crate) fn remove(path: &Path) -> Result<(), CacheError> {
    let _lock = match lock(path) {
        Err(CacheError::Busy(_)) => return Ok(()),
        locked => locked?,
    };
    for file in [path.to_owned(), beside(path, PART), beside(path, BEGUN), beside(path, LOCK)] {
        match fs::remove_file(file) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(CacheError::Use { path: path.to_owned(), source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Keeps every other sweep from the cache at `path`, as long as the file is open.
fn lock(path: &Path) -> Result<File, CacheError> {
    let beside = beside(path, LOCK);
    let failed = |source: Errno| CacheError::Use { path: path.to_owned(), source: source.into() };
    // A link that stands here leads elsewhere.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(&beside, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file.into()),
        Err(Errno::WOULDBLOCK) => Err(CacheError::Busy(path.to_owned())),
        Err(errno) => Err(failed(errno)),
    }
}

/// A file that stands beside the cache.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn clock_ahead_seconds() -> i64 {
    clock_gettime(ClockId::Realtime).tv_sec - clock_gettime(ClockId::Boottime).tv_sec
}

#[cfg(test)]
mod tests;
