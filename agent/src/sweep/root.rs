//! The root that is looked at, and from whose point of view.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::mounts::MountTable;

/// An open root directory.
pub(crate) struct Root {
    pub(crate) directory: OwnedFd,
    pub(crate) path: PathBuf,
    pub(crate) mounts: MountTable,
}

/// Why there is no root to look at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootError {
    #[error("cannot open the root directory {}", .path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the root {} is not a directory; give the directory that holds the image's files", .0.display())]
    NotADirectory(PathBuf),
    #[error("something is mounted over {}, which a container does not show", .0.display())]
    Covered(PathBuf),
    #[error(
        "cannot see the root as PID 1 does; run with CAP_SYS_PTRACE, as root mostly does, or name a root directory"
    )]
    ForeignView(#[source] io::Error),
}

impl Root {
    /// Opens `given`, or where nothing is given the root as PID 1 sees it.
    pub(crate) fn open(given: Option<&Path>) -> Result<Self, RootError> {
        match given {
            Some(path) => Self::open_at(path, "/proc/self/mountinfo"),
            None if shares_view_with_init()? => Self::open_at(Path::new("/"), "/proc/self/mountinfo"),
            None => Self::open_at(Path::new("/proc/1/root"), "/proc/1/mountinfo"),
        }
    }

    /// Opens a directory of a container's: what is mounted over it is not what the container
    /// shows.
    pub(crate) fn open_uncovered(path: &Path) -> Result<Self, RootError> {
        let root = Self::open(Some(path))?;
        let failed = |errno: Errno| RootError::Open { path: path.to_owned(), source: errno.into() };
        let mount = |of: &CStr| {
            let stat = rustix::fs::statx(&root.directory, of, AtFlags::empty(), StatxFlags::MNT_ID);
            stat.map(|stat| stat.stx_mnt_id).map_err(failed)
        };
        if mount(c".")? != mount(c"..")? {
            return Err(RootError::Covered(path.to_owned()));
        }
        Ok(root)
    }

    fn open_at(path: &Path, mountinfo: &str) -> Result<Self, RootError> {
        let open = |source| RootError::Open { path: path.to_owned(), source };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::NOTDIR) => return Err(RootError::NotADirectory(path.to_owned())),
            opened => opened.map_err(|errno| open(errno.into()))?,
        };
        Ok(Self { directory, path: path.to_owned(), mounts: MountTable::new(mountinfo) })
    }
}

/// Whether this process sees the same mounts under the same root as PID 1. A
/// service in a mount namespace of its own does not.
fn shares_view_with_init() -> Result<bool, RootError> {
    let same_link = |name: &str| -> io::Result<bool> {
        Ok(std::fs::read_link(format!("/proc/1/{name}"))?
            == std::fs::read_link(format!("/proc/self/{name}"))?)
    };
    let same = || Ok(same_link("ns/mnt")? && same_link("root")?);
    same().map_err(RootError::ForeignView)
}
