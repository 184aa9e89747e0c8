//! An instance of an image: a copy that boots.
//!
//! systemd-nspawn starts the copy's own init as PID 1 in namespaces of its own.
//! It needs no systemd on this machine, and leaves nothing there: `/run` and the
//! network belong to the command and go with it. What hardware would bring (udev,
//! a random seed, a boot loader) a container does not have; nor may it set up the
//! network, so systemd-networkd stays down, while cloud-init writes for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::sandbox::Sandbox;
use crate::{program, tree};

/// A `/run` and a network for nspawn alone, and a cable from eth0 of the instance
/// to nowhere, so that the network counts as up.
const ALONE: &str = "set -e
    mount -t tmpfs tmpfs /run
    ip netns add instance
    ip link add outside type veth peer name eth0 netns instance
    ip link set outside up
    exec \"$@\"";

/// An instance.
pub struct Instance {
    root: PathBuf,
    /// What the platform would give it, and what its day is.
    given: Sandbox,
}

impl Instance {
    /// Copies `image` to `root`, as the instance with this number.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn new(image: &Path, root: PathBuf, number: usize) -> Result<Self> {
        tree::copy(image, &root)?;
        let given = Sandbox::new()?;
        let seed = given.path("seed");
        fs::create_dir(&seed).with_context(|| format!("cannot make {}", seed.display()))?;
        let meta_data = format!("instance-id: i-{number}\nlocal-hostname: web-{number}\n");
        for (name, content) in [
            ("seed/meta-data", meta_data.as_str()),
            ("seed/user-data", include_str!("user-data.yaml")),
            ("seed/network-config", include_str!("network-config.yaml")),
            ("exercise.sh", include_str!("exercise.sh")),
            ("exercise.service", include_str!("exercise.service")),
        ] {
            given.write(name, content)?;
        }
        Ok(Self { root, given })
    }

    /// Its root, as it is when it is down.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Boots it, lets it work for what would be a day, and takes it down again.
    ///
    /// # Errors
    /// When it does not boot, or anything of that fails; with what was said.
    pub fn live_through_a_day(&self) -> Result<()> {
        let ended = program::run(&mut self.boot_command())?;
        let output = fs::read_to_string(self.given.path("output")).unwrap_or_default();
        ensure!(
            ended.code == Some(0) && output.contains("generation 2"),
            "the instance ended with {:?}: {}{}{output}",
            ended.code,
            ended.text(),
            ended.stderr
        );
        Ok(())
    }

    /// Removes its root.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.root).with_context(|| format!("cannot remove {}", self.root.display()))
    }

    fn boot_command(&self) -> Command {
        let given = self.given.folder().display();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--net", "--propagation", "private", "sh", "-c", ALONE, "sh", "systemd-nspawn"])
            // Without a systemd here there is nobody to register with.
            .args(["--register=no", "--keep-unit", "--quiet", "--console=pipe", "--machine=instance"])
            .arg("--network-namespace-path=/run/netns/instance")
            // What nspawn would write into the root by itself is no part of a boot.
            .args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"])
            .arg(format!("--bind={given}:/run/instance"))
            .arg(format!("--bind-ro={given}/exercise.service:/run/systemd/system/exercise.service"))
            .arg("--directory")
            .arg(&self.root)
            .args(["--boot", "--", "systemd.wants=exercise.service", "systemd.log_target=journal"])
            .arg("ds=nocloud;s=file:///run/instance/seed/");
        command
    }
}
