//! Running a program to its end, with a deadline.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::wait::{PATIENCE, wait_for};

/// What a program left when it ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Ended {
    /// Stdout as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs `command` without input until it ends; kills it when it hangs.
///
/// # Errors
/// When it cannot be started, or does not end.
pub fn run(command: &mut Command) -> Result<Ended> {
    run_within(command, PATIENCE)
}

/// Runs `command` as [`run`] does, where it has more to do.
///
/// # Errors
/// When it cannot be started, or does not end before the deadline.
pub fn run_within(command: &mut Command, deadline: Duration) -> Result<Ended> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = wait_for(&format!("{name} to be free"), PATIENCE, || match command.spawn() {
        // It was just copied, and another thread's child has the copy's descriptor yet.
        Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => Ok(None),
        spawned => spawned.map(Some).with_context(|| format!("cannot start {name}")),
    })?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let ended = wait_for(&format!("{name} to end"), deadline, || Ok(child.try_wait()?));
    if ended.is_err() {
        end(&mut child);
    }
    let stderr = String::from_utf8_lossy(&collect(stderr)?).into_owned();
    let code = ended.with_context(|| stderr.clone())?.code();
    Ok(Ended { code, stdout: collect(stdout)?, stderr })
}

/// Runs `program` and asks for success.
///
/// # Errors
/// When it cannot be started or fails; with what it said.
pub fn succeed<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<Ended> {
    let ended = run(Command::new(program).args(arguments))?;
    ensure!(ended.code == Some(0), "{program} failed ({:?}): {}", ended.code, ended.stderr);
    Ok(ended)
}

/// Kills a child and takes its end, so that nothing is left of it.
pub fn end(child: &mut Child) {
    // It may have ended by itself, which is as good.
    let _ = child.kill();
    let _ = child.wait();
}

fn drain(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn collect(reader: JoinHandle<Vec<u8>>) -> Result<Vec<u8>> {
    reader.join().map_err(|_| anyhow::anyhow!("a reader of a program's output panicked"))
}
