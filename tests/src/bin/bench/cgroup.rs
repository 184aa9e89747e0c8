//! A control group with bounded memory, of either version; gone when dropped.
//! Needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, id};

use anyhow::{Context, Result, bail};
use congruent_tests::wait::{PATIENCE, wait_for};

const FIRST: &str = "/sys/fs/cgroup/memory";
const SECOND: &str = "/sys/fs/cgroup";

/// A control group of one's own.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// A group whose processes, and the page cache that they fill, share so much.
    pub(crate) fn with_memory(bytes: u64) -> Result<Self> {
        let is_first = Path::new(FIRST).join("memory.limit_in_bytes").exists();
        let parent = Path::new(if is_first { FIRST } else { SECOND });
        if !is_first {
            offer_memory(parent)?;
        }
        let folder = parent.join(format!("congruent-bench-{}", id()));
        fs::create_dir(&folder)
            .with_context(|| format!("cannot make the control group {}; run as root", folder.display()))?;
        let group = Self(folder);
        group.write(if is_first { "memory.limit_in_bytes" } else { "memory.max" }, &bytes.to_string())?;
        Ok(group)
    }

    /// The same command, in this group.
    pub(crate) fn command(&self, words: &[impl AsRef<std::ffi::OsStr>]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs")).args(words);
        command
    }

    fn write(&self, name: &str, value: &str) -> Result<()> {
        let file = self.0.join(name);
        fs::write(&file, value).with_context(|| format!("cannot write {value} to {}", file.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has ended leaves its group a little later. Where the group
        // stays, the next one with its name cannot be made, and says so.
        let _ = wait_for("the control group to empty", PATIENCE, || Ok(fs::remove_dir(&self.0).ok()));
    }
}

/// Lets groups beneath `parent` bound memory.
fn offer_memory(parent: &Path) -> Result<()> {
    let offered = |name: &str| {
        let text = fs::read_to_string(parent.join(name)).unwrap_or_default();
        text.split_whitespace().any(|controller| controller == "memory")
    };
    if !offered("cgroup.controllers") {
        bail!("no control group of this machine bounds memory ({FIRST}, {SECOND})");
    }
    if offered("cgroup.subtree_control") {
        return Ok(());
    }
    let file = parent.join("cgroup.subtree_control");
    fs::write(&file, "+memory").with_context(|| format!("cannot write +memory to {}", file.display()))
}
