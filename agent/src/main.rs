//! `congruent`: bakes manifests, verifies root file systems against them, and
//! runs as the agent that reports to a collector.
//!
//! Exit codes: 0 clean, 1 drift found, 2 usage or operational error, 3 nothing
//! found but incomplete.

use std::process::ExitCode;

/// A sweep makes in one thread what it lets go of in another, which is where the
/// system's allocator is slow.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    congruent_agent::run()
}
