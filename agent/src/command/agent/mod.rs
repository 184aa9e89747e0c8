//! `congruent agent`: sweep, spool, deliver, again and again.
//!
//! Two parts run side by side: one looks, when it is time; the courier delivers, and
//! gives signs of life, however long a look takes.

mod containers;
mod courier;
mod schedule;

use std::convert::Infallible;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use congruent_protocol::path::escape;
use congruent_protocol::report::{Advice, Facts, MAX_REPORT_BYTES, Outcome as Looked};
use congruent_protocol::verification::{State, SweepMode};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use super::Outcome;
use super::look::{Looking, look, refuse_watched_state};
use crate::cli::Agent as Args;
use crate::client::Client;
use crate::config::{Config, MAX_INTERVAL, MIN_INTERVAL};
use crate::deliver::DeliveryError;
use crate::enrolment::{EnrolmentFiles, Renewal};
use crate::fetched::ensure_manifest;
use crate::reportable::reportable;
use crate::spool::{Spool, SpoolError};
use crate::status::Status;
use crate::{facts, report_log};
use containers::{Containers, Errand};
use courier::{Courier, Delivered, Made};
use schedule::Schedule;

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let config = Config::load(&args.config)?;
    init_log();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the agent's runtime")?;
    let outcome = runtime
        .block_on(async { if args.once { once(config).await } else { serve(config, &args.config).await } });
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

/// One look, and its delivery.
async fn once(config: Config) -> anyhow::Result<Outcome> {
    let config = Arc::new(config);
    let (mut courier, renewal) = reporting(&config)?.unzip();
    let mut looker = Looker::new(config, courier.as_ref());
    let (send, made) = mpsc::channel(1);
    let looking = async move { looker.look(SweepMode::Full, &send).await };
    let (look, taken) = tokio::join!(looking, take_all(courier.as_mut(), made));
    let state = look?.state;
    taken?;
    let Some(courier) = &mut courier else { return Ok(Outcome::Looked(state)) };
    match deliver_once(courier, renewal).await {
        Ok(Delivered::All) => Ok(Outcome::Looked(state)),
        Ok(Delivered::ButRefused) => Ok(Outcome::Undelivered),
        Err(error) => {
            courier.log_newest();
            error!("the report is not delivered and stays spooled: {error:#}");
            Ok(Outcome::Undelivered)
        }
    }
}

/// Spools what a look comes to, until it ends.
async fn take_all(
    mut courier: Option<&mut Courier>,
    mut made: mpsc::Receiver<Made>,
) -> Result<(), SpoolError> {
    while let Some(made) = made.recv().await {
        if let Some(courier) = &mut courier {
            courier.take(made)?;
        }
    }
    Ok(())
}

/// Delivers, with the certificate renewed where it is due, or where the collector
/// takes it for over.
async fn deliver_once(courier: &mut Courier, renewal: Option<Renewal>) -> anyhow::Result<Delivered> {
    let Some(mut renewal) = renewal else { return courier.deliver_all().await };
    if renewal.is_due() {
        // What is wrong is logged; the certificate that is there may serve yet.
        let _ = renewal.renew().await;
    }
    let delivered = courier.deliver_all().await;
    let is_over = |error: &anyhow::Error| matches!(error.downcast_ref(), Some(DeliveryError::Expired { .. }));
    if delivered.as_ref().is_err_and(is_over) && renewal.renew().await.is_ok() {
        return courier.deliver_all().await;
    }
    delivered
}

