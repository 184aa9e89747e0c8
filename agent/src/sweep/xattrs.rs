//! Extended attributes in scope, of what is open and of what is not.
//!
//! Where they cannot all be read, those whose names are known beforehand are
//! still asked for: no heap of other attributes may hide a capability.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::LazyLock;

use congruent_protocol::contract::XattrScope;
use congruent_protocol::entry::{XATTRS_KNOWN_BY_NAME, Xattrs};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::directory::Directory;

/// The longest list of xattr names, and the largest value, that Linux has.
const XATTR_BYTES: usize = 64 << 10;
/// Overlay's own, of a file system mounted by root, and by a user.
const OVERLAYS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// What could be read.
pub(super) struct ReadXattrs {
    pub(super) xattrs: Xattrs,
    /// Why it is not all, where it is not.
    pub(super) failed: Option<Errno>,
    /// Then, the names that were asked for and answered.
    pub(super) answered: Vec<&'static CStr>,
}

impl ReadXattrs {
    /// That there are none.
    pub(super) fn none() -> Self {
        Self { xattrs: Xattrs::new(), failed: None, answered: Vec::new() }
    }
}

/// Which attributes are read.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) scope: &'a XattrScope,
    /// Whether also those by which overlay tells what a layer takes away.
    pub(super) overlays: bool,
}

impl Wanted<'_> {
    fn contains(self, name: &[u8]) -> bool {
        self.scope.contains(name) || (self.overlays && OVERLAYS.iter().any(|own| name.starts_with(own)))
    }

    fn asks_for_trusted(self) -> bool {
        self.overlays || self.scope.asks_for_trusted()
    }
}

/// Those of an open file or directory.
pub(super) fn read(fd: &impl AsFd, wanted: Wanted<'_>) -> ReadXattrs {
    collect(
        wanted,
        |list| rustix::fs::flistxattr(fd, list),
        |name, value| rustix::fs::fgetxattr(fd, name, value),
    )
}

/// Those of what cannot be opened. There is no call for a name relative to a
/// directory before Linux 6.13, so the way leads through /proc.
pub(super) fn read_named(directory: &Directory, name: &[u8], wanted: Wanted<'_>) -> ReadXattrs {
    let mut path = format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    collect(
        wanted,
        |list| rustix::fs::llistxattr(&path[..], list),
        |name, value| rustix::fs::lgetxattr(&path[..], name, value),
    )
}

fn collect(
    wanted: Wanted<'_>,
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&CStr, &mut [u8]) -> Result<usize, Errno>,
) -> ReadXattrs {
    let failed = match collect_listed(wanted, list, &get) {
        // Who may not see them is not told that they are there.
        Ok(_) if wanted.asks_for_trusted() && !sees_trusted() => Errno::PERM,
        Ok(xattrs) => return ReadXattrs { xattrs, ..ReadXattrs::none() },
        Err(errno) => errno,
    };
    let (mut xattrs, mut answered) = (Xattrs::new(), Vec::new());
    for name in XATTRS_KNOWN_BY_NAME.into_iter().filter(|name| wanted.contains(name.to_bytes())) {
        // What cannot be read is not absent.
        let Ok(value) = value_of(name, &get) else { continue };
        answered.push(name);
        xattrs.extend(value.map(|value| (name.to_bytes().to_vec(), value)));
    }
    ReadXattrs { xattrs, failed: Some(failed), answered }
}

fn collect_listed(
    wanted: Wanted<'_>,
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: &impl Fn(&CStr, &mut [u8]) -> Result<usize, Errno>,
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
        if wanted.contains(name.to_bytes())
            && let Some(value) = value_of(name, get)?
        {
            xattrs.push((name.to_bytes().to_vec(), value));
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// Whether `trusted.*` is shown to this process: xattr(7) asks for CAP_SYS_ADMIN
/// in the initial user namespace.
pub(crate) fn sees_trusted() -> bool {
    static SEES: LazyLock<bool> = LazyLock::new(|| {
        let capable = rustix::thread::capabilities(None)
            .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
        let identity = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        capable && identity.split_whitespace().eq(["0", "0", "4294967295"])
    });
    *SEES
}

/// An attribute's value; none where there is none, or it is gone meanwhile.
fn value_of(
    name: &CStr,
    get: &impl Fn(&CStr, &mut [u8]) -> Result<usize, Errno>,
) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = vec![0; XATTR_BYTES];
    match get(name, &mut value) {
        Ok(length) => {
            value.truncate(length);
            value.shrink_to_fit();
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(errno),
    }
}
