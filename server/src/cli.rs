//! The command line: raw flags, turned once into what the commands take.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use crate::blobs::BlobSettings;
use crate::config::Config;
use crate::count::counted;
use crate::identity::AuthorityFiles;
use crate::policy::Policy;
use crate::report::{Edge, Period};
use crate::serve::{self, Collector, StopSignals};
use crate::store::{self, GroupRow, StoreError};
use crate::telemetry::{self, LogFormat};
use crate::{api, client, clock, groups, init, keeping, report, selftest, supervisor};

/// Collects the reports of a fleet, asks policy what is to happen, and orders
/// replacements.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(InitArgs),
    Serve(ServeArgs),
    Report(ReportArgs),
    CheckConfig(CheckConfigArgs),
    Selftest(SelftestArgs),
    Openapi(OpenapiArgs),
    Backup(keeping::BackupArgs),
    Restore(keeping::RestoreArgs),
    Store(keeping::StoreArgs),
    Operator(client::OperatorArgs),
    Audit(client::AuditArgs),
    Manifest(client::ManifestArgs),
    Group(client::GroupArgs),
    Token(client::TokenArgs),
    Node(client::NodeArgs),
    Container(client::ContainerArgs),
    Action(client::ActionArgs),
    Decision(client::DecisionArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Makes a new installation: a certificate authority, an operator's token and a
/// configuration that runs. Your own authority serves as well: it stays where it is.
///
/// Nothing is overwritten. What nodes need to know the collector by, the
/// authority's fingerprint, is printed last.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The directory to make it in; made where it is not there.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// A name or address by which nodes and operators reach the collector. May be
    /// given several times; the first is where nodes report.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Vec<String>,
    /// The certificate of your own authority, in PEM.
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    pub(crate) ca_certificate: Option<PathBuf>,
    /// Its key, in PKCS#8 PEM.
    #[arg(long, value_name = "FILE", requires = "ca_certificate")]
    pub(crate) ca_key: Option<PathBuf>,
}

