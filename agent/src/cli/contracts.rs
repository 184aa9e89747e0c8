//! Contracts, before they are baked in.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Format, Signatures};

/// Check a contract, or have rules suggested for one.
#[derive(Subcommand)]
pub(crate) enum ContractCommand {
    Check(ContractCheck),
    Suggest(ContractSuggest),
}

/// Hold a contract beside what was baked, before it is signed.
///
/// Tells how many entries of each MANIFEST fall into which class, which rules
/// match nothing or never decide, what the floor refuses, how much is protected,
/// and which entries the contract's own words contradict. The contract that
/// stands in a MANIFEST is not looked at, nor are its signatures. Rules are
/// numbered from 1, those of the default contract first.
///
/// Exit codes: 0 fine, 1 the floor is loosened or an entry contradicts the
/// contract, 2 usage or operational error.
#[derive(Args)]
pub(crate) struct ContractCheck {
    /// The contract, in TOML.
    pub(crate) contract: PathBuf,
    /// What was baked, of images that the contract is for.
    #[arg(required = true, value_name = "MANIFEST")]
    pub(crate) manifests: Vec<PathBuf>,
    /// A further file of the contract, as when --contract of `congruent bake` is
    /// given again: its rules come later. May be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) with: Vec<PathBuf>,
    /// Take the floor from this trust configuration. Without it, it is /usr,
    /// /boot, /bin, /sbin and /lib*.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust_config: Option<PathBuf>,
    /// List every entry as well, with its class and rule.
    #[arg(long)]
    pub(crate) entries: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Propose the narrowest rules for what several boots of one image changed.
///
/// Reads what `congruent verify --format json` printed in CI, each after another
/// boot of the image, and prints a contract with the evidence for each rule, to
/// be reviewed, given to `congruent bake` as a last --contract, and signed. What no rule should
/// allow is listed apart: what lies under the floor, what runs, is setuid or a
/// device, metadata of what was baked, mounts. It is for pipelines and never runs on a
/// node: a node that could loosen its own contract would learn its own drift.
#[derive(Args)]
pub(crate) struct ContractSuggest {
    /// The manifest that all boots were held to.
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: PathBuf,
    #[command(flatten)]
    pub(crate) signatures: Signatures,
    /// How to print: text is the contract in TOML.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// What `congruent verify --format json` printed, once for each boot.
    #[arg(required = true, value_name = "VERIFY.json")]
    pub(crate) outcomes: Vec<PathBuf>,
}
