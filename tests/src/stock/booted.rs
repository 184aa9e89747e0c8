//! An image that runs, and is spoken to while it does: on this machine's network,
//! so that what listens on its loopback can be reached.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::program::{self, Ended};
use crate::wait::{PATIENCE, wait_for};

/// A `/run` for nspawn alone. A `/tmp` of its own would be a mount that no contract names.
const ALONE: &str = "set -e
    mount -t tmpfs tmpfs /run
    export SYSTEMD_NSPAWN_TMPFS_TMP=0
    exec \"$@\"";

/// What would take ports of this machine, or wait for a network of its own.
const MASKED: [&str; 5] = [
    "ssh.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
    "systemd-networkd.service",
    "systemd-networkd-wait-online.service",
];

/// A running instance; what is left of it ends when this is dropped.
pub struct Booted {
    nspawn: Child,
    /// Its PID 1, as this machine numbers it.
    init: String,
}

impl Booted {
    /// Boots `root`; what its console and nspawn say goes to `log`.
    ///
    /// # Errors
    /// When it does not boot; with that log.
    pub fn start(root: &Path, log: &Path) -> Result<Self> {
        let console = File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", ALONE, "sh", "systemd-nspawn"])
            .args(["--register=no", "--keep-unit", "--quiet", "--console=pipe", "--machine=agent-unit"])
            .args(["--resolv-conf=off", "--timezone=off", "--link-journal=no", "--directory"])
            .arg(root)
            .args(["--boot", "--", "systemd.log_target=journal", "cloud-init=disabled"])
            .args(MASKED.map(|unit| format!("systemd.mask={unit}")))
            .stdin(Stdio::null())
            .stdout(console.try_clone().context("cannot share the log")?)
            .stderr(console);
        let mut nspawn = command.spawn().context("cannot start systemd-nspawn")?;
        let up = wait_for("the instance to boot", PATIENCE, || {
            let ended = nspawn.try_wait().context("cannot wait for systemd-nspawn")?;
            ensure!(ended.is_none(), "systemd-nspawn ended: {ended:?}");
            let Some(init) = only_child(nspawn.id()) else { return Ok(None) };
            let is_up = enter(&init, &["systemctl", "list-jobs"])?.code == Some(0);
            Ok(is_up.then_some(init))
        });
        let said = || fs::read_to_string(log).unwrap_or_default();
        match up {
            Ok(init) => Ok(Self { nspawn, init }),
            Err(error) => {
                drop(Self { init: only_child(nspawn.id()).unwrap_or_default(), nspawn });
                Err(error.context(said()))
            }
        }
    }

    /// Runs a program in it.
    ///
    /// # Errors
    /// When it cannot be started, or does not end.
    pub fn run(&self, words: &[&str]) -> Result<Ended> {
        enter(&self.init, words)
    }

    /// Runs a program in it that is to succeed, and gives what it printed.
    ///
    /// # Errors
    /// When it does not; with what it said.
    pub fn succeed(&self, words: &[&str]) -> Result<String> {
        let ended = self.run(words)?;
        ensure!(ended.code == Some(0), "{words:?} ended with {:?}: {}", ended.code, ended.stderr);
        Ok(ended.text())
    }

    /// Takes it down as `systemctl poweroff` does.
    ///
    /// # Errors
    /// When it does not go down.
    pub fn shut_down(mut self) -> Result<()> {
        self.succeed(&["systemctl", "poweroff"])?;
        let nspawn = &mut self.nspawn;
        wait_for("the instance to go down", PATIENCE, || Ok(nspawn.try_wait()?))?;
        // Its number may be another's by now.
        self.init.clear();
        Ok(())
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // nspawn alone would leave the instance running; the kernel ends all in it with its init.
        if let Some(init) = self.init.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(init, Signal::KILL);
        }
        program::end(&mut self.nspawn);
    }
}

fn enter(init: &str, words: &[&str]) -> Result<Ended> {
    let mut command = Command::new("nsenter");
    command.args(["--target", init, "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wd"]);
    program::run(command.arg("--").args(words))
}

/// The child of a process, once it has settled on one.
fn only_child(process: u32) -> Option<String> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    let mut children = children.split_whitespace();
    let child = children.next()?.to_owned();
    children.next().is_none().then_some(child)
}