/// Runs the collector.
///
/// The first line on standard output is `listening on https://ADDRESS`, as soon as
/// requests are accepted; where nodes can enrol, the second says where they
/// report. Logs go to standard error; the environment variable
/// CONGRUENT_LOG says what is logged, such as `debug`.
///
/// SIGTERM and SIGINT stop it: it is not ready any more, answers what is under way, and
/// ends within 25 seconds; a second of them ends it at once. systemd is told when it is
/// ready, and its watchdog is fed by writes to the store.
#[derive(Debug, Args)]
struct ServeArgs {
    /// The collector's configuration, in TOML.
    #[arg(long, value_name = "FILE", env = "CONGRUENT_CONFIG", value_hint = ValueHint::FilePath)]
    config: PathBuf,
    /// How log lines are written.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// Writes the auditor's report about a period.
///
/// It has scope and coverage, every node and every container with its state, findings with
/// what was baked and what was there, decisions, actions, refusals, what operators changed,
/// and what bears on each control. It reads the database alone, also while the collector runs. Times are
/// RFC 3339; dates are whole days in UTC, the last one included.
#[derive(Debug, Args)]
struct ReportArgs {
    /// The collector's configuration, which names the database.
    #[arg(long, value_name = "FILE", env = "CONGRUENT_CONFIG", value_hint = ValueHint::FilePath)]
    config: PathBuf,
    /// How the report is written.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = ReportFormat::Json)]
    format: ReportFormat,
    /// When the period begins.
    #[arg(long, value_name = "TIME")]
    from: Edge,
    /// When the period ends.
    #[arg(long, value_name = "TIME")]
    to: Edge,
    /// Where the report is written, instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// One JSON document.
    Json,
}

/// Checks a configuration, with every secret, key, manifest and policy that it
/// names, sees that imported manifests can be read and others written, and says what
/// it comes to.
#[derive(Debug, Args)]
struct CheckConfigArgs {
    /// The collector's configuration, in TOML.
    #[arg(long, value_name = "FILE", env = "CONGRUENT_CONFIG", value_hint = ValueHint::FilePath)]
    config: PathBuf,
}

/// Says how many nodes this machine and its disk will carry.
///
/// A small simulated fleet reports for some seconds to a collector that is started for
/// the purpose, on the loopback, with a database of its own: in a folder beside yours,
/// or in a schema of its own on your PostgreSQL; either is removed afterwards. Yours is never opened, and a collector that uses it may
/// run meanwhile, though it takes its share of the machine.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["config", "database"]))]
#[command(after_help = "\
Examples:
  congruent-server selftest --config server.toml
  congruent-server selftest --database /var/lib/congruent/congruent.db --seconds 30")]
struct SelftestArgs {
    /// The collector's configuration, which says where the database is and how often
    /// nodes report.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where a database is or would be; nodes then send a heartbeat every minute and
    /// are looked at whole every hour.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// How many seconds each kind of message is measured.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How the outcome is written.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = SelftestFormat::Text)]
    format: SelftestFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SelftestFormat {
    /// A sentence, and what it is drawn from.
    Text,
    /// One JSON document.
    Json,
}

/// Writes what has a shell complete commands, flags and their values.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  congruent-server completions bash > /etc/bash_completion.d/congruent-server
  congruent-server completions fish > ~/.config/fish/completions/congruent-server.fish")]
struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Writes the manual: a page for each command.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  congruent-server man /usr/local/share/man/man1")]
struct ManArgs {
    /// The folder that the pages are written to; it must be there.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: PathBuf,
}

/// Prints the description of the API, in OpenAPI 3.1, of which clients are made.
///
/// It needs no configuration. A running collector serves the same, without a token:
/// `GET /v1/openapi.json` and `GET /v1/openapi-agents.json`.
#[derive(Debug, Args)]
struct OpenapiArgs {
    /// Which port is described.
    #[arg(long, value_name = "PORT", value_enum, default_value_t = ApiPort::Operators)]
    api: ApiPort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ApiPort {
    /// That of operators, where nodes enrol as well.
    Operators,
    /// That of enrolled nodes.
    Agents,
}

/// Runs the command that was asked for.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Init(args) => run_init(&args),
        Command::Serve(args) => run_serve(&args),
        Command::Report(args) => run_report(&args),
        Command::CheckConfig(args) => run_check_config(&args),
        Command::Selftest(args) => run_selftest(&args),
        Command::Openapi(args) => run_openapi(&args),
        Command::Backup(args) => keeping::backup(&args),
        Command::Restore(args) => keeping::restore(&args),
        Command::Store(args) => keeping::store(&args),
        Command::Operator(args) => client::operator(&args),
        Command::Audit(args) => client::audit(&args),
        Command::Manifest(args) => client::manifest(&args),
        Command::Group(args) => client::group(&args),
        Command::Token(args) => client::token(&args),
        Command::Node(args) => client::node(&args),
        Command::Container(args) => client::container(&args),
        Command::Action(args) => client::action(&args),
        Command::Decision(args) => client::decision(&args),
        Command::Completions(args) => run_completions(&args),
        Command::Man(args) => run_man(&args),
    }
}

fn run_init(args: &InitArgs) -> anyhow::Result<()> {
    let absolute = |path: &PathBuf| std::path::absolute(path).context("there is no working directory");
    let own = match (&args.ca_certificate, &args.ca_key) {
        (Some(certificate), Some(key)) => {
            Some(AuthorityFiles { certificate: absolute(certificate)?, key: absolute(key)?, is_given: true })
        }
        _ => None,
    };
    let made = init::make(&args.dir, &args.name, own, clock::system()())?;
    say(&made.next_steps())
}

fn run_serve(args: &ServeArgs) -> anyhow::Result<()> {
    telemetry::start(args.log_format);
    serve::install_crypto();
    let config = Config::load(&args.config)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let signals = StopSignals::take()?;
        let collector = Collector::start(config, clock::system()).await?;
        say(&format!("listening on {}", collector.url()))?;
        if let Some(url) = collector.agents_url() {
            say(&format!("enrolled nodes on {url}"))?;
        }
        supervisor::ready(collector.url());
        let (store, url) = (collector.store().clone(), collector.url().to_owned());
        tokio::spawn(supervisor::feed_watchdog(store, clock::system(), url));
        collector.run(signals).await?;
        Ok(())
    });
    // Whatever still works on something that was not waited for is left to it.
    runtime.shutdown_background();
    ended
}

