//! A Docker of one's own: Debian's dockerd, started by hand in a folder, with no
//! network and nothing of the host's Docker.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::{self, run};
use crate::wait::{PATIENCE, wait_for};
use crate::{busybox, left_behind};

const DOCKERD: &str = "/usr/sbin/dockerd";
/// By its whole path: another client may come before it in PATH.
const DOCKER: &str = "/usr/bin/docker";

/// A running or stopped Docker. Whatever it left goes when this is dropped.
pub struct Docker {
    folder: PathBuf,
    daemon: Option<Child>,
}

impl Docker {
    /// Starts one that keeps everything in `folder`, which is made.
    ///
    /// # Errors
    /// When it does not start: this needs root and Debian's package `docker.io`.
    pub fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).context("cannot make Docker's folder")?;
        let mut docker = Self { folder: folder.to_owned(), daemon: None };
        docker.start_daemon()?;
        Ok(docker)
    }

    /// Starts the daemon again; containers that run are its own again.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_daemon(&mut self) -> Result<()> {
        let log = File::create(self.folder.join("log")).context("cannot make Docker's log")?;
        let mut dockerd = Command::new(DOCKERD);
        dockerd.arg("--data-root").arg(self.data_root()).arg("--exec-root").arg(self.folder.join("exec"));
        dockerd.arg("--pidfile").arg(self.folder.join("pid")).args(["--host", &self.address()]);
        dockerd.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--live-restore"]);
        dockerd.args(["--storage-driver=overlay2"]);
        let error_log = log.try_clone().context("cannot share Docker's log")?;
        dockerd.stdin(Stdio::null()).stdout(log).stderr(error_log);
        self.daemon = Some(dockerd.spawn().with_context(|| format!("cannot start {DOCKERD}"))?);
        let answers =
            || Ok(self.client(&["info"]).output().is_ok_and(|info| info.status.success()).then_some(()));
        wait_for("dockerd to answer", PATIENCE, answers).with_context(|| self.log())
    }

    /// Stops the daemon, and lets containers run on.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop_daemon(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        if let Some(pid) = Pid::from_raw(daemon.id().cast_signed()) {
            // It may have ended by itself, which is as good.
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = wait_for("dockerd to end", PATIENCE, || Ok(daemon.try_wait()?));
        program::end(&mut daemon);
        ended.map(drop)
    }

    /// Docker's data root.
    pub fn data_root(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Runs `docker` and gives what it printed, without the last newline.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub fn docker(&self, arguments: &[&str]) -> Result<String> {
        let ended = run(&mut self.client(arguments))?;
        ensure!(ended.code == Some(0), "docker {arguments:?} failed: {}{}", ended.stderr, self.log());
        Ok(ended.text().trim_end().to_owned())
    }

    /// Makes the image `app:1` of three layers: busybox, `/one`, `/two`.
    ///
    /// # Errors
    /// When that fails.
    pub fn build(&self) -> Result<()> {
        let archive = busybox::archive(&self.folder)?;
        self.docker(&["import", &archive.to_string_lossy(), "base:1"])?;
        let context = busybox::context(&self.folder, "base:1")?;
        self.docker(&["build", "--quiet", "--network=none", "--tag=app:1", &context.to_string_lossy()])?;
        Ok(())
    }

    /// Runs a container of `app:1` that sleeps, with `options` of `docker run`; gives
    /// its id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn sleeper(&self, name: &str, options: &[&str]) -> Result<String> {
        let first = ["run", "--detach", "--network=none", "--name", name];
        self.docker(&[&first[..], options, &["app:1", "/bin/sleep", "100000"]].concat())
    }

    /// What `docker inspect` says of a container or an image.
    ///
    /// # Errors
    /// When there is none.
    pub fn inspect(&self, name: &str) -> Result<Value> {
        let told: Value = serde_json::from_str(&self.docker(&["inspect", name])?).context("no JSON")?;
        Ok(told[0].clone())
    }

    fn address(&self) -> String {
        format!("unix://{}", self.folder.join("socket").display())
    }

    /// The client, to be run with these arguments.
    pub fn client(&self, arguments: &[&str]) -> Command {
        let mut docker = Command::new(DOCKER);
        // The classic builder: the other is no part of Debian's package.
        docker.env("DOCKER_BUILDKIT", "0").env("HOME", &self.folder).env_remove("DOCKER_HOST");
        docker.arg("--host").arg(self.address()).args(arguments);
        docker
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if self.daemon.is_some()
            && let Ok(ids) = self.docker(&["ps", "--all", "--quiet"])
            && !ids.is_empty()
        {
            let words = ["rm", "--force", "--volumes"].into_iter().chain(ids.lines()).collect::<Vec<_>>();
            let _ = self.docker(&words);
        }
        let _ = self.stop_daemon();
        left_behind::clear(&self.folder);
    }
}
