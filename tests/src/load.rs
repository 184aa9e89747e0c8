//! A simulated fleet that runs beside a test, and what it came to.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use congruent_fleet::Outcome;

use crate::program;
use crate::wait::wait_for;

/// How long a fleet may take to deliver what waits: it leaves a collector that is away
/// alone for longer each time.
const PATIENCE: Duration = Duration::from_mins(3);

/// A simulator, killed when it is dropped.
pub struct Load {
    child: Child,
}

impl Load {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self { child: command.spawn().context("cannot start fleet-simulator")? })
    }

    /// Whether it has come to its end.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits until every node has taken its turns and delivered what it made.
    ///
    /// # Errors
    /// When the run fails.
    pub fn end(mut self) -> Result<Outcome> {
        // What it prints fits into a pipe.
        wait_for("the fleet to come to its end", PATIENCE, || Ok(self.has_ended()?.then_some(())))?;
        let (mut said, mut told) = (String::new(), Vec::new());
        if let (Some(mut out), Some(mut err)) = (self.child.stdout.take(), self.child.stderr.take()) {
            std::io::Read::read_to_end(&mut out, &mut told)?;
            std::io::Read::read_to_string(&mut err, &mut said)?;
        }
        ensure!(self.child.wait()?.success(), "fleet-simulator failed: {said}");
        serde_json::from_slice(&told).context("the outcome is not JSON")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        program::end(&mut self.child);
    }
}