fn run_report(args: &ReportArgs) -> anyhow::Result<()> {
    let ReportFormat::Json = args.format;
    let period = Period::between(args.from, args.to)?;
    let database = Config::database_of(&args.config)?;
    report::write(&database, period, clock::system()(), args.output.as_deref())?;
    Ok(())
}

fn run_check_config(args: &CheckConfigArgs) -> anyhow::Result<()> {
    serve::install_crypto();
    let config = Arc::new(Config::load(&args.config)?);
    let policy: Policy = serve::load_policy(&config)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(check_groups(&config))?;
    serve::check_authority(&config, clock::system()())?;
    say(&format!(
        "the configuration is valid: {}, {}, policy {}",
        counted(config.groups.all().len() as u64, "group", "groups"),
        counted(config.webhooks.len() as u64, "webhook", "webhooks"),
        policy.digest()
    ))
}

fn run_selftest(args: &SelftestArgs) -> anyhow::Result<()> {
    let length = Duration::from_secs(args.seconds);
    let plan = match (&args.config, &args.database) {
        (Some(config), _) => selftest::Plan::of(&Config::load(config)?, length),
        (None, Some(database)) => selftest::Plan::beside(database, length),
        (None, None) => anyhow::bail!("give --config or --database"),
    };
    telemetry::start_quiet();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let verdict = runtime.block_on(async {
        let mut stop = StopSignals::take()?;
        tokio::select! {
            verdict = selftest::run(&plan) => Ok(verdict?),
            // What was made is removed as well.
            () = stop.next() => anyhow::bail!("stopped before it came to an end"),
        }
    })?;
    match args.format {
        SelftestFormat::Text => say(verdict.to_string().trim_end()),
        SelftestFormat::Json => say(&serde_json::to_string_pretty(&verdict)?),
    }
}

fn run_completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "congruent-server", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())
}

fn run_man(args: &ManArgs) -> anyhow::Result<()> {
    clap_mangen::generate_to(Cli::command(), &args.dir)
        .with_context(|| format!("cannot write the manual to {}", args.dir.display()))
}

/// Holds the groups of the store to their manifests, and sees that others can be
/// imported. A directory that is not there yet is made when the collector starts.
async fn check_groups(config: &Arc<Config>) -> anyhow::Result<()> {
    let rows = stored_groups(config)?;
    let is_to_be_made = matches!(&config.blobs, BlobSettings::Directory(folder) if !folder.exists());
    if !is_to_be_made || !rows.is_empty() {
        groups::load(&rows, config, &serve::open_blobs(config).await?).await?;
    }
    Ok(())
}

fn run_openapi(args: &OpenapiArgs) -> anyhow::Result<()> {
    say(match args.api {
        ApiPort::Operators => api::operators_json(),
        ApiPort::Agents => api::agents_json(),
    })
}

/// The groups in the store, as far as there is one yet.
fn stored_groups(config: &Config) -> Result<Vec<GroupRow>, StoreError> {
    if config.database.file().is_some_and(|file| !file.exists()) {
        return Ok(Vec::new());
    }
    match store::read_only(&config.database, "read the groups", groups::stored) {
        // It is brought up to date when the collector starts, and has none.
        Err(StoreError::Older { .. }) => Ok(Vec::new()),
        read => read,
    }
}

/// Says a line to whoever waits for it, at once.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        said => said.context("cannot write to standard output"),
    }
}
