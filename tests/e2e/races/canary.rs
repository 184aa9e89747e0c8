//! A folder outside the tree that tells when anything in it is opened, and one
//! beside it that what is in the tree can be moved to.

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
    aside: PathBuf,
    watch: OwnedFd,
    /// Which of the watches is that of the place aside.
    aside_watch: i32,
}

impl Canary {
    /// Makes both beneath a folder, and watches them and all that is in the first.
    pub(super) fn new(above: &Path) -> Result<Self> {
        let (folder, aside) = (above.join("outside"), above.join("aside"));
        let inner = folder.join("inner");
        for folder in [&inner, &aside] {
            fs::create_dir_all(folder)?;
        }
        for folder in [&folder, &inner] {
            fs::write(folder.join("secret"), "from outside")?;
        }
        let watch = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // Of a folder's files it tells as of the folder itself.
        let add = |folder| {
            let what = WatchFlags::OPEN | WatchFlags::ACCESS;
            add_watch(&watch, folder, what).context("cannot watch the canary")
        };
        add(&folder)?;
        add(&inner)?;
        let aside_watch = add(&aside)?;
        Ok(Self { folder, aside, watch, aside_watch })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where to move what is in the tree. What is moved there may be read there by
    /// who has it open, but the place itself may not.
    pub(super) fn aside(&self) -> &Path {
        &self.aside
    }

    /// A file in the folder.
    pub(super) fn secret(&self) -> PathBuf {
        self.folder.join("secret")
    }

    /// Holds that nothing in it was opened; and that it would have told.
    pub(super) fn check_untouched(&self) -> Result<()> {
        let told = self.events()?;
        ensure!(told.is_empty(), "opened outside the root: {}", told.join(", "));
        fs::read(self.folder.join("inner/secret"))?;
        for folder in [&self.folder, &self.aside] {
            fs::read_dir(folder)?;
        }
        ensure!(self.events()?.len() > 2, "the canary does not tell");
        Ok(())
    }

    /// What was opened since it was last asked, by its name in the folder.
    fn events(&self) -> Result<Vec<String>> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.watch, &mut buffer);
        let mut told = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let is_aside = event.wd() == self.aside_watch;
                    match (is_aside, event.file_name()) {
                        (true, Some(_)) => {}
                        (true, None) => told.push("the place aside".to_owned()),
                        (false, name) => told.push(format!("{name:?}")),
                    }
                }
                Err(Errno::AGAIN) => return Ok(told),
                Err(errno) => return Err(errno).context("cannot ask the canary"),
            }
        }
    }
}
