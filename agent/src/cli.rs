//! The command line, as it is typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::lint::{Allowance, Lints};

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
    Bake(Bake),
    Verify(Verify),
    Show(Show),
    Keygen(Keygen),
    Agent(Agent),
}

/// Record a root file system as it was built, in a manifest.
///
/// Walks DIR as the root of an image and writes every entry with its attributes
/// and content digest, the tree root over all of them, and the contract that
/// says what may change. Paths are taken from the image's root.
#[derive(Args)]
pub(crate) struct Bake {
    /// The directory that holds the image's root file system.
    pub(crate) dir: PathBuf,
    /// The image's name.
    #[arg(long)]
    pub(crate) name: String,
    /// The image's version.
    #[arg(long = "version", value_name = "VERSION")]
    pub(crate) image_version: String,
    /// The contract, in TOML: what may change, and which mounts are expected.
    /// Without it, the default contract for Linux hosts is used; with it, the
    /// default is what it adds to.
    #[arg(long, value_name = "FILE")]
    pub(crate) contract: Option<PathBuf>,
    /// Sign with this Ed25519 key in PKCS#8 PEM. Without it the manifest is
    /// unsigned, and verify accepts it only with --insecure-unsigned.
    #[arg(long, value_name = "KEY.pem")]
    pub(crate) key: Option<PathBuf>,
    /// Where to write the manifest. Inside DIR it must be the reserved place,
    /// /etc/congruent/NAME.manifest.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) lint: LintChoice,
}

/// What is baked is multiplied, so bake looks for what had better not be.
///
/// Findings are told on stderr and recorded in the manifest.
#[derive(Args)]
#[command(next_help_heading = "Lint")]
pub(crate) struct LintChoice {
    /// Fail with exit code 1, and write nothing, where this lint finds anything:
    /// private-key, credential, world-writable, setuid, empty-password, device,
    /// writable-path, host-key, machine-id, leftover, or all. May be given
    /// several times.
    #[arg(long, value_name = "LINT")]
    pub(crate) deny: Vec<Lints>,
    /// Expect what this lint finds at these paths, such as
    /// setuid:/usr/bin/sudo: it is neither told nor denied. LINT may be all;
    /// globs are those of contracts. What was allowed is recorded in the
    /// manifest. May be given several times.
    #[arg(long, value_name = "LINT:GLOB")]
    pub(crate) lint_allow: Vec<Allowance>,
    /// Expect what this file says: LINT:GLOB, one a line; # begins a comment.
    /// May be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) lint_allow_file: Vec<PathBuf>,
    /// Do not look.
    #[arg(long, conflicts_with_all = ["deny", "lint_allow", "lint_allow_file"])]
    pub(crate) no_lint: bool,
}

/// Compare a root file system with its manifest, and print every difference.
///
/// Exit codes: 0 congruent, 1 divergent, 2 usage or operational error, 3 nothing
/// found but not everything could be verified.
#[derive(Args)]
pub(crate) struct Verify {
    /// The manifest that was baked.
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: PathBuf,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// The root to look at. Without it, the root as PID 1 sees it.
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// How to print the outcome.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Args)]
pub(crate) struct Trust {
    /// Trust manifests signed by this Ed25519 public key in PEM. May be given
    /// several times; one valid signature is enough.
    #[arg(long, value_name = "PUB.pem")]
    pub(crate) trust: Vec<PathBuf>,
    /// Take the manifest's word without checking who signed it. Whoever can
    /// change the root can then change the manifest as well.
    #[arg(long, conflicts_with = "trust")]
    pub(crate) insecure_unsigned: bool,
}

/// Explain a manifest: what was baked, by whom, and what may change.
///
/// Without --trust the signatures are named but not checked.
#[derive(Args)]
pub(crate) struct Show {
    /// The manifest.
    pub(crate) manifest: PathBuf,
    /// Check that this Ed25519 public key in PEM signed it. May be given
    /// several times.
    #[arg(long, value_name = "PUB.pem")]
    pub(crate) trust: Vec<PathBuf>,
    /// List every entry as well.
    #[arg(long)]
    pub(crate) entries: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Make an Ed25519 key pair to sign manifests with.
///
/// The files are those of `openssl genpkey -algorithm ed25519` and
/// `openssl pkey -pubout`. Existing files are never overwritten.
#[derive(Args)]
pub(crate) struct Keygen {
    /// Where to write the private key; only its owner may read it.
    #[arg(long, short, value_name = "KEY.pem")]
    pub(crate) output: PathBuf,
    /// Where to write the public key. Without it, beside the private key as
    /// KEY.pub.pem.
    #[arg(long, value_name = "PUB.pem")]
    pub(crate) public: Option<PathBuf>,
}

/// Sweep at an interval, and report to the collector.
///
/// Reports are numbered and spooled to disk until the collector has
/// acknowledged them. Without a collector, findings are logged. The environment
/// variable CONGRUENT_LOG says what is logged, such as `debug`.
#[derive(Args)]
pub(crate) struct Agent {
    /// The configuration, in TOML.
    #[arg(long, value_name = "FILE", default_value = "/etc/congruent/agent.toml")]
    pub(crate) config: PathBuf,
    /// Sweep and report once, then exit as verify does; with 2 when the report
    /// was not delivered. It stays spooled, unless the collector refused it for
    /// good.
    #[arg(long)]
    pub(crate) once: bool,
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
    fn the_command_line_holds_together() {
        super::Cli::command().debug_assert();
    }
}
