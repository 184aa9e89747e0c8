//! What the binary `congruent` is made of: baking, verifying, reporting.
//!
//! A library so that fuzz targets can reach the parsers of foreign bytes; what
//! is public is public for them and for `main`, and promised to nobody else.

mod atomic;
mod beneath;
mod cli;
mod client;
mod command;
mod config;
pub mod container;
mod contract_check;
mod deliver;
mod diff;
mod enrolment;
mod explanation;
mod facts;
mod fetched;
mod findings;
mod identity;
pub mod image;
mod images;
pub mod layer;
pub mod lint;
pub mod mountinfo;
pub mod mtree;
mod output;
pub mod packages;
mod progress;
mod regular;
mod report_log;
mod reportable;
mod retry;
mod spool;
mod status;
mod suggestion;
mod sweep;
mod target;
mod trust;
mod weight;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use congruent_protocol::path::escape;

/// What a reader of an error can still take in.
const MAX_MESSAGE_CHARS: usize = 4_000;

/// Runs the command line that this process was started with.
pub fn run() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are no error.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match command::run(cli.command) {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Messages quote what stands in foreign files.
            let message: String = format!("{error:#}").chars().take(MAX_MESSAGE_CHARS).collect();
            let _ = writeln!(io::stderr(), "congruent: {}", escape(message.as_bytes()));
            ExitCode::from(2)
        }
    }
}

/// Whoever reads our output may stop when they have seen enough.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
