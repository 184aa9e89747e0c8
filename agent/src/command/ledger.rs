//! `congruent ledger record`: keep first values, from the outcome of a verify.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::Context;
use congruent_protocol::ledger::Ledger;
use congruent_protocol::verification::Verification;
use jiff::Timestamp;

use super::Outcome;
use crate::atomic;
use crate::cli::{LedgerCommand, Record};
use crate::output::counted;
use crate::regular;
use crate::target::read_ledger;

pub(super) fn run(command: &LedgerCommand) -> anyhow::Result<Outcome> {
    match command {
        LedgerCommand::Record(args) => record(args),
    }
}

fn record(args: &Record) -> anyhow::Result<Outcome> {
    atomic::check_output("--ledger", &args.ledger)?;
    let verification = read_verification(&args.outcome)?;
    let _lock = atomic::lock(&args.ledger)?;
    let unusable = || format!("cannot use the ledger {}", args.ledger.display());
    let mut ledger = match fs::symlink_metadata(&args.ledger) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ledger::empty(verification.baked_root),
        _ => read_ledger(&args.ledger).with_context(unusable)?,
    };
    ledger.check_root(verification.baked_root).with_context(unusable)?;
    let recorded = ledger
        .record(&verification.coverage.first_seen, Timestamp::now())
        .with_context(|| format!("cannot use {}", args.outcome.display()))?;
    atomic::write(&args.ledger, |out| Ok(out.write_all(&ledger.to_json())?))?;
    let known = verification.coverage.first_seen.len() - recorded;
    writeln!(
        io::stderr(),
        "recorded {} in {}; {known} were known",
        counted(recorded as u64, "first value", "first values"),
        args.ledger.display()
    )?;
    Ok(Outcome::Clean)
}

/// The largest outcome taken, in bytes: some two million findings.
const MAX_OUTCOME_BYTES: u64 = 1 << 30;

/// Reads what `congruent verify --format json` printed.
pub(in crate::command) fn read_verification(path: &Path) -> anyhow::Result<Verification> {
    let shown = path.display();
    let json = regular::read(path, MAX_OUTCOME_BYTES).with_context(|| format!("cannot read {shown}"))?;
    serde_json::from_slice(&json)
        .with_context(|| format!("{shown} is not an outcome of `congruent verify --format json`"))
}
