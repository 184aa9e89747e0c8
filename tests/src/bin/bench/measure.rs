//! Measuring one run of a program: time, peak memory, bytes read from the disk.
//!
//! The kernel counts for a new process the memory that its parent held when it
//! started it. So each program is started by a small process of its own, which is
//! this one again, called by [`WORD`]: its 3 MB are the least that can be shown. And
//! what that one has read and waited for is the program's alone.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use wait4::Wait4;

/// The argument that makes the bench measure the program that follows it.
pub(crate) const WORD: &str = "--measure";

/// What one run of a program took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) seconds: f64,
    pub(crate) peak_bytes: u64,
    /// What came from block devices; none where the kernel does not count it.
    pub(crate) read_bytes: Option<u64>,
    /// None where a signal ended it.
    pub(crate) code: Option<i32>,
}

/// A program with its arguments, and the exit code that it is to end with.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) name: String,
    words: Vec<OsString>,
    code: i32,
}

impl Program {
    pub(crate) fn new(name: impl Into<String>, command: &Command) -> Self {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        Self { name: name.into(), words: words.map(OsString::from).collect(), code: 0 }
    }

    /// The same where another exit code is what is right.
    pub(crate) fn ending_with(self, code: i32) -> Self {
        Self { code, ..self }
    }

    pub(crate) fn words(&self) -> &[OsString] {
        &self.words
    }

    /// Runs it to its end; what it prints is thrown away.
    pub(crate) fn run(&self) -> Result<Run> {
        let bench = env::current_exe().context("cannot find the running program")?;
        let output = Command::new(bench)
            .arg(WORD)
            .args(&self.words)
            .stdin(Stdio::null())
            .output()
            .context("cannot start the bench again")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cannot measure {}: {said}", self.name);
        let run: Run = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("no measure of {}: {said}", self.name))?;
        ensure!(run.code == Some(self.code), "{} ended with {:?}: {said}", self.name, run.code);
        Ok(run)
    }
}

/// Runs the program that these words name, and prints the [`Run`] as JSON.
pub(crate) fn measure(mut words: impl Iterator<Item = OsString>) -> Result<()> {
    let program = words.next().context("no program to measure")?;
    let mut command = Command::new(&program);
    command.args(words).stdout(Stdio::null());
    let read_before = read_bytes();
    let begun = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let used = child.wait4().with_context(|| format!("cannot wait for {}", program.display()))?;
    let seconds = begun.elapsed().as_secs_f64();
    let run = Run {
        seconds,
        peak_bytes: used.rusage.maxrss,
        read_bytes: read_bytes().zip(read_before).map(|(after, before)| after - before),
        code: used.status.code(),
    };
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

/// What this process and those that it has waited for have read from block devices.
fn read_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("read_bytes: "))?.parse().ok()
}
