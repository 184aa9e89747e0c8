//! `congruent agent`: sweep, spool, deliver, again and again.

use std::convert::Infallible;
use std::env;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use congruent_protocol::digest::ContentKey;
use congruent_protocol::normalise::is_reserved;
use congruent_protocol::path::{TreePath, escape};
use congruent_protocol::report::{Facts, MAX_REPORT_BYTES, Outcome as Looked, REPORT_SCHEMA, Report};
use congruent_protocol::verification::{State, Verification};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use super::Outcome;
use crate::cli::Agent as Args;
use crate::client::{Client, Delivery};
use crate::config::Config;
use crate::findings::{Findings, FindingsWriter};
use crate::reportable::reportable;
use crate::spool::{Spool, SpoolError, Spooled};
use crate::sweep::{self, Counters, Root, default_threads};
use crate::target::{Sources, Target, open_manifest};
use crate::{facts, identity, report_log};

/// How soon delivery is tried again after a failure; doubles up to the cap.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_mins(5);

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let config = Config::load(&args.config)?;
    init_log();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the agent's runtime")?;
    let outcome = runtime.block_on(async {
        let mut agent = Agent::new(config)?;
        if args.once { agent.once().await } else { agent.serve().await }
    });
    // A sweep under way when we are told to stop is not waited for.
    runtime.shutdown_background();
    outcome
}

fn init_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CONGRUENT_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    // A reader of the log that goes away must not take us with it.
    log.with_ansi(io::stderr().is_terminal()).log_internal_errors(false).init();
}

struct Agent {
    config: Arc<Config>,
    boot: String,
    /// Where reports wait, and the way they go; none without a collector.
    delivery: Option<(Spool, Client)>,
}

impl Agent {
    fn new(config: Config) -> anyhow::Result<Self> {
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the boot id")?;
        let delivery = match &config.collector {
            Some(collector) => {
                // Fails only where a provider is installed already.
                let _ = rustls::crypto::ring::default_provider().install_default();
                refuse_watched_state(&config)?;
                Some((Spool::open(&config.state_directory)?, Client::new(collector)?))
            }
            None => None,
        };
        Ok(Self { config: Arc::new(config), boot: boot.trim().to_owned(), delivery })
    }

    async fn once(&mut self) -> anyhow::Result<Outcome> {
        let state = self.look().await?;
        match self.deliver_all().await {
            Ok(Delivered::All) => Ok(Outcome::Looked(state)),
            Ok(Delivered::ButRefused) => Ok(Outcome::Undelivered),
            Err(error) => {
                error!("the report is not delivered and stays spooled: {error:#}");
                Ok(Outcome::Undelivered)
            }
        }
    }

