//! A node under a collector.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Make this node known to a collector.
///
/// Makes the node's key, which never leaves it, and gets a certificate for it with
/// a join token. From then on `congruent agent` reports with that certificate and
/// renews it. Run again, it says that the node is enrolled, renews a certificate
/// that is due, and completes what was interrupted.
#[derive(Args)]
pub(crate) struct Enroll {
    /// The collector: `https://`, the name or address that it has, and the port.
    #[arg(long, value_name = "URL")]
    pub(crate) server: String,
    /// The fingerprint of the collector's authority, as `congruent-server init`
    /// prints it: sha256: and 64 hexadecimal digits.
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) ca_fingerprint: String,
    /// The file that holds the join token.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,
    /// The node's name. Without it, the one in the configuration, or the host's.
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// The agent's configuration, in TOML, which says where the agent keeps its
    /// state. Without it, /etc/congruent/agent.toml where that is there.
    #[arg(long, value_name = "FILE", conflicts_with = "state_directory")]
    pub(crate) config: Option<PathBuf>,
    /// Where the agent keeps its state, instead.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_directory: Option<PathBuf>,
}

/// Sweep at an interval, and report to the collector.
///
/// Of a node that is enrolled, reports go where it is: signed, sealed, numbered, and
/// spooled to disk until the collector has acknowledged them. Without a collector, and
/// while none answers, findings are logged. SIGHUP has the configuration read again.
/// With `[containers]` in the configuration, the containers of this host are looked at
/// after each sweep, and each is reported on its own.
/// The environment variable CONGRUENT_LOG says what is logged, such as `debug`.
#[derive(Args)]
pub(crate) struct Agent {
    /// The configuration, in TOML.
    #[arg(long, value_name = "FILE", default_value = "/etc/congruent/agent.toml")]
    pub(crate) config: PathBuf,
    /// Sweep and report once, then exit as verify does; with 2 when a report
    /// was not delivered. It stays spooled, unless the collector refused it for
    /// good. A container that differs counts as the node does; one that is incomplete
    /// or has no manifest as incomplete.
    #[arg(long)]
    pub(crate) once: bool,
}

/// Tell what the agent on this node last did.
///
/// The last sweep and its verdict, the containers by their states where they are looked
/// at, reports that wait for the collector, when it answered last, and how long the
/// node's certificate lasts. It reads the state directory, also while the agent runs.
///
/// Exit codes are those of the last look at the node and its containers: 0 congruent, 1
/// divergent, 3 incomplete, or a container is without a manifest; 2 where nothing is
/// known of the node, or the state cannot be read.
#[derive(Args)]
pub(crate) struct Status {
    /// The agent's configuration, in TOML.
    #[arg(long, value_name = "FILE", default_value = "/etc/congruent/agent.toml")]
    pub(crate) config: PathBuf,
    /// How it is told.
    #[arg(long, value_enum, default_value_t = StatusFormat::Text)]
    pub(crate) format: StatusFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Keep the first values of one instance of an image.
#[derive(Subcommand)]
pub(crate) enum LedgerCommand {
    Record(Record),
}

/// Record the first values that a verify saw, each once.
///
/// Run it where the outcomes of verify are kept, not on the node that they are
/// of: a node never makes its own baseline. What is recorded already stays.
#[derive(Args)]
pub(crate) struct Record {
    /// The ledger of the instance; made where it is not there yet.
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: PathBuf,
    /// What `congruent verify --format json` printed.
    #[arg(value_name = "VERIFY.json")]
    pub(crate) outcome: PathBuf,
}
