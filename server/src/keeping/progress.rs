//! How far it is, on a terminal; elsewhere nothing is said.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::store::Progress;

const BETWEEN: Duration = Duration::from_millis(100);

/// Says how far it is.
pub(super) struct Meter {
    is_seen: bool,
    last: Option<Instant>,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { is_seen: std::io::stderr().is_terminal(), last: None }
    }

    pub(super) fn tell(&mut self, progress: Progress) {
        if !self.is_seen || self.last.is_some_and(|last| last.elapsed() < BETWEEN) {
            return;
        }
        self.last = Some(Instant::now());
        let Progress { doing, table, rows } = progress;
        // Nobody is there to be told where this fails.
        let _ = write!(std::io::stderr(), "\r\x1b[K{doing} {table}: {rows}");
    }

    /// Clears the line.
    pub(super) fn done(&mut self) {
        if self.last.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.done();
    }
}
