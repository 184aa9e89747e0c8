//! The command line, as it is typed.

mod bake;
mod containers;
mod contracts;
mod images;
mod keys;
mod node;
mod verify;

use std::num::NonZeroU64;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::sweep::MAX_THREADS;

pub(crate) use self::bake::{Bake, LintChoice, OriginArgs};
pub(crate) use self::containers::{Containers, ContainersCommand, ContainersVerify, WhichContainers};
pub(crate) use self::contracts::{ContractCheck, ContractCommand, ContractSuggest};
pub(crate) use self::images::{Attach, Fetch, ImageArgs};
pub(crate) use self::keys::{Keygen, Sign, Signatures, Trust};
pub(crate) use self::node::{Agent, Enroll, LedgerCommand, Record, Status, StatusFormat};
pub(crate) use self::verify::{Diff, DiffFormat, Explain, PageFormat, Show, Verify, VerifyFormat};

/// Proves that what runs is still exactly what was baked.
///
/// Bake a manifest when an image is built, and verify against it wherever the
/// image runs. Nothing is ever written to what is looked at.
#[derive(Parser)]
#[command(name = "congruent", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Bake(Box<Bake>),
    Verify(Verify),
    Show(Show),
    Explain(Explain),
    #[command(subcommand)]
    Contract(ContractCommand),
    Diff(Diff),
    Keygen(Keygen),
    Sign(Sign),
    Attach(Attach),
    Fetch(Fetch),
    #[command(subcommand)]
    Ledger(LedgerCommand),
    Enroll(Enroll),
    Agent(Agent),
    Status(Status),
    Containers(Containers),
}

/// How much of the machine a sweep may take.
#[derive(Args)]
#[command(next_help_heading = "Pace")]
pub(crate) struct Pace {
    /// How many files are read at once: 1 to 16. Without it, as many as this
    /// process has processors, also by its cgroup's quota, and a container's writable
    /// layer is read beside its lower ones.
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    pub(crate) threads: Option<usize>,
    /// Read no more than this in a second, such as 50M or 200KiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_rate)]
    pub(crate) max_bytes_per_second: Option<NonZeroU64>,
    /// Let everything else on the machine go first: idle I/O class and nice 19.
    #[arg(long)]
    pub(crate) idle: bool,
}

fn parse_threads(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|threads| (1..=MAX_THREADS).contains(threads))
        .ok_or_else(|| format!("give a whole number from 1 to {MAX_THREADS}"))
}

/// A number of bytes, as in 1500, 50M or 200KiB; not none.
pub(crate) fn parse_rate(text: &str) -> Result<NonZeroU64, String> {
    let size: Result<bytesize::ByteSize, _> = text.parse();
    size.ok().and_then(|size| NonZeroU64::new(size.as_u64())).ok_or_else(|| {
        "give a number of bytes over none, such as 1500, 50M (of 1000) or 200KiB (of 1024)".to_owned()
    })
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document with `schema_version`.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn rates_are_read() {
        let check = |text, expected: Option<u64>| {
            assert_eq!(super::parse_rate(text).ok().map(std::num::NonZero::get), expected, "{text}");
        };
        check("1500", Some(1500));
        check("50M", Some(50_000_000));
        check("200KiB", Some(204_800));
        for wrong in ["", "0", "-1", "fast", "1 elephant", "0.0001K"] {
            check(wrong, None);
        }
    }

    #[test]
    fn the_command_line_holds_together() {
        super::Cli::command().debug_assert();
    }
}
