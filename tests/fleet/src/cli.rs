//! The command line: raw flags, turned once into what the library takes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use congruent_fleet::{
    Baking, Fleet, Http, Length, Outcome, Pace, Process, Release, Run, Scenario, Watch, Way, join_token,
    raise_limit,
};
use congruent_protocol::key::SecretKey;
use jiff::{SignedDuration, Timestamp};

/// How long a run takes unless said otherwise.
const DEFAULT_LENGTH: Duration = Duration::from_secs(30);
/// How often an operator asks.
const OPERATOR_ASKS_EVERY: Duration = Duration::from_millis(200);

/// Simulates a fleet of nodes that report to a collector.
///
/// Each node has a key, a certificate and a chain of its own, and speaks the agents'
/// protocol over mutual TLS 1.3. Make a manifest first (`manifest`), put what it
/// prints into the collector's configuration, and give `run` the operator's token.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Manifest(ManifestArgs),
    Enroll(EnrollArgs),
    Run(RunArgs),
}

/// Bakes made-up releases and signs them; writes manifests, the public key, and the
/// group for the collector's configuration, which is printed as well.
#[derive(Debug, Args)]
struct ManifestArgs {
    /// The folder to write to; made where it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How many releases: `rolling-out` needs two.
    #[arg(long, value_name = "N", default_value_t = 2)]
    releases: usize,
    /// How many files each has. Work for the collector grows with it where drift is
    /// reported.
    #[arg(long, value_name = "N", default_value_t = 64)]
    files: usize,
    /// The private key to sign with, in PEM. Without it, one is made and thrown away.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The image's name.
    #[arg(long, value_name = "NAME", default_value = "fleet")]
    name: String,
    /// The group's name.
    #[arg(long, value_name = "NAME", default_value = "fleet")]
    group: String,
}

