//! The operators' side of the command line: asks a running collector, and
//! changes it, through its API. It knows nothing of the store.

mod actions;
mod audit;
mod connection;
mod containers;
mod decisions;
mod expiry;
mod given_once;
mod groups;
mod manifests;
mod node_list;
mod node_text;
mod nodes;
mod operators;
mod output;
mod pages;
mod tokens;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum, ValueHint};

pub(crate) use actions::{ActionArgs, run as action};
pub(crate) use audit::{AuditArgs, run as audit};
pub(crate) use containers::{ContainerArgs, run as container};
pub(crate) use decisions::{DecisionArgs, run as decision};
pub(crate) use groups::{GroupArgs, run as group};
pub(crate) use manifests::{ManifestArgs, run as manifest};
pub(crate) use nodes::{NodeArgs, run as node};
pub(crate) use operators::{OperatorArgs, run as operator};
pub(crate) use tokens::{TokenArgs, run as token};

use connection::Connection;

/// Which collector is asked, and as whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Collector")]
pub(crate) struct ConnectionArgs {
    /// The collector's address, such as `https://collector.example:8440`; with
    /// `http://` only on loopback. By default what --config says.
    #[arg(long, global = true, value_name = "URL", env = "CONGRUENT_SERVER")]
    server: Option<String>,
    /// The file with the operator's token. By default what --config says.
    #[arg(long, global = true, value_name = "FILE", env = "CONGRUENT_TOKEN_FILE", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,
    /// The certificates of the authority that the collector's is from, in PEM; no
    /// other is trusted then.
    #[arg(long, global = true, value_name = "FILE", env = "CONGRUENT_CA", value_hint = ValueHint::FilePath)]
    ca: Option<PathBuf>,
    /// The collector's own configuration, for whoever works on its machine.
    #[arg(long, global = true, value_name = "FILE", env = "CONGRUENT_CONFIG", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// How the answer is written.
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Why something is changed: it stands in the audit.
#[derive(Debug, Args)]
struct ReasonArgs {
    /// Why; it stands in the audit.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for people.
    Text,
    /// The API's answer.
    Json,
}

/// Runs `work` with a connection, to its end.
fn with_connection<F: Future<Output = anyhow::Result<()>>>(
    args: &ConnectionArgs,
    work: impl FnOnce(Connection) -> F,
) -> anyhow::Result<()> {
    crate::serve::install_crypto();
    let connection = Connection::open(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(work(connection))
}
