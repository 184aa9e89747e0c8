//! The empty handler, running.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use congruent_tests::binaries;
use congruent_tests::program::end;
use congruent_tests::simulated::{Simulated, on};

/// Ended when dropped.
pub(super) struct EmptyHandler {
    child: Child,
    url: String,
}

impl EmptyHandler {
    /// Starts it on a processor, with the authority of a fleet's collector.
    pub(super) fn start(fleet: &Simulated, processor: usize) -> Result<Self> {
        let mut command = Command::new(binaries::path("empty-handler")?);
        let authority = fleet.collector.authority();
        command.arg(authority).arg(authority.with_extension("key"));
        let mut command = on(Some(processor), command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut this = Self { child: child.context("cannot start the empty handler")?, url: String::new() };
        let stdout = this.child.stdout.take().context("it says nothing")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("it says nothing")?;
        let address = line.trim().strip_prefix("listening on ").context("it does not listen")?;
        this.url = format!("https://{address}");
        Ok(this)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn process_id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for EmptyHandler {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
