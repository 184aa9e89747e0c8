//! A verify that reads so slowly that there is time to act while it reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use congruent_tests::program::{self, Ended};
use congruent_tests::wait::{PATIENCE, wait_for};

use super::start::{BIG, Start, with_few_descriptors};

/// The big file takes two seconds.
const RATE: &str = "500K";

/// Begins to verify slowly, calls `act` while the big file is read, and gives
/// what came of it.
pub(super) fn act_during_read<T>(
    start: &Start,
    root: &Path,
    act: impl FnOnce() -> Result<T>,
) -> Result<(Ended, T)> {
    act_while_reading(&mut slow(start, root)?, root, act)
}

/// The same where few files may be open.
pub(super) fn act_with_few_descriptors<T>(
    start: &Start,
    root: &Path,
    act: impl FnOnce() -> Result<T>,
) -> Result<(Ended, T)> {
    act_while_reading(&mut with_few_descriptors(&slow(start, root)?), root, act)
}

fn slow(start: &Start, root: &Path) -> Result<Command> {
    start.verify(root, &["--max-bytes-per-second", RATE])
}

fn act_while_reading<T>(
    verify: &mut Command,
    root: &Path,
    act: impl FnOnce() -> Result<T>,
) -> Result<(Ended, T)> {
    let mut child = verify.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let acted = wait_until_reading(&mut child, root).and_then(|()| act());
    // Its output is far less than a pipe holds.
    let ended = wait_for("verify to end", PATIENCE, || Ok(child.try_wait()?));
    if ended.is_err() {
        program::end(&mut child);
    }
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = ended.with_context(|| stderr.clone())?.code();
    Ok((Ended { code, stdout: output.stdout, stderr }, acted?))
}

/// Waits until the big file is open and some of it has been read.
fn wait_until_reading(child: &mut Child, root: &Path) -> Result<()> {
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    let mut read_at_open = None;
    wait_for("the big file to be read", PATIENCE, || {
        ensure!(child.try_wait()?.is_none(), "verify ended before it could be met reading");
        if !has_open(&process, &root.join(&BIG[1..]))? {
            return Ok(None);
        }
        let io = fs::read_to_string(process.join("io"))?;
        let read = io.lines().find_map(|line| line.strip_prefix("rchar: ").map(ToOwned::to_owned));
        Ok((*read_at_open.get_or_insert_with(|| read.clone()) != read).then_some(()))
    })
}

fn has_open(process: &Path, file: &Path) -> Result<bool> {
    let open = fs::read_dir(process.join("fd"))?.map_while(Result::ok);
    // One that is closed meanwhile has no link.
    Ok(open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target == file))
}
