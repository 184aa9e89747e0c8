//! A Podman of one's own: Debian's, with storage and state in a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::program::run;
use crate::{busybox, left_behind};

/// Containers and images in a folder. Whatever is left goes when this is dropped.
pub struct Podman {
    folder: PathBuf,
}

impl Podman {
    /// One that keeps everything in `folder`, which is made.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("tmp")).context("cannot make Podman's folder")?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The root of containers/storage.
    pub fn data_root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Runs `podman` and gives what it printed, without the last newline.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub fn podman(&self, arguments: &[&str]) -> Result<String> {
        let mut podman = Command::new("podman");
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            podman.arg(option).arg(self.folder.join(name));
        }
        podman.args(["--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        // crun refuses hosts that have both versions of cgroups mounted.
        let both = Path::new("/sys/fs/cgroup/unified").exists();
        podman.args(["--runtime", if both { "runc" } else { "crun" }]);
        let ended = run(podman.args(arguments))?;
        ensure!(ended.code == Some(0), "podman {arguments:?} failed: {}", ended.stderr);
        Ok(ended.text().trim_end().to_owned())
    }

    /// Makes the image `localhost/app:1` of three layers: busybox, `/one`, `/two`.
    ///
    /// # Errors
    /// When that fails.
    pub fn build(&self) -> Result<()> {
        let archive = busybox::archive(&self.folder)?;
        self.podman(&["import", "--quiet", &archive.to_string_lossy(), "localhost/base:1"])?;
        let context = busybox::context(&self.folder, "localhost/base:1")?;
        // Each step a layer, as Docker has it.
        let options = ["build", "--quiet", "--layers", "--network=none", "--tag=localhost/app:1"];
        self.podman(&[&options[..], &[&context.to_string_lossy()]].concat())?;
        Ok(())
    }

    /// Makes a container of `localhost/app:1`, with `options` of `podman create`;
    /// gives its id.
    ///
    /// # Errors
    /// When that fails.
    pub fn create(&self, name: &str, options: &[&str]) -> Result<String> {
        // A host may allow fewer than Podman asks for.
        let limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"];
        let first = ["create", "--network=none", "--log-driver=none", "--name", name];
        let last = ["localhost/app:1", "/bin/sleep", "100000"];
        self.podman(&[&first[..], &limits, options, &last].concat())
    }

    /// Runs a container that sleeps; gives its id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn sleeper(&self, name: &str, options: &[&str]) -> Result<String> {
        let id = self.create(name, options)?;
        self.podman(&["start", name])?;
        Ok(id)
    }

    /// What `podman inspect` says of a container or an image.
    ///
    /// # Errors
    /// When there is none.
    pub fn inspect(&self, name: &str) -> Result<Value> {
        let told: Value = serde_json::from_str(&self.podman(&["inspect", name])?).context("no JSON")?;
        Ok(told[0].clone())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.podman(&["rm", "--all", "--force", "--volumes", "--time=0"]);
        left_behind::clear(&self.folder);
    }
}
