//! The floor under a full verify: opens every entry beneath a folder, stats it
//! before and after, lists its extended attributes, reads and hashes it, and does
//! nothing with what it learns. No verify that does its work can be faster by much.
//!
//! With `--stat-only` it is the floor under a quick sweep: it lists every directory
//! and stats every entry, and reads nothing.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use blake3::{Hash, Hasher};
use rayon::Scope;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, flistxattr, fstat, openat, statat};
use rustix::io::{Errno, read, retry_on_intr};

const BUFFER_BYTES: usize = 256 * 1024;
const NAMES_BYTES: usize = 32 * 1024;
const XATTRS_BYTES: usize = 4096;
/// Files in a task: enough that a task costs nothing beside them.
const TASK_FILES: usize = 16;
const USAGE: &str = "usage: floor-probe [--threads N] [--stat-only] FOLDER";

/// What is done with an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Stat,
    Read,
}

/// What one thread reads into, again and again, and what it has counted. A count
/// that is shared would be passed between processors for every file.
struct Local {
    content: Vec<u8>,
    xattrs: Vec<u8>,
    counts: Counts,
}

#[derive(Default, Clone, Copy)]
struct Counts {
    entries: u64,
    bytes: u64,
    unreadable: u64,
    /// Keeps the compiler from leaving the hashing out.
    mixed: u64,
}

thread_local! {
    static LOCAL: RefCell<Local> = RefCell::new(Local {
        content: vec![0; BUFFER_BYTES],
        xattrs: vec![0; XATTRS_BYTES],
        counts: Counts::default(),
    });
}

fn main() -> Result<()> {
    let (threads, depth, folder) = arguments()?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start threads")?;
    let begun = Instant::now();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, &folder, flags, Mode::empty())
        .with_context(|| format!("cannot open {}", folder.display()))?;
    rayon::scope(|scope| walk(scope, &Arc::new(root), depth));
    let counts = rayon::broadcast(|_| LOCAL.with_borrow(|local| local.counts));
    let sum = |field: fn(&Counts) -> u64| counts.iter().map(field).sum::<u64>();
    println!(
        "{} entries, {} bytes hashed, {} unreadable, {:.3} s, {:016x}",
        sum(|counts| counts.entries),
        sum(|counts| counts.bytes),
        sum(|counts| counts.unreadable),
        begun.elapsed().as_secs_f64(),
        counts.iter().fold(0, |mixed, counts| mixed ^ counts.mixed)
    );
    Ok(())
}

fn arguments() -> Result<(usize, Depth, PathBuf)> {
    let mut arguments = std::env::args_os().skip(1);
    let (mut threads, mut depth, mut folder) = (0, Depth::Read, None);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--threads") => {
                let number = arguments.next().and_then(|number| number.to_str()?.parse().ok());
                threads = number.context(USAGE)?;
            }
            Some("--stat-only") => depth = Depth::Stat,
            Some(option) if option.starts_with('-') => bail!(USAGE),
            _ => folder = Some(PathBuf::from(argument)),
        }
    }
    Ok((threads, depth, folder.context(USAGE)?))
}

/// Looks at everything in one directory; its subdirectories become tasks, and its
/// files where they are read.
fn walk<'s>(scope: &Scope<'s>, directory: &Arc<OwnedFd>, depth: Depth) {
    look_at_directory(directory.as_fd(), depth);
    let mut buffer = Vec::with_capacity(NAMES_BYTES);
    let mut listing = RawDir::new(directory.as_fd(), buffer.spare_capacity_mut());
    let mut files = Vec::new();
    while let Some(Ok(entry)) = listing.next() {
        let name = entry.file_name();
        match entry.file_type() {
            _ if name == c"." || name == c".." => {}
            FileType::Directory => {
                let (directory, name) = (Arc::clone(directory), CString::from(name));
                scope.spawn(move |scope| enter(scope, &directory, &name, depth));
            }
            FileType::RegularFile if depth == Depth::Read => {
                files.push(CString::from(name));
                if files.len() == TASK_FILES {
                    spawn(scope, directory, std::mem::take(&mut files));
                }
            }
            _ => {
                let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
                count(stat.map(|_| (0, 0)));
            }
        }
    }
    spawn(scope, directory, files);
}

fn spawn(scope: &Scope<'_>, directory: &Arc<OwnedFd>, files: Vec<CString>) {
    if files.is_empty() {
        return;
    }
    let directory = Arc::clone(directory);
    scope.spawn(move |_| {
        for name in &files {
            count(open(directory.as_fd(), name, OFlags::empty()).and_then(|file| look_at_file(file.as_fd())));
        }
    });
}

fn enter<'s>(scope: &Scope<'s>, parent: &Arc<OwnedFd>, name: &CStr, depth: Depth) {
    match open(parent.as_fd(), name, OFlags::DIRECTORY) {
        Ok(directory) => walk(scope, &Arc::new(directory), depth),
        Err(errno) => count(Err(errno)),
    }
}

/// Only the owner and root may leave the access time alone.
fn open(parent: BorrowedFd<'_>, name: &CStr, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
    match openat(parent, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(parent, name, flags, Mode::empty()),
        opened => opened,
    }
}

fn look_at_directory(directory: BorrowedFd<'_>, depth: Depth) {
    let looked = fstat(directory).and_then(|_| {
        if depth == Depth::Read {
            list_xattrs(directory);
            fstat(directory)?;
        }
        Ok((0, 0))
    });
    count(looked);
}

fn look_at_file(file: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    let before = fstat(file)?;
    list_xattrs(file);
    let (bytes, digest) =
        LOCAL.with_borrow_mut(|local| hash(file, before.st_size as u64, &mut local.content))?;
    fstat(file)?;
    let first = digest.as_bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    Ok((bytes, first))
}

fn list_xattrs(entry: BorrowedFd<'_>) {
    // File systems without extended attributes say so.
    let _ = LOCAL.with_borrow_mut(|local| flistxattr(entry, &mut local.xattrs[..]));
}

/// Counts an entry, the bytes that were read of it, and what came of them.
fn count(looked: Result<(u64, u64), Errno>) {
    LOCAL.with_borrow_mut(|Local { counts, .. }| match looked {
        Ok((bytes, mixed)) => {
            counts.entries += 1;
            counts.bytes += bytes;
            counts.mixed ^= mixed;
        }
        Err(_) => counts.unreadable += 1,
    });
}

/// The number of bytes and their digest.
fn hash(file: BorrowedFd<'_>, size: u64, buffer: &mut [u8]) -> Result<(u64, Hash), Errno> {
    let bytes = retry_on_intr(|| read(file, &mut *buffer))?;
    // Most files: no second read to find the end where it is known, which the stat
    // that follows would tell to have moved.
    if bytes == 0 || bytes as u64 == size {
        return Ok((bytes as u64, blake3::hash(&buffer[..bytes])));
    }
    let mut hasher = Hasher::new();
    hasher.update(&buffer[..bytes]);
    while hasher.count() != size {
        match retry_on_intr(|| read(file, &mut *buffer))? {
            0 => break,
            bytes => hasher.update(&buffer[..bytes]),
        };
    }
    Ok((hasher.count(), hasher.finalize()))
}
