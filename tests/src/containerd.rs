//! A containerd of one's own: Debian's, started by hand in a folder, and used with
//! its client `ctr`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::left_behind;
use crate::program::{self, run};
use crate::wait::{PATIENCE, wait_for};

/// A running or stopped containerd. Whatever it left goes when this is dropped.
pub struct Containerd {
    folder: PathBuf,
    daemon: Option<Child>,
}

impl Containerd {
    /// Starts one that keeps everything in `folder`, which is made.
    ///
    /// # Errors
    /// When it does not start: this needs root and Debian's package `containerd`.
    pub fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).context("cannot make containerd's folder")?;
        let mut containerd = Self { folder: folder.to_owned(), daemon: None };
        let path = |name: &str| folder.join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            path("root"),
            path("state"),
            path("socket"),
            path("socket.ttrpc"),
        );
        fs::write(folder.join("config.toml"), config).context("cannot write containerd's configuration")?;
        let log = File::create(folder.join("log")).context("cannot make containerd's log")?;
        let mut command = Command::new("containerd");
        command.arg("--config").arg(folder.join("config.toml"));
        let error_log = log.try_clone().context("cannot share containerd's log")?;
        command.stdin(Stdio::null()).stdout(log).stderr(error_log);
        containerd.daemon = Some(command.spawn().context("cannot start containerd")?);
        let answers = || Ok(containerd.ctr(&["version"]).is_ok().then_some(()));
        wait_for("containerd to answer", PATIENCE, answers)?;
        Ok(containerd)
    }

    /// Stops the daemon, and lets containers run on.
    pub fn stop_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            program::end(&mut daemon);
        }
    }

    /// containerd's data root.
    pub fn data_root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Runs `ctr` and gives what it printed.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let mut ctr = Command::new("ctr");
        let ended = run(ctr.arg("--address").arg(self.folder.join("socket")).args(arguments))?;
        ensure!(ended.code == Some(0), "ctr {arguments:?} failed: {}", ended.stderr);
        Ok(ended.text())
    }

    /// Takes in the images of an archive that `docker save` or `podman save` wrote.
    ///
    /// # Errors
    /// When that fails.
    pub fn import(&self, archive: &Path) -> Result<()> {
        self.ctr(&["images", "import", &archive.to_string_lossy()]).map(drop)
    }

    /// Runs a container that sleeps.
    ///
    /// # Errors
    /// When it does not run.
    pub fn sleeper(&self, image: &str, id: &str, options: &[&str]) -> Result<()> {
        let first = ["run", "--detach", "--null-io"];
        self.ctr(&[&first[..], options, &[image, id, "/bin/sleep", "100000"]].concat()).map(drop)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.stop_daemon();
        left_behind::clear(&self.folder);
    }
}
