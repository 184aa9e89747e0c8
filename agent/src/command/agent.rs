//! `congruent agent`: sweep, spool, deliver, again and again.

use std::convert::Infallible;
use std::fs;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use congruent_protocol::path::escape;
use congruent_protocol::report::{Facts, MAX_REPORT_BYTES, Outcome as Looked, REPORT_SCHEMA, Report};
use congruent_protocol::verification::{State, SweepMode};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use super::Outcome;
use super::look::{look, refuse_watched_state};
use crate::cli::Agent as Args;
use crate::client::{Client, Delivery, DeliveryError};
use crate::config::{Collector, Config};
use crate::enrolment::{EnrolmentFiles, Renewal};
use crate::fetched::ensure_manifest;
use crate::reportable::reportable;
use crate::retry::Retry;
use crate::spool::{Spool, SpoolError, Spooled};
use crate::{facts, report_log};

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
    delivery: Option<(Spool, Arc<Client>)>,
    /// What renews the node's certificate; none where it has none.
    renewal: Option<Renewal>,
    /// Told when the collector wants the certificate renewed.
    renew_now: Arc<Notify>,
}

impl Agent {
    fn new(config: Config) -> anyhow::Result<Self> {
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the boot id")?;
        let files = EnrolmentFiles::new(&config.state_directory);
        let delivery = match &config.collector {
            Some(collector) => {
                // Fails only where a provider is installed already.
                let _ = rustls::crypto::ring::default_provider().install_default();
                refuse_watched_state(&config)?;
                let spool = Spool::open(&config.state_directory)?;
                Some((spool, Arc::new(Client::new(collector, &files)?)))
            }
            None => None,
        };
        let renewal = match (&config.collector, &delivery) {
            (Some(Collector::Enrolled(enrolment)), Some((_, client))) => {
                Some(Renewal::new(files, (**enrolment).clone(), Arc::clone(client)))
            }
            _ => None,
        };
        let (boot, renew_now) = (boot.trim().to_owned(), Arc::default());
        Ok(Self { config: Arc::new(config), boot, delivery, renewal, renew_now })
    }

    async fn once(&mut self) -> anyhow::Result<Outcome> {
        let (state, _) = self.look(SweepMode::Full).await?;
        if let Some(renewal) = self.renewal.as_mut().filter(|renewal| renewal.is_due()) {
            // What is wrong is logged; the certificate that is there may serve yet.
            let _ = renewal.renew().await;
        }
        match self.deliver_once().await {
            Ok(Delivered::All) => Ok(Outcome::Looked(state)),
            Ok(Delivered::ButRefused) => Ok(Outcome::Undelivered),
            Err(error) => {
                error!("the report is not delivered and stays spooled: {error:#}");
                Ok(Outcome::Undelivered)
            }
        }
    }

    /// Delivers, and where the collector takes the certificate for over, renews it
    /// and delivers again.
    async fn deliver_once(&mut self) -> anyhow::Result<Delivered> {
        let delivered = self.deliver_all().await;
        let is_over =
            |error: &anyhow::Error| matches!(error.downcast_ref(), Some(DeliveryError::Expired { .. }));
        if delivered.as_ref().is_err_and(is_over)
            && let Some(renewal) = &mut self.renewal
            && renewal.renew().await.is_ok()
        {
            return self.deliver_all().await;
        }
        delivered
    }