/// Which collector, and which nodes.
#[derive(Debug, Args)]
struct FleetArgs {
    /// Where the collector listens for operators and enrolment, such as
    /// `https://127.0.0.1:8440`.
    #[arg(long, value_name = "URL")]
    server: String,
    /// The certificate of the collector's authority, in PEM.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// A file with a join token that may be used again, for nodes that are still to
    /// enrol. With `--operator-token-file`, one is made.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file with an operator's token, to make a join token with.
    #[arg(long, value_name = "FILE")]
    operator_token_file: Option<PathBuf>,
    /// The group that nodes join by such a token.
    #[arg(long, value_name = "NAME", default_value = "fleet")]
    group: String,
    /// How many nodes are to be enrolled.
    #[arg(long, value_name = "N", default_value_t = 100)]
    nodes: usize,
    /// A file that keeps the nodes' keys and certificates from one run to the next.
    #[arg(long, value_name = "FILE")]
    enrolments: Option<PathBuf>,
    /// What names of nodes begin with.
    #[arg(long, value_name = "NAME", default_value = "sim")]
    prefix: String,
    /// Which HTTP nodes speak: agents speak 2.
    #[arg(long, value_name = "VERSION", value_enum, default_value_t = HttpVersion::Two)]
    http: HttpVersion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HttpVersion {
    #[value(name = "1")]
    One,
    #[value(name = "2")]
    Two,
}

/// Enrols nodes and does nothing else.
#[derive(Debug, Args)]
struct EnrollArgs {
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Lets a fleet do what a scenario says, and prints what it came to: healthy,
/// drifting, flapping, rolling-out, cloned, herd or bad-release.
#[derive(Debug, Args)]
struct RunArgs {
    /// What the fleet does.
    scenario: Scenario,
    #[command(flatten)]
    fleet: FleetArgs,
    /// The manifests that nodes run, first the one that they begin with.
    #[arg(long, value_name = "FILE", required = true)]
    manifest: Vec<PathBuf>,
    /// How many nodes connect and take turns; all unless said otherwise.
    #[arg(long, value_name = "N")]
    connections: Option<usize>,
    /// Messages in each second of all nodes together. Without it, each node sends the
    /// next as soon as the one before is answered.
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// How long, such as `30s`.
    #[arg(long, value_name = "TIME", conflicts_with = "turns")]
    duration: Option<SignedDuration>,
    /// How many turns each node takes.
    #[arg(long, value_name = "N")]
    turns: Option<u64>,
    /// How many findings a drifted sweep has.
    #[arg(long, value_name = "N", default_value_t = 10)]
    findings: usize,
    /// In `healthy`, one turn in so many is a sweep and the others are heartbeats; 0 for
    /// heartbeats alone.
    #[arg(long, value_name = "N", default_value_t = 60)]
    sweep_every: u64,
    /// The collector's process id, to see what it uses.
    #[arg(long, value_name = "PID")]
    collector_pid: Option<u32>,
    /// The collector's database, to see how it grows.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// What the operator of `--operator-token-file` asks for all the time, such as
    /// `/v1/nodes?limit=100`; the outcome tells how long answers took.
    #[arg(long, value_name = "PATH", requires = "operator_token_file")]
    operator_asks: Option<String>,
    /// How the outcome is printed.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Runs the command that was asked for.
pub(crate) fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Manifest(args) => make_manifests(&args),
        Command::Enroll(args) => runtime()?.block_on(async { args.fleet.fleet(Vec::new()).await.map(drop) }),
        Command::Run(args) => runtime()?.block_on(args.run()),
    }
}

/// As many threads as there are processors that it may run on.
fn runtime() -> Result<tokio::runtime::Runtime> {
    raise_limit();
    tokio::runtime::Runtime::new().context("cannot start the runtime")
}

fn make_manifests(args: &ManifestArgs) -> Result<()> {
    ensure!(args.releases > 0, "no releases; give --releases a number from 1");
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let (key, now) = (signing_key(args.key.as_deref())?, Timestamp::now());
    let mut names = Vec::new();
    for release in 1..=args.releases {
        let version = format!("{release}.0");
        let baking = Baking { name: args.name.clone(), version: version.clone(), files: args.files };
        let name = format!("{}-{version}.manifest", args.name);
        write_new(&args.out.join(&name), &baking.bake(&key, now)?)?;
        names.push(name);
    }
    let public = format!("{}.pub.pem", args.name);
    write_new(&args.out.join(&public), key.public().to_pem().as_bytes())?;
    let group = format!(
        "[[group]]\nname = {:?}\nenvironment = \"simulated\"\nmanifests = {names:?}\ntrust = [{public:?}]\n",
        args.group
    );
    write_new(&args.out.join("group.toml"), group.as_bytes())?;
    print(&group)
}

fn signing_key(file: Option<&Path>) -> Result<SecretKey> {
    if let Some(file) = file {
        let key = SecretKey::from_pem(&read_secret(file)?);
        return key.with_context(|| format!("{} is no key to sign with", file.display()));
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the kernel gives no random numbers")?;
    Ok(SecretKey::from_seed(seed))
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let made = fs::File::create_new(path).and_then(|mut file| file.write_all(bytes));
    made.with_context(|| format!("cannot write {}", path.display()))
}

impl FleetArgs {
    /// The fleet, with every node enrolled that is to be.
    async fn fleet(&self, releases: Vec<Release>) -> Result<Fleet> {
        let http = if self.http == HttpVersion::One { Http::One } else { Http::Two };
        let way = Way::new(&self.server, &self.ca, http)?;
        let mut fleet = Fleet::new(way.clone(), releases);
        if let Some(path) = self.enrolments.as_ref().filter(|path| path.exists()) {
            fleet.load(path)?;
        }
        if fleet.len() < self.nodes {
            let token = self.token(&way).await?;
            fleet.enroll(self.nodes, &self.prefix, &token).await?;
            self.keep(&fleet)?;
        }
        Ok(fleet)
    }

    /// What nodes join with.
    async fn token(&self, way: &Way) -> Result<String> {
        match (&self.token_file, &self.operator_token_file) {
            (Some(file), _) => read_secret(file),
            (None, Some(file)) => Ok(join_token(way, &read_secret(file)?, &self.group).await?),
            (None, None) => bail!("nodes are still to enrol; give --token-file or --operator-token-file"),
        }
    }

    fn keep(&self, fleet: &Fleet) -> Result<()> {
        if let Some(path) = &self.enrolments {
            fleet.save(path)?;
        }
        Ok(())
    }
}

fn read_secret(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

impl RunArgs {
    async fn run(self) -> Result<()> {
        let releases = self.manifest.iter().map(|path| Release::open(path)).collect::<Result<_, _>>()?;
        let run = self.plan()?;
        let mut fleet = self.fleet.fleet(releases).await?;
        let outcome = fleet.run(&run).await?;
        self.fleet.keep(&fleet)?;
        print(&self.shown(&outcome)?)
    }

    fn plan(&self) -> Result<Run> {
        let scenario = match self.scenario {
            Scenario::Healthy { .. } => Scenario::Healthy { sweep_every: self.sweep_every },
            other => other,
        };
        let duration = self.duration.map(|time| Duration::try_from(time).context("--duration is negative"));
        let length = match (self.turns, duration.transpose()?, scenario.turns()) {
            (Some(turns), _, _) => Length::Turns(turns),
            (None, Some(time), _) => Length::Time(time),
            (None, None, Some(turns)) => Length::Turns(turns),
            (None, None, None) => Length::Time(DEFAULT_LENGTH),
        };
        ensure!(self.rate.is_none_or(|rate| rate > 0.0), "--rate must be more than 0");
        let token = self.fleet.operator_token_file.as_deref().map(read_secret).transpose()?;
        let operator = token.zip(self.operator_asks.clone());
        Ok(Run {
            scenario,
            connections: self.connections.unwrap_or(self.fleet.nodes),
            pace: self.rate.map_or(Pace::Free, Pace::PerSecond),
            length,
            findings: self.findings,
            collector: self.collector_pid.map(Process),
            database: self.database.clone(),
            operator: operator.map(|(token, path)| Watch { token, path, every: OPERATOR_ASKS_EVERY }),
        })
    }

    fn shown(&self, outcome: &Outcome) -> Result<String> {
        match self.format {
            Format::Text => Ok(outcome.to_string()),
            Format::Json => Ok(serde_json::to_string_pretty(outcome)? + "\n"),
        }
    }
}

/// Prints to standard output; a reader that has gone is no error.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot write to standard output"),
    }
}
