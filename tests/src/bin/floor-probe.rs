//! The floor under a full verify: opens every entry beneath a folder, stats it
//! before and after, lists its extended attributes, reads and hashes it, and does
//! nothing with what it learns. No verify that does its work can be faster by much.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use rayon::Scope;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, flistxattr, fstat, openat, statat};
use rustix::io::{Errno, read};

const BUFFER_BYTES: usize = 256 * 1024;
const NAMES_BYTES: usize = 32 * 1024;
const XATTRS_BYTES: usize = 4096;
const USAGE: &str = "usage: floor-probe [--threads N] FOLDER";

/// What one thread reads into, again and again.
struct Buffers {
    content: Vec<u8>,
    xattrs: Vec<u8>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> =
        RefCell::new(Buffers { content: vec![0; BUFFER_BYTES], xattrs: vec![0; XATTRS_BYTES] });
}

#[derive(Default)]
struct Counts {
    entries: AtomicU64,
    bytes: AtomicU64,
    unreadable: AtomicU64,
    /// Keeps the compiler from leaving the hashing out.
    mixed: AtomicU64,
}

fn main() -> Result<()> {
    let (threads, folder) = arguments()?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start threads")?;
    let begun = Instant::now();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, &folder, flags, Mode::empty())
        .with_context(|| format!("cannot open {}", folder.display()))?;
    let counts = Counts::default();
    rayon::scope(|scope| walk(scope, &Arc::new(root), &counts));
    println!(
        "{} entries, {} bytes hashed, {} unreadable, {:.3} s, {:016x}",
        counts.entries.into_inner(),
        counts.bytes.into_inner(),
        counts.unreadable.into_inner(),
        begun.elapsed().as_secs_f64(),
        counts.mixed.into_inner()
    );
    Ok(())
}

fn arguments() -> Result<(usize, PathBuf)> {
    let mut arguments = std::env::args_os().skip(1);
    let (mut threads, mut folder) = (0, None);
    while let Some(argument) = arguments.next() {
        if argument == "--threads" {
            let number = arguments.next().and_then(|number| number.to_str()?.parse().ok());
            threads = number.context(USAGE)?;
        } else {
            folder = Some(PathBuf::from(argument));
        }
    }
    Ok((threads, folder.context(USAGE)?))
}

/// Looks at everything in one directory; its subdirectories become tasks.
fn walk<'s>(scope: &Scope<'s>, directory: &Arc<OwnedFd>, counts: &'s Counts) {
    look(directory.as_fd(), false, counts);
    let mut names = Vec::with_capacity(NAMES_BYTES);
    let mut listing = RawDir::new(directory.as_fd(), names.spare_capacity_mut());
    while let Some(Ok(entry)) = listing.next() {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match entry.file_type() {
            FileType::Directory => {
                let (directory, name) = (Arc::clone(directory), CString::from(name));
                scope.spawn(move |scope| enter(scope, &directory, &name, counts));
            }
            FileType::RegularFile => {
                let (directory, name) = (Arc::clone(directory), CString::from(name));
                scope.spawn(move |_| file(directory.as_fd(), &name, counts));
            }
            _ => {
                counts.entries.fetch_add(1, Ordering::Relaxed);
                // Nothing comes of it, as for everything else here.
                let _ = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
            }
        }
    }
}

fn enter<'s>(scope: &Scope<'s>, parent: &Arc<OwnedFd>, name: &CStr, counts: &'s Counts) {
    match open(parent.as_fd(), name, OFlags::DIRECTORY) {
        Ok(directory) => walk(scope, &Arc::new(directory), counts),
        Err(_) => count_unreadable(counts),
    }
}

fn file(parent: BorrowedFd<'_>, name: &CStr, counts: &Counts) {
    match open(parent, name, OFlags::empty()) {
        Ok(file) => look(file.as_fd(), true, counts),
        Err(_) => count_unreadable(counts),
    }
}

fn count_unreadable(counts: &Counts) {
    counts.unreadable.fetch_add(1, Ordering::Relaxed);
}

/// Only the owner and root may leave the access time alone.
fn open(parent: BorrowedFd<'_>, name: &CStr, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
    match openat(parent, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(parent, name, flags, Mode::empty()),
        opened => opened,
    }
}

fn look(entry: BorrowedFd<'_>, content: bool, counts: &Counts) {
    counts.entries.fetch_add(1, Ordering::Relaxed);
    let looked = BUFFERS.with_borrow_mut(|buffers| {
        let before = fstat(entry)?;
        // File systems without extended attributes say so.
        let _ = flistxattr(entry, &mut buffers.xattrs[..]);
        if content {
            let (bytes, digest) = hash(entry, &mut buffers.content)?;
            counts.bytes.fetch_add(bytes, Ordering::Relaxed);
            counts.mixed.fetch_xor(digest, Ordering::Relaxed);
        }
        let after = fstat(entry)?;
        Ok::<_, Errno>(before.st_ctime == after.st_ctime)
    });
    if looked.is_err() {
        count_unreadable(counts);
    }
}

/// The number of bytes, and the first of the digest.
fn hash(file: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(u64, u64), Errno> {
    let mut hasher = blake3::Hasher::new();
    loop {
        match read(file, &mut *buffer) {
            Ok(0) => break,
            Ok(bytes) => {
                hasher.update(&buffer[..bytes]);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    let digest = hasher.finalize();
    let first = digest.as_bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    Ok((hasher.count(), first))
}