    async fn serve(&mut self) -> anyhow::Result<Outcome> {
        let mut terminated = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
        info!(
            node = %escape(self.config.node.as_bytes()),
            interval = ?self.config.interval,
            "the agent runs"
        );
        let (renewal, renew_now) = (self.renewal.take(), Arc::clone(&self.renew_now));
        // Beside the looks: one may take longer than a certificate lasts.
        let renewing = async {
            match renewal {
                Some(renewal) => renewal.run(renew_now).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            never = self.look_and_deliver() => match never {},
            never = renewing => match never {},
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        info!("the agent stops");
        Ok(Outcome::Clean)
    }

    async fn look_and_deliver(&mut self) -> Infallible {
        let mut schedule = Schedule::new(&self.config);
        let mut retry = Retry::default();
        loop {
            let begun = Instant::now();
            if let Some(mode) = schedule.due(begun) {
                // A look that fails is no verdict; the collector will see silence.
                let looked = self.look(mode).await.map_err(|error| error!("this look failed: {error:#}"));
                schedule.looked(begun, looked.map_or(mode, |(_, looked)| looked));
            }
            let next_look = schedule.next();
            let wake = match self.deliver_all().await {
                Ok(_) => {
                    retry = Retry::default();
                    next_look
                }
                Err(error) => (Instant::now() + self.pause_after(&error, &mut retry)).min(next_look),
            };
            sleep_until(wake).await;
        }
    }

    /// How long to wait after a delivery that failed. Whoever is refused is so until
    /// somebody does something about it, and never enrols again by itself.
    fn pause_after(&self, failure: &anyhow::Error, retry: &mut Retry) -> Duration {
        let pause = match failure.downcast_ref() {
            Some(DeliveryError::Refused { .. }) => retry.longest(),
            Some(DeliveryError::Expired { .. }) => {
                self.renew_now.notify_one();
                retry.next()
            }
            _ => retry.next(),
        };
        warn!(retry_in = ?pause, "reports stay spooled: {failure:#}");
        pause
    }

    /// One sweep, logged and spooled.
    async fn look(&mut self, mode: SweepMode) -> anyhow::Result<(State, SweepMode)> {
        if let Some((_, client)) = &self.delivery
            && let Err(error) = ensure_manifest(&self.config, client).await
        {
            let facts = tokio::task::spawn_blocking(facts::gather).await.context("no facts were gathered")?;
            let state = self.report(Looked::NoManifest(format!("{error:#}")), facts)?;
            return Ok((state, mode));
        }
        let config = self.config.clone();
        let look = move || (look(&config, mode), facts::gather());
        let (looked, facts) = tokio::task::spawn_blocking(look).await.context("the sweep broke off")?;
        let verification = match looked {
            Ok(verification) => verification?,
            Err(reason) => {
                let state = self.report(Looked::NoManifest(format!("{reason:#}")), facts)?;
                return Ok((state, mode));
            }
        };
        let mode = verification.coverage.mode;
        report_log::verified(&verification, self.delivery.is_some())?;
        let state = match &self.delivery {
            Some(_) => self.report(reportable(verification, MAX_REPORT_BYTES)?, facts)?,
            None => verification.state,
        };
        Ok((state, mode))
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

/// When the node is looked at next, and how.
struct Schedule {
    interval: Duration,
    quick_interval: Option<Duration>,
    next_full: Instant,
    /// None without quick sweeps.
    next_quick: Option<Instant>,
}

impl Schedule {
    /// A full look is due at once.
    fn new(config: &Config) -> Self {
        let (interval, quick_interval) = (config.interval, config.sweep.quick_interval);
        Self { interval, quick_interval, next_full: Instant::now(), next_quick: None }
    }

    fn due(&self, now: Instant) -> Option<SweepMode> {
        let is_past = |at: Instant| at <= now;
        match self.next_quick {
            _ if is_past(self.next_full) => Some(SweepMode::Full),
            Some(quick) if is_past(quick) => Some(SweepMode::Quick),
            _ => None,
        }
    }

    /// Takes account of a look that began then. A quick one never puts off a full
    /// one.
    fn looked(&mut self, begun: Instant, mode: SweepMode) {
        if mode == SweepMode::Full {
            self.next_full = begun + self.interval;
        }
        self.next_quick = self.quick_interval.map(|quick| begun + quick);
    }

    fn next(&self) -> Instant {
        self.next_quick.map_or(self.next_full, |quick| quick.min(self.next_full))
    }
}

/// How a delivery of all that was spooled went, where nothing has to wait.
enum Delivered {
    All,
    /// Some were refused for good, and set aside.
    ButRefused,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_looks_stand_between_full_ones_and_never_put_them_off() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut schedule = Schedule {
            interval: Duration::from_secs(60),
            quick_interval: Some(Duration::from_secs(25)),
            next_full: begun,
            next_quick: None,
        };
        let mut looks = Vec::new();
        for seconds in 0..=125 {
            if let Some(mode) = schedule.due(at(seconds)) {
                looks.push((seconds, mode));
                schedule.looked(at(seconds), mode);
                assert!(schedule.next() > at(seconds));
            }
        }
        use SweepMode::{Full, Quick};
        assert_eq!(
            looks,
            [(0, Full), (25, Quick), (50, Quick), (60, Full), (85, Quick), (110, Quick), (120, Full)]
        );
        // A quick look for which there was nothing to recall is a full one.
        schedule.looked(at(145), Full);
        assert_eq!((schedule.due(at(169)), schedule.due(at(170))), (None, Some(Quick)));
        assert_eq!(schedule.next_full, at(205));
    }
}
