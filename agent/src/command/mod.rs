//! The subcommands, one file each.

mod agent;
mod attach;
mod bake;
mod containers;
mod contract;
mod diff;
mod enroll;
mod explain;
mod fetch;
mod keygen;
mod ledger;
mod look;
mod show;
mod show_mtree;
mod sign;
mod status;
mod unwatched;
mod verify;
mod verify_mtree;

use std::fs::File;
use std::path::Path;

use anyhow::{Context, bail};
use congruent_protocol::key::SecretKey;
use congruent_protocol::manifest::Manifest;
use congruent_protocol::trust::Trust;
use congruent_protocol::verification::State;
use jiff::Timestamp;

use crate::cli::{self, Command};
use crate::sweep::{self, Means};
use crate::{regular, trust};

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
    /// Told, but there was more that could not be found.
    Partial,
}

impl Outcome {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Clean | Self::Looked(State::Congruent) => 0,
            Self::Denied | Self::Looked(State::Divergent) => 1,
            Self::Undelivered | Self::Looked(State::Unknown) => 2,
            Self::Partial | Self::Looked(State::Incomplete | State::Silent) => 3,
        }
    }
}

pub(crate) fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Bake(args) => bake::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::Attach(args) => attach::run(&args),
        Command::Fetch(args) => fetch::run(&args),
        Command::Contract(command) => contract::run(&command),
        Command::Explain(args) => explain::run(&args),
        Command::Ledger(command) => ledger::run(&command),
        Command::Enroll(args) => enroll::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Containers(args) => containers::run(&args),
    }
}

/// Whom to trust, as the command line says; none where it says that whoever
/// wrote the manifest is believed.
fn read_trust(args: &cli::Trust) -> anyhow::Result<Option<Trust>> {
    match (&args.trust_config, &args.trust[..]) {
        _ if args.insecure_unsigned => Ok(None),
        (Some(path), _) => Ok(Some(trust::of_file(path)?)),
        (None, []) => bail!(
            "no trusted key was given: name the signer's public key with --trust PUB.pem, who must sign what with \
             --trust-config FILE, or take an unsigned manifest's word with --insecure-unsigned"
        ),
        (None, keys) => Ok(Some(trust::of_keys(keys)?)),
    }
}

/// Opens a manifest that is only read: without trust, whoever wrote it is
/// believed, and its time may be over.
fn open_to_read(path: &Path, trust: Option<&Trust>) -> anyhow::Result<(Manifest, File)> {
    let shown = path.display();
    let mut file = regular::open(path).with_context(|| format!("cannot open the manifest {shown}"))?;
    let manifest = match trust {
        Some(trust) => Manifest::verify(&mut file, trust, Timestamp::now()),
        None => Manifest::read_unchecked(&mut file),
    };
    Ok((manifest.with_context(|| format!("cannot use the manifest {shown}"))?, file))
}

/// Whom to trust where nobody need be.
fn read_signatures(args: &cli::Signatures) -> anyhow::Result<Option<Trust>> {
    read_trust(&cli::Trust {
        trust: args.trust.clone(),
        trust_config: args.trust_config.clone(),
        insecure_unsigned: args.trust.is_empty() && args.trust_config.is_none(),
    })
}

/// The means that a sweep is to be made with; takes the pace that was asked for.
fn means(pace: &cli::Pace, direct: bool) -> anyhow::Result<Means> {
    if pace.idle {
        sweep::stand_back()
            .context("cannot stand back as --idle asks; leave it out, or ask whoever forbids it")?;
    }
    Ok(Means::new(pace.threads, pace.max_bytes_per_second, direct))
}

fn read_secret_key(path: &Path) -> anyhow::Result<SecretKey> {
    let pem = regular::read_text(path).with_context(|| format!("cannot read the key {}", path.display()))?;
    SecretKey::from_pem(&pem).with_context(|| format!("cannot use {}", path.display()))
}
