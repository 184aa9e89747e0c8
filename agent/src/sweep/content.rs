//! Hashing what a file holds.
//!
//! Holes are hashed without being read, and no more is read in a second than the
//! sweep may. What the page cache did not hold before does not stay in it, where the
//! kernel and the file system can do that, so that a sweep does not drive out what
//! the machine works with; or the page cache is passed by altogether, to find what
//! it hides.

use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;

use congruent_protocol::digest::{Digest, Hasher};
use rustix::fs::{Advice, FsWord, OFlags, SeekFrom, Statx};
use rustix::io::{Errno, ReadWriteFlags};

use super::residency::is_uncached;
use super::throttle::Throttle;
use super::{Counters, Scope};

const BUFFER_BYTES: usize = 256 << 10;
/// What reads past the page cache must be aligned to, wherever that is more than
/// the disk itself asks for.
const ALIGNMENT: usize = 4096;
/// `RWF_DONTCACHE`, of linux/fs.h since Linux 6.14: what was not cached is dropped
/// again. Overlay, squashfs and older kernels refuse it.
const DONT_CACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);
/// How much of a file may be in the page cache at once where none of it was.
const EMPTIED_BYTES: u64 = 16 << 20;
/// A smaller file is not asked for its holes.
const SPARSE_BYTES: u64 = 64 << 10;

/// `OVERLAYFS_SUPER_MAGIC`, of linux/magic.h. What it has cached is cached of the
/// files beneath it.
const OVERLAY: FsWord = 0x794c_7630;
/// `TMPFS_MAGIC` and `RAMFS_MAGIC`, of linux/magic.h.
const IN_MEMORY: [FsWord; 2] = [0x0102_1994, 0x8584_58f6];

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Through the page cache, leaving it as it was.
    Politely,
    /// Through the page cache, where the file system knows no better.
    Plainly,
    /// Through the page cache, which held nothing of the file, and then out of it
    /// again: what is dropped piece by piece while it is read, is partly read twice.
    Emptying,
    /// Past the page cache.
    Direct,
}

/// Hashes files, one after another, with one buffer.
pub(super) struct ContentHasher<'w> {
    throttle: Option<&'w Throttle>,
    counters: &'w Counters,
    hasher: Hasher,
    buffer: Box<[u8]>,
    /// Where the buffer is aligned.
    aligned: usize,
    direct: bool,
    /// Devices whose file systems cannot read politely.
    plain: Vec<(u32, u32)>,
    /// How much of the beginning is kept, and what was.
    head_bytes: usize,
    head: Vec<u8>,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hashed {
    pub(super) digest: Digest,
    /// Whether it was read past the page cache, where that was asked for.
    pub(super) past_cache: bool,
}

impl<'w> ContentHasher<'w> {
    pub(super) fn new(scope: &'w Scope<'_>, counters: &'w Counters) -> Self {
        let buffer = vec![0; BUFFER_BYTES + ALIGNMENT].into_boxed_slice();
        let aligned = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self {
            throttle: scope.means.throttle.as_ref(),
            counters,
            hasher: scope.algorithm.hasher(),
            buffer,
            aligned,
            direct: scope.means.direct,
            plain: Vec::new(),
            head_bytes: 0,
            head: Vec::new(),
        }
    }

    /// Keeps so much of the beginning of the files to come.
    pub(super) fn keep_head(&mut self, bytes: usize) {
        self.head_bytes = bytes;
        self.head.clear();
    }

    /// The beginning of the file that was hashed last.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The digest of the first `size` bytes of a file. What grows beyond shows in
    /// a stat after, and is not run after.
    pub(super) fn hash(&mut self, file: &OwnedFd, stat: &Statx, size: u64) -> Result<Hashed, Errno> {
        self.hasher.reset();
        self.head.clear();
        let mut way = self.way_for(file, stat);
        let is_sparse = size >= SPARSE_BYTES && stat.stx_blocks.saturating_mul(512) < size;
        let mut offset = 0;
        while offset < size {
            let extent = if is_sparse { Extent::at(file, offset, size) } else { Extent::Data(size) };
            let end = match extent {
                Extent::Data(end) => self.hash_data(file, &mut way, stat, offset, end)?,
                Extent::Hole(end) => {
                    self.hash_zeros(end - offset);
                    end
                }
            };
            // It was cut while it was read.
            if end == offset {
                break;
            }
            offset = end;
        }
        if way == Way::Emptying {
            drop_cached(file, 0, None);
        }
        Ok(Hashed { digest: self.hasher.finish(), past_cache: way == Way::Direct })
    }

    fn way_for(&self, file: &OwnedFd, stat: &Statx) -> Way {
        if self.direct && go_past_cache(file, true) {
            Way::Direct
        } else {
            self.way_through_cache(file, stat)
        }
    }

    fn way_through_cache(&self, file: &OwnedFd, stat: &Statx) -> Way {
        if self.plain.contains(&device(stat)) {
            // Of no use on a file system without a cache, and no harm either.
            let _ = rustix::fs::fadvise(file, 0, None, Advice::NoReuse);
            return Way::Plainly;
        }
        let is_large = stat.stx_size > BUFFER_BYTES as u64;
        if is_large && !is_overlay(file) && is_uncached(file) { Way::Emptying } else { Way::Politely }
    }

