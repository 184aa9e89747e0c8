//! What a container runtime leaves behind when it is stopped hard: shims, monitors,
//! containers, mounts. Only what belongs to a folder of one test is touched.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::program;
use crate::wait::wait_for;

/// How often mounts are looked for, since one may hide another.
const ROUNDS: usize = 5;

/// Ends every process whose command line or root names `folder`, and unmounts what
/// is mounted beneath it. What cannot be ended stays: this runs when tests end.
pub fn clear(folder: &Path) {
    let gone = || {
        let pids = pids_of(folder);
        for pid in &pids {
            let _ = kill_process(*pid, Signal::KILL);
        }
        Ok(pids.is_empty().then_some(()))
    };
    let _ = wait_for("a runtime's processes to end", Duration::from_secs(10), gone);
    for _ in 0..ROUNDS {
        let mounts = mounts_beneath(folder);
        if mounts.is_empty() {
            return;
        }
        for mount in mounts.iter().rev() {
            let _ = program::succeed("umount", ["--lazy", mount]);
        }
    }
}

/// Processes that name the folder: in their command line, or by where their root's
/// layers lie.
fn pids_of(folder: &Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let own = std::process::id();
    let others = numbers.filter(|&pid| pid.cast_unsigned() != own);
    others.filter(|pid| is_of(folder, *pid)).filter_map(Pid::from_raw).collect()
}

fn is_of(folder: &Path, pid: i32) -> bool {
    let named = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| contains(&line, folder));
    let mounts = fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let mut lines = mounts.split(|&b| b == b'\n');
    let root = lines.find(|line| line.split(|&b| b == b' ').nth(4) == Some(b"/"));
    named || root.is_some_and(|root| contains(root, folder))
}

fn contains(bytes: &[u8], folder: &Path) -> bool {
    let folder = folder.as_os_str().as_bytes();
    bytes.windows(folder.len()).any(|window| window == folder)
}

fn mounts_beneath(folder: &Path) -> Vec<String> {
    let list = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let paths = list.lines().filter_map(|line| line.split(' ').nth(4));
    paths.filter(|path| Path::new(path).starts_with(folder)).map(str::to_owned).collect()
}