    async fn serve(&mut self) -> anyhow::Result<Outcome> {
        let mut terminated = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
        info!(
            node = %escape(self.config.node.as_bytes()),
            interval = ?self.config.interval,
            "the agent runs"
        );
        tokio::select! {
            never = self.look_and_deliver() => match never {},
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        info!("the agent stops");
        Ok(Outcome::Clean)
    }

    async fn look_and_deliver(&mut self) -> Infallible {
        let mut next_look = Instant::now();
        let mut retry = FIRST_RETRY;
        loop {
            if Instant::now() >= next_look {
                next_look = Instant::now() + self.config.interval;
                // A look that fails is no verdict; the collector will see silence.
                if let Err(error) = self.look().await {
                    error!("this look failed: {error:#}");
                }
            }
            let wake = match self.deliver_all().await {
                Ok(_) => {
                    retry = FIRST_RETRY;
                    next_look
                }
                Err(error) => {
                    warn!(retry_in = ?retry, "reports stay spooled: {error:#}");
                    let at = Instant::now() + retry;
                    retry = (retry * 2).min(LONGEST_RETRY);
                    at.min(next_look)
                }
            };
            sleep_until(wake).await;
        }
    }

    /// One sweep, logged and spooled.
    async fn look(&mut self) -> anyhow::Result<State> {
        let config = self.config.clone();
        let look = move || (verify(&config), facts::gather());
        let (looked, facts) = tokio::task::spawn_blocking(look).await.context("the sweep broke off")?;
        let verification = match looked {
            Ok(verification) => verification?,
            Err(reason) => return self.report(Looked::NoManifest(format!("{reason:#}")), facts),
        };
        report_log::verified(&verification, self.delivery.is_some())?;
        match &self.delivery {
            Some(_) => self.report(reportable(verification, MAX_REPORT_BYTES)?, facts),
            None => Ok(verification.state),
        }
    }

    /// Spools the report of what a look came to.
    fn report(&mut self, outcome: Looked, facts: Facts) -> anyhow::Result<State> {
        report_log::unverified(&outcome);
        let report = Report {
            schema_version: REPORT_SCHEMA,
            node: self.config.node.clone(),
            boot: self.boot.clone(),
            chain: String::new(),
            sequence: 0,
            previous: None,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            reported_at: Timestamp::now(),
            outcome,
            facts,
        };
        let state = report.state();
        if let Some((spool, _)) = &mut self.delivery {
            spool.push(report)?;
        }
        Ok(state)
    }

    /// Sends what is spooled, oldest first, until all is gone or one must wait.
    async fn deliver_all(&mut self) -> anyhow::Result<Delivered> {
        let mut delivered = Delivered::All;
        while let Some((spool, client)) = &mut self.delivery {
            let Some(spooled) = spool.pending()?.into_iter().next() else { break };
            let delivery = match spooled.read() {
                Ok(report) => client.deliver(&spooled, report).await?,
                // Not ours; it must not keep back what is.
                Err(error @ SpoolError::Foreign(_)) => {
                    let aside = spool.set_aside(&spooled)?;
                    error!("{error}; it is not sent, and kept as {}", aside.display());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if !matches!(delivery, Delivery::Acknowledged(_)) {
                delivered = Delivered::ButRefused;
            }
            // A set too large to report must not leave the last state standing.
            let withheld = match &delivery {
                Delivery::TooLarge(message) if !spooled.is_withheld() => Some(message.clone()),
                _ => None,
            };
            settle(spool, &spooled, delivery)?;
            if let Some(message) = withheld {
                self.report(Looked::Withheld(message), Facts::default())?;
            }
        }
        Ok(delivered)
    }
}

/// How a delivery of all that was spooled went, where nothing has to wait.
enum Delivered {
    All,
    /// Some were refused for good, and set aside.
    ButRefused,
}

/// What the node is held to. First values are the collector's to keep.
fn open_target(config: &Config, content_key: ContentKey) -> anyhow::Result<Target> {
    let sources = Sources {
        manifest: &config.manifest,
        add_ons: &config.add_ons,
        trust: Some(&config.trust),
        ledger: None,
        content_key,
    };
    Target::open(sources, Timestamp::now())
}

/// The outer error says that there is no usable manifest, the inner one that the
/// look itself failed.
fn verify(config: &Config) -> anyhow::Result<anyhow::Result<Verification<Findings>>> {
    let content_key = match identity::content_key(config) {
        Ok(key) => key,
        Err(error) => return Ok(Err(error)),
    };
    let target = open_target(config, content_key)?;
    let look = || {
        let root = Root::open(config.root.as_deref())?;
        if config.collector.is_some() {
            check_state_directory(&config.state_directory, &root, target.stack.reserved())?;
        }
        let findings = FindingsWriter::spilling_to(&spill_directory(config));
        let counters = Counters::default();
        Ok(sweep::verify(&root, &target, default_threads(), findings, &counters, Timestamp::now)?)
    };
    Ok(look())
}

/// Where findings go that memory is not to hold. Without a collector there need be
/// no state directory.
fn spill_directory(config: &Config) -> PathBuf {
    config.collector.as_ref().map_or_else(env::temp_dir, |_| config.state_directory.clone())
}

/// Checks the state directory before it is made, where there is a manifest to
/// check it by; each look does so again.
fn refuse_watched_state(config: &Config) -> anyhow::Result<()> {
    let manifest = open_manifest(&config.manifest, Some(&config.trust), Timestamp::now());
    match (manifest, Root::open(config.root.as_deref())) {
        (Ok((manifest, _)), Ok(root)) => {
            check_state_directory(&config.state_directory, &root, &manifest.predicate().reserved)
        }
        _ => Ok(()),
    }
}

/// The agent writes nothing to what it watches: its state must lie in a reserved
/// place or outside the root.
fn check_state_directory(state: &Path, root: &Root, reserved: &[TreePath]) -> anyhow::Result<()> {
    let resolve =
        |path: &Path| fs::canonicalize(path).with_context(|| format!("cannot resolve {}", path.display()));
    // What is not there yet will lie beneath what is.
    let there = state.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(state);
    let missing = state.strip_prefix(there).context("an ancestor is a prefix")?;
    let (state, top) = (resolve(there)?.join(missing), resolve(&root.path)?);
    let Ok(inside) = state.strip_prefix(&top) else { return Ok(()) };
    let path = TreePath::new(Path::new("/").join(inside).as_os_str().as_encoded_bytes())?;
    if is_reserved(reserved, &path) {
        return Ok(());
    }
    let places: Vec<_> = reserved.iter().map(ToString::to_string).collect();
    bail!(
        "state-directory {path} lies in the tree that is watched, so that the agent would be drift itself; \
         put it into a place that the manifest reserves ({}) or outside the root",
        places.join(", ")
    )
}

fn settle(spool: &mut Spool, spooled: &Spooled, delivery: Delivery) -> Result<(), SpoolError> {
    let sequence = spooled.sequence;
    match delivery {
        Delivery::Acknowledged(acknowledgement) => {
            spool.acknowledge(spooled)?;
            let state = acknowledgement.state.name();
            match acknowledgement.note {
                Some(note) => warn!(sequence, state, note = %escape(note.as_bytes()), "acknowledged"),
                None => info!(sequence, state, "acknowledged"),
            }
        }
        Delivery::Refused(message) | Delivery::TooLarge(message) => {
            let aside = spool.set_aside(spooled)?;
            error!(
                sequence,
                "the collector refused this report: {message}; it is kept as {}",
                aside.display()
            );
        }
    }
    Ok(())
}