    /// Hashes what lies between two offsets, or up to where the file ends. Gives
    /// how far it came.
    fn hash_data(
        &mut self,
        file: &OwnedFd,
        way: &mut Way,
        stat: &Statx,
        begin: u64,
        end: u64,
    ) -> Result<u64, Errno> {
        let piece = self.throttle.map_or(BUFFER_BYTES, |throttle| throttle.piece().min(BUFFER_BYTES));
        // Past the page cache, whole blocks are read.
        let piece = if *way == Way::Direct { piece.next_multiple_of(ALIGNMENT) } else { piece };
        let mut offset = begin;
        while offset < end {
            let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX).min(piece);
            let count = match self.read(file, *way, offset, wanted) {
                Ok(0) => break,
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS)
                    if matches!(way, Way::Politely | Way::Direct) =>
                {
                    self.give_way(file, way, stat);
                    continue;
                }
                Err(errno) => return Err(errno),
            };
            let read = &self.buffer[self.aligned..self.aligned + count];
            self.hasher.update(read);
            if offset == 0 {
                self.head.extend_from_slice(&read[..count.min(self.head_bytes)]);
            }
            self.counters.add_bytes(count as u64);
            if let Some(throttle) = self.throttle {
                throttle.wait(count as u64);
            }
            offset += count as u64;
            if *way == Way::Emptying && offset % EMPTIED_BYTES < count as u64 {
                // What was read ahead stays until it is read.
                let passed = offset.saturating_sub(EMPTIED_BYTES);
                drop_cached(file, passed.saturating_sub(EMPTIED_BYTES), NonZeroU64::new(EMPTIED_BYTES));
            }
        }
        Ok(offset)
    }

    /// Reads at most `wanted` bytes into the buffer.
    fn read(&mut self, file: &OwnedFd, way: Way, offset: u64, wanted: usize) -> Result<usize, Errno> {
        let buffer = &mut self.buffer[self.aligned..];
        match way {
            Way::Plainly | Way::Emptying => rustix::io::pread(file, &mut buffer[..wanted], offset),
            Way::Politely => {
                let mut slices = [IoSliceMut::new(&mut buffer[..wanted])];
                rustix::io::preadv2(file, &mut slices, offset, DONT_CACHE)
            }
            Way::Direct => {
                let whole = wanted.next_multiple_of(ALIGNMENT).min(BUFFER_BYTES);
                // It must begin at a multiple as well.
                let skipped = (offset % ALIGNMENT as u64) as usize;
                let count = rustix::io::pread(file, &mut buffer[..whole], offset - skipped as u64)?;
                if skipped > 0 {
                    buffer.copy_within(skipped..count.max(skipped), 0);
                }
                Ok(count.saturating_sub(skipped).min(wanted))
            }
        }
    }

    /// Falls back to what every file system can do.
    fn give_way(&mut self, file: &OwnedFd, way: &mut Way, stat: &Statx) {
        if *way == Way::Direct {
            go_past_cache(file, false);
        } else {
            self.plain.push(device(stat));
        }
        *way = self.way_through_cache(file, stat);
    }

    fn hash_zeros(&mut self, count: u64) {
        let mut left = count;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
            self.hasher.update(&ZEROS[..piece]);
            left -= piece as u64;
            self.counters.add_bytes(piece as u64);
        }
    }
}

fn device(stat: &Statx) -> (u32, u32) {
    (stat.stx_dev_major, stat.stx_dev_minor)
}

/// Has an open file read past the page cache, or through it. Whether that goes.
fn go_past_cache(file: &OwnedFd, past: bool) -> bool {
    if past && lies_in_memory(file) {
        return false;
    }
    let switch = |flags: OFlags| {
        let flags = if past { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT };
        rustix::fs::fcntl_setfl(file, flags)
    };
    rustix::fs::fcntl_getfl(file).and_then(switch).is_ok()
}

/// Lets go of what the page cache holds of a part of a file. The kernel need not.
fn drop_cached(file: &OwnedFd, offset: u64, length: Option<NonZeroU64>) {
    let _ = rustix::fs::fadvise(file, offset, length, Advice::DontNeed);
}

fn is_overlay(file: &OwnedFd) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|about| about.f_type == OVERLAY)
}

/// Whether a file's file system has nothing beneath its cache, though it may take
/// the wish to go past it.
fn lies_in_memory(file: &OwnedFd) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|about| IN_MEMORY.contains(&about.f_type))
}

/// What lies at an offset, and where that ends.
enum Extent {
    Data(u64),
    Hole(u64),
}

impl Extent {
    /// A file system that cannot tell has data everywhere.
    fn at(file: &OwnedFd, offset: u64, size: u64) -> Self {
        match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(data) if data > offset => Self::Hole(data.min(size)),
            // There is no data behind it.
            Err(Errno::NXIO) => Self::Hole(size),
            Err(_) => Self::Data(size),
            Ok(_) => match rustix::fs::seek(file, SeekFrom::Hole(offset)) {
                Ok(hole) if hole > offset => Self::Data(hole.min(size)),
                _ => Self::Data(size),
            },
        }
    }
}