/// Looks and delivers until it is told to stop.
async fn serve(config: Config, path: &Path) -> anyhow::Result<Outcome> {
    let wait_for = |kind| signal(kind).context("cannot wait for signals");
    let (mut terminated, mut interrupted) =
        (wait_for(SignalKind::terminate())?, wait_for(SignalKind::interrupt())?);
    let hung_up = wait_for(SignalKind::hangup())?;
    info!(node = %escape(config.node.as_bytes()), interval = ?config.interval, "the agent runs");
    let config = Arc::new(config);
    let (courier, renewal) = reporting(&config)?.unzip();
    let mut looker = Looker::new(Arc::clone(&config), courier.as_ref());
    // A report that waits here is not spooled yet: no more than one does.
    let (send, made) = mpsc::channel(1);
    let delivering = async {
        match (courier, renewal) {
            (Some(courier), Some(renewal)) => {
                let renew_now = courier.renew_now();
                tokio::select! {
                    never = courier.run(made) => match never {},
                    // Beside the looks: one may take longer than a certificate lasts.
                    never = renewal.run(renew_now) => match never {},
                }
            }
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        never = looker.run(send, hung_up, path) => match never {},
        never = delivering => match never {},
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    info!("the agent stops");
    Ok(Outcome::Clean)
}

/// Where reports wait and the way they go, and what renews the node's certificate;
/// neither where the node is not enrolled.
fn reporting(config: &Arc<Config>) -> anyhow::Result<Option<(Courier, Renewal)>> {
    let Some(enrolment) = &config.collector else { return Ok(None) };
    // Fails only where a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    refuse_watched_state(config)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the boot id")?;
    let files = EnrolmentFiles::new(&config.state_directory);
    let spool = Spool::open(&config.state_directory, files.signer(enrolment)?, config.spool_bytes)?;
    files.forget_first_seal()?;
    let client = Arc::new(Client::new(&files, enrolment)?);
    let renewal = Renewal::new(files, enrolment.clone(), Arc::clone(&client));
    Ok(Some((Courier::new(Arc::clone(config), boot.trim().to_owned(), spool, client), renewal)))
}

/// The part that looks.
struct Looker {
    config: Arc<Config>,
    status: Status,
    /// The way to a manifest that the collector keeps; none without one.
    client: Option<Arc<Client>>,
    /// What the collector advises; none without one.
    advice: Option<watch::Receiver<Advice>>,
    containers: Containers,
}

impl Looker {
    fn new(config: Arc<Config>, courier: Option<&Courier>) -> Self {
        let status = match courier {
            Some(courier) => courier.status(),
            None if config.keeps_state() => Status::open(&config.state_directory),
            None => Status::unkept(),
        };
        let (client, advice) = (courier.map(Courier::client), courier.map(Courier::advice));
        let containers = Containers::new(&config);
        Self { config, status, client, advice, containers }
    }

    async fn run(&mut self, send: mpsc::Sender<Made>, mut hung_up: Signal, path: &Path) -> Infallible {
        let mut schedule = Schedule::new(&self.config);
        loop {
            tokio::select! {
                () = sleep_until(schedule.next()) => {}
                _ = hung_up.recv() => {
                    self.reload(path);
                    schedule.follow(&self.config, self.advised());
                    continue;
                }
                () = changed(&mut self.advice) => {
                    schedule.follow(&self.config, self.advised());
                    continue;
                }
            }
            let (begun, wall) = (Instant::now(), since_1970());
            let Some(mode) = schedule.due(begun) else { continue };
            schedule.follow(&self.config, self.advised());
            match self.look(mode, &send).await {
                Ok(Look { mode, .. }) => schedule.looked(begun, wall, mode),
                // A look that fails is no verdict; the collector will see silence.
                Err(error) => {
                    error!("this look failed: {error:#}");
                    self.status.look_failed(format!("{error:#}"));
                    schedule.looked(begun, wall, mode);
                }
            }
        }
    }

    /// The interval that the collector advises.
    fn advised(&self) -> Option<Duration> {
        let advised = Duration::from_secs(self.advice.as_ref()?.borrow().interval_seconds?);
        Some(advised.clamp(MIN_INTERVAL, MAX_INTERVAL))
    }

    /// Reads the configuration again; one that cannot be used changes nothing.
    fn reload(&mut self, path: &Path) {
        match Config::load(path) {
            Ok(config) if config.is_same_node(&self.config) => {
                self.config = Arc::new(config);
                self.containers.reconfigured(&self.config);
                info!("the configuration is read again");
            }
            Ok(_) => warn!("another node, state directory or collector takes a restart; nothing is changed"),
            Err(error) => {
                error!("the configuration is kept as it was: {:#}", anyhow::Error::new(error));
            }
        }
    }

    /// One look at the node and at its containers, logged and sent.
    async fn look(&mut self, mode: SweepMode, send: &mpsc::Sender<Made>) -> anyhow::Result<Look> {
        let NodeLook { state, mode: made_as, outcome, facts, first_values } = self.look_at_node(mode).await?;
        let (config, client) = (&self.config, self.client.as_deref());
        let errand = Errand { config, mode, facts: &facts, client, send };
        let (containers, noted) =
            self.containers.look(errand).await.map(|seen| (seen.told, seen.noted)).unzip();
        let state = noted.as_ref().map_or(state, |noted| noted.with_node(state));
        self.status.looked_at_containers(noted);
        if let Some(outcome) = outcome {
            // Last, so that whoever reads which containers there are knows each.
            let made = Made { outcome, facts, first_values, container: None, containers };
            // Who takes it ends only with the process.
            let _ = send.send(made).await;
        }
        Ok(Look { state, mode: made_as })
    }

    /// What a look comes to where there is nothing to hold the node to.
    fn without_manifest(&self, reason: String, facts: Facts, mode: SweepMode) -> NodeLook {
        let outcome = Looked::NoManifest(reason.clone());
        report_log::unverified(&outcome);
        self.status.look_failed(reason);
        let outcome = self.config.collector.as_ref().map(|_| outcome);
        NodeLook { state: State::Unknown, mode, outcome, facts, first_values: 0 }
    }

    /// One sweep, logged.
    async fn look_at_node(&self, mode: SweepMode) -> anyhow::Result<NodeLook> {
        if let Some(client) = &self.client
            && let Err(error) = ensure_manifest(&self.config, client).await
        {
            let facts = tokio::task::spawn_blocking(facts::gather).await.context("no facts were gathered")?;
            return Ok(self.without_manifest(format!("{error:#}"), facts, mode));
        }
        let config = self.config.clone();
        let look = move || (look(&config, mode), facts::gather());
        let (looked, facts) = tokio::task::spawn_blocking(look).await.context("the sweep broke off")?;
        let Looking { verification, first_values } = match looked {
            Ok(looking) => looking?,
            Err(reason) => return Ok(self.without_manifest(format!("{reason:#}"), facts, mode)),
        };
        let (state, mode) = (verification.state, verification.coverage.mode);
        report_log::verified(&verification, self.config.collector.is_some())?;
        self.status.looked(&verification);
        let outcome = match &self.config.collector {
            Some(_) => {
                let outcome = reportable(verification, MAX_REPORT_BYTES, "congruent verify")?;
                report_log::unverified(&outcome);
                Some(outcome)
            }
            None => None,
        };
        Ok(NodeLook { state, mode, outcome, facts, first_values })
    }
}

/// Waits until the collector advises something.
async fn changed(advice: &mut Option<watch::Receiver<Advice>>) {
    let Some(advice) = advice else { return std::future::pending().await };
    // The courier ends only with the process.
    if advice.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A look that came to something.
struct Look {
    /// That of the node and its containers together.
    state: State,
    /// How it was done, which may not be how it was asked for.
    mode: SweepMode,
}

/// What a look at the node itself came to.
struct NodeLook {
    state: State,
    mode: SweepMode,
    /// What is to be reported; nothing without a collector.
    outcome: Option<Looked>,
    facts: Facts,
    first_values: u64,
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
