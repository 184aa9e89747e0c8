//! `congruent`: bakes manifests, verifies root file systems against them, and
//! runs as the agent that reports to a collector.
//!
//! This file only maps an outcome to an exit code: 0 clean, 1 drift found,
//! 2 usage or operational error, 3 nothing found but incomplete.

mod cli;
mod client;
mod command;
mod config;
mod facts;
mod output;
mod progress;
mod regular;
mod report_log;
mod spool;
mod sweep;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use congruent_protocol::path::escape;

fn main() -> ExitCode {
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
            let _ = writeln!(io::stderr(), "congruent: {}", escape(format!("{error:#}").as_bytes()));
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
