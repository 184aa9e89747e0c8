//! A folder outside the tree that tells when anything in it is opened.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

/// The folder, with a file and a folder with a file in it.
pub(super) struct Canary {
    folder: PathBuf,
    watch: OwnedFd,
}

impl Canary {
    /// Makes the folder, and watches it and all that is in it.
    pub(super) fn new(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(folder.join("inner"))?;
        let watch = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let canary = Self { folder, watch };
        for file in ["secret", "inner/secret"] {
            fs::write(canary.folder.join(file), "from outside")?;
        }
        for folder in [canary.folder(), &canary.folder.join("inner")] {
            // Of a folder's files it tells as of the folder itself.
            add_watch(&canary.watch, folder, WatchFlags::OPEN | WatchFlags::ACCESS)
                .context("cannot watch the canary")?;
        }
        Ok(canary)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file in it.
    pub(super) fn secret(&self) -> PathBuf {
        self.folder.join("secret")
    }

    /// Holds that nothing in it was opened; and that it would have told.
    pub(super) fn check_untouched(&self) -> Result<()> {
        ensure!(self.events()? == 0, "something outside the root was opened");
        fs::read(self.folder.join("inner/secret"))?;
        fs::read_dir(&self.folder)?;
        ensure!(self.events()? > 1, "the canary does not tell");
        Ok(())
    }

    /// How often it told since it was last asked.
    fn events(&self) -> Result<usize> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.watch, &mut buffer);
        for count in 0.. {
            match reader.next() {
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(count),
                Err(errno) => return Err(errno).context("cannot ask the canary"),
            }
        }
        unreachable!("the events never end")
    }
}
