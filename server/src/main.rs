//! The collector: takes reports, asks policy, plans and orders replacements.
//!
//! `main` only maps an outcome to an exit code: 0, or 2 for what went wrong.

mod apart;
mod api;
mod blobs;
mod cli;
mod client;
mod clock;
mod cmdb;
mod computing;
mod config;
mod count;
mod dispatch;
mod duties;
mod groups;
mod identity;
mod ingest;
mod init;
mod judge;
mod keeping;
mod leader;
mod listener;
mod liveness;
mod manifests;
mod metrics;
mod operators;
mod packed;
mod plan;
mod policy;
mod record;
mod report;
mod retention;
mod scope;
mod selftest;
mod serve;
mod sharing;
mod silence;
mod store;
mod subject;
mod supervisor;
mod telemetry;
#[cfg(test)]
mod testing;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use congruent_protocol::path::escape;

/// What a fleet sends is made by one thread and let go of by another, again and again;
/// the system's allocator is slow at that, and keeps what it was given once.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Messages quote what stands in foreign files. Nothing is left to be
            // told when standard error is closed.
            let message = ingest::chain_of(error.as_ref());
            let _ = writeln!(std::io::stderr(), "error: {}", escape(message.as_bytes()));
            ExitCode::from(2)
        }
    }
}
