//! What the disk does by itself: how long it takes until a write is durable.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::SelftestError;

/// What is written each time, as much as a page of the database.
const PAGE: [u8; 4096] = [0x5a; 4096];
/// How many writes are enough, and how few will do.
const MOST: usize = 1000;
const FEWEST: usize = 10;

/// How long `fsync` takes, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Fsync {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// Writes a page and syncs it, again and again for at most so long.
pub(super) fn fsync_latency(folder: &Path, length: Duration) -> Result<Fsync, SelftestError> {
    let path = folder.join("fsync");
    let failed = |source| SelftestError::Write { path: path.clone(), source };
    let mut file = File::create_new(&path).map_err(failed)?;
    let (begun, mut took) = (Instant::now(), Vec::new());
    while took.len() < FEWEST || (took.len() < MOST && begun.elapsed() < length) {
        let before = Instant::now();
        file.write_all(&PAGE).and_then(|()| file.sync_data()).map_err(failed)?;
        took.push(before.elapsed().as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize];
    Ok(Fsync { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) })
}
