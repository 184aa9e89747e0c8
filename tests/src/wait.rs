//! Waiting for a condition with a deadline: the only place that sleeps.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything in the tests may take before it counts as hanging. Far
/// beyond what it takes, since a machine may be busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(10);

/// Looks again and again until `look` has something, and gives it back.
///
/// # Errors
/// When a look fails, or `deadline` passes; then `what` was awaited.
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begun.elapsed() > deadline {
            bail!("waited {} seconds in vain for {what}", deadline.as_secs());
        }
        thread::sleep(PAUSE);
    }
}
