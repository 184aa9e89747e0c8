//! The subcommands, one file each.

mod agent;
mod bake;
mod keygen;
mod show;
mod verify;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use congruent_protocol::key::PublicKey;
use congruent_protocol::verification::State;

use crate::cli::Command;
use crate::regular;

/// What a command came to, where it was not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done, or nothing found.
    Clean,
    /// It would not be done: what stands in its way was told.
    Denied,
    /// A look came to this state.
    Looked(State),
    /// Done, but the report is still here; the log says why.
    Undelivered,
}

impl Outcome {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Clean | Self::Looked(State::Congruent) => 0,
            Self::Denied | Self::Looked(State::Divergent) => 1,
            Self::Undelivered | Self::Looked(State::Unknown) => 2,
            Self::Looked(State::Incomplete | State::Silent) => 3,
        }
    }
}

pub(crate) fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Bake(args) => bake::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Agent(args) => agent::run(&args),
    }
}

/// Opens a manifest. Its one descriptor serves the check and the comparison.
fn open_manifest(path: &Path) -> anyhow::Result<File> {
    regular::open(path).with_context(|| format!("cannot open the manifest {}", path.display()))
}

/// Reads the keys to trust.
fn read_trusted(paths: &[PathBuf]) -> anyhow::Result<Vec<PublicKey>> {
    paths
        .iter()
        .map(|path| {
            let pem = fs::read_to_string(path)
                .with_context(|| format!("cannot read the public key {}", path.display()))?;
            PublicKey::from_pem(&pem).with_context(|| format!("cannot use {}", path.display()))
        })
        .collect()
}
