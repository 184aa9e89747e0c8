//! The courier: spools what looks come to, delivers it, and gives signs of life,
//! also while a look takes its time.

use std::convert::Infallible;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use congruent_protocol::ledger::Ledger;
use congruent_protocol::path::escape;
use congruent_protocol::report::{
    Acknowledgement, Advice, ContainerReport, ContainersSeen, Facts, Heartbeat, Outcome as Looked,
    REPORT_SCHEMA, Report,
};
use congruent_protocol::verification::State;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use crate::atomic;
use crate::client::Client;
use crate::command::look::LEDGER_FILE;
use crate::config::Config;
use crate::deliver::{self, Delivery, DeliveryError};
use crate::report_log;
use crate::retry::Retry;
use crate::spool::{Parcel, Spool, SpoolError, Spooled};
use crate::status::Status;

/// How often the node gives a sign of life where the collector does not say.
const HEARTBEAT: Duration = Duration::from_mins(1);
/// The shortest and the longest time between signs of life that a collector may ask
/// for.
const HEARTBEAT_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(1));

/// What a look came to, on its way to the spool.
pub(super) struct Made {
    pub(super) outcome: Looked,
    pub(super) facts: Facts,
    /// How many first values the node was held to.
    pub(super) first_values: u64,
    /// The container that was looked at; none where it is the node.
    pub(super) container: Option<Box<ContainerReport>>,
    /// The containers on the node, with its own look.
    pub(super) containers: Option<ContainersSeen>,
}

/// How a delivery of all that was spooled went, where nothing has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivered {
    All,
    /// Some were refused for good, and set aside.
    ButRefused,
}

pub(super) struct Courier {
    config: Arc<Config>,
    boot: String,
    spool: Spool,
    client: Arc<Client>,
    retry: Retry,
    /// Told when the collector wants the certificate renewed.
    renew_now: Arc<Notify>,
    heartbeat: Duration,
    /// How many first values the node was held to last, or will be.
    held_to: u64,
    advice: watch::Sender<Advice>,
    status: Status,
    /// The newest report whose findings are in the log, since it was not delivered.
    logged: u64,
}

impl Courier {
    pub(super) fn new(config: Arc<Config>, boot: String, spool: Spool, client: Arc<Client>) -> Self {
        let (advice, _) = watch::channel(Advice::default());
        let status = Status::open(&config.state_directory);
        let (retry, renew_now, heartbeat) = (Retry::default(), Arc::default(), HEARTBEAT);
        Self {
            config,
            boot,
            spool,
            client,
            retry,
            renew_now,
            heartbeat,
            held_to: 0,
            advice,
            status,
            logged: 0,
        }
    }

    /// The way to the collector.
    pub(super) fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    /// The agent's status.
    pub(super) fn status(&self) -> Status {
        self.status.clone()
    }

    /// What the collector advised last.
    pub(super) fn advice(&self) -> watch::Receiver<Advice> {
        self.advice.subscribe()
    }

    /// Takes what looks come to, and never ends.
    pub(super) async fn run(mut self, mut made: mpsc::Receiver<Made>) -> Infallible {
        // What an earlier agent left behind goes first.
        let mut try_at = Some(Instant::now());
        let mut beat_at = Instant::now() + self.heartbeat;
        loop {
            tokio::select! {
                // Ends only with the process.
                Some(made) = made.recv() => {
                    if let Err(error) = self.take(made) {
                        error!("this look's report is lost: {:#}", anyhow::Error::new(error));
                    }
                    // While the collector is left alone, it waits with the others.
                    try_at.get_or_insert_with(Instant::now);
                }
                () = at(try_at) => {
                    try_at = self.try_all().await;
                    beat_at = Instant::now() + self.heartbeat;
                }
                () = sleep_until(beat_at) => {
                    self.beat().await;
                    beat_at = Instant::now() + self.heartbeat;
                }
            }
        }
    }

    /// Delivers what is spooled; gives when to try again, where it must.
    async fn try_all(&mut self) -> Option<Instant> {
        match self.deliver_all().await {
            Ok(_) => {
                self.retry = Retry::default();
                None
            }
            Err(error) => {
                let wait = self.pause_after(&error);
                warn!(retry_in = ?wait, "reports stay spooled: {error:#}");
                self.status.delivery_failed(format!("{error:#}"));
                self.log_newest();
                Some(Instant::now() + wait)
            }
        }
    }

    /// Logs what the newest look found, of the node and its containers, each report once:
    /// nobody else is told for now.
    pub(super) fn log_newest(&mut self) {
        let pending = self.spool.pending().unwrap_or_default();
        let Some(newest) = pending.last().map(|newest| newest.sequence) else { return };
        let mut of_look = Vec::new();
        for spooled in pending.iter().rev().take_while(|spooled| spooled.sequence > self.logged) {
            let Ok(parcel) = self.spool.read(spooled) else { continue };
            // The node's own report ends the look before.
            if parcel.container.is_none() && spooled.sequence < newest {
                break;
            }
            of_look.push((spooled.sequence, parcel));
        }
        for (sequence, parcel) in of_look.into_iter().rev() {
            let findings = self.spool.findings(&parcel).unwrap_or_default();
            report_log::undelivered(sequence, parcel.container.as_deref(), &findings);
        }
        self.logged = newest.max(self.logged);
    }

    /// How long to wait after a delivery that failed. A node that is refused is so until
    /// somebody does something about it, and never enrols again by itself.
    fn pause_after(&mut self, failure: &anyhow::Error) -> Duration {
        match failure.downcast_ref() {
            Some(DeliveryError::Revoked { .. }) => self.retry.longest(),
            Some(DeliveryError::Expired { .. }) => {
                self.renew_now.notify_one();
                self.retry.next()
            }
            other => self.retry.after(other.and_then(DeliveryError::retry_after)),
        }
    }

    /// Told when the certificate is to be renewed at once.
    pub(super) fn renew_now(&self) -> Arc<Notify> {
        Arc::clone(&self.renew_now)
    }

    /// Spools the report of what a look came to.
    pub(super) fn take(&mut self, made: Made) -> Result<State, SpoolError> {
        let Made { outcome, facts, first_values, container, containers } = made;
        if container.is_none() {
            self.held_to = first_values;
        }
        let report = Report {
            schema_version: REPORT_SCHEMA,
            node: self.config.node.clone(),
            boot: self.boot.clone(),
            chain: String::new(),
            sequence: 0,
            previous: None,
            lost: 0,
            first_values,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            reported_at: Timestamp::now(),
            outcome,
            container,
            containers,
            facts,
        };
        let state = report.state();
        match self.spool.push(report) {
            Ok(_) => Ok(state),
            Err(error) => {
                // The disk may be too full to count it; then the next one tells less.
                let _ = self.spool.lose(1);
                Err(error)
            }
        }
    }

    /// Sends what is spooled, oldest first, until all is gone or one must wait.
    pub(super) async fn deliver_all(&mut self) -> anyhow::Result<Delivered> {
        let mut delivered = Delivered::All;
        // What waits is listed again only when it may have become something else.
        let mut pending = self.spool.pending()?.into_iter();
        while let Some(spooled) = pending.next() {
            let parcel = match self.spool.read(&spooled) {
                Ok(parcel) => parcel,
                // It must not keep back what comes after it.
                Err(damaged @ SpoolError::DamagedReport { .. }) => {
                    let aside = self.spool.quarantine(&spooled)?;
                    error!("{damaged}; it is not sent, counted as lost, and kept as {}", aside.display());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let delivery = deliver::deliver(&self.client, &self.spool, &spooled, &parcel).await?;
            if self.settle(&spooled, &parcel, delivery).await? == Delivered::ButRefused {
                delivered = Delivered::ButRefused;
                pending = self.spool.pending()?.into_iter();
            }
        }
        Ok(delivered)
    }

    async fn settle(
        &mut self,
        spooled: &Spooled,
        parcel: &Parcel,
        delivery: Delivery,
    ) -> Result<Delivered, SpoolError> {
        let sequence = spooled.sequence;
        let (message, is_too_large) = match delivery {
            Delivery::Acknowledged(acknowledgement) => {
                self.spool.acknowledge(spooled, parcel)?;
                log_answer(&acknowledgement, parcel);
                let mut advice = acknowledgement.advice.unwrap_or_default();
                if parcel.container.is_some() {
                    // The node's own are not told by it.
                    advice.first_values = None;
                }
                self.heed(advice).await;
                return Ok(Delivered::All);
            }
            Delivery::Refused(message) => (message, false),
            Delivery::TooLarge(message) => (message, true),
        };
        // What the node was held to may not be known there any more, as after a restore.
        if parcel.container.is_none()
            && let Err(error) = self.fetch_ledger().await
        {
            warn!("the ledger stays as it was: {error:#}");
        }
        let aside = self.spool.set_aside(spooled)?;
        error!(sequence, "the collector refused this report: {message}; it is kept as {}", aside.display());
        // A set too large to report must not leave the last state standing.
        if is_too_large && !parcel.is_withheld {
            self.take(Made {
                outcome: Looked::Withheld(message),
                facts: Facts::default(),
                first_values: 0,
                container: parcel
                    .container
                    .as_ref()
                    .map(|container| Box::new(ContainerReport::naming(container.identity.clone()))),
                containers: parcel.containers.clone(),
            })?;
        }
        Ok(Delivered::ButRefused)
    }

    async fn beat(&mut self) {
        let (chain, sequence, _) = self.spool.position();
        let heartbeat = Heartbeat {
            boot: self.boot.clone(),
            chain: chain.to_owned(),
            sequence,
            spooled: self.spool.pending().map_or(0, |pending| pending.len() as u64),
        };
        match deliver::beat(&self.client, &heartbeat).await {
            Ok(advice) => self.heed(advice).await,
            Err(error) => {
                if matches!(error, DeliveryError::Expired { .. }) {
                    self.renew_now.notify_one();
                }
                let error = anyhow::Error::new(error);
                warn!("no sign of life could be given: {error:#}");
                self.status.delivery_failed(format!("{error:#}"));
            }
        }
    }

    /// Does as the collector advises.
    async fn heed(&mut self, advice: Advice) {
        let (shortest, longest) = HEARTBEAT_RANGE;
        let asked = advice.heartbeat_seconds.map(Duration::from_secs);
        self.heartbeat = asked.map_or(HEARTBEAT, |asked| asked.clamp(shortest, longest));
        self.status.heard();
        if let Some(recorded) = advice.first_values.filter(|recorded| *recorded != self.held_to)
            && let Err(error) = self.fetch_ledger().await
        {
            warn!("the ledger of {recorded} first values cannot be had: {error:#}");
        }
        self.advice.send_replace(advice);
    }

    /// Gets the first values that the next look is held to, where there are any.
    async fn fetch_ledger(&mut self) -> anyhow::Result<()> {
        let path = self.config.state_directory.join(LEDGER_FILE);
        let shown = || format!("cannot write {}", path.display());
        let Some(json) = deliver::fetch_ledger(&self.client).await? else {
            self.held_to = 0;
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(shown),
                _ => Ok(()),
            };
        };
        let ledger = Ledger::from_json(&json)?;
        atomic::write_private(&path, &json).with_context(shown)?;
        self.held_to = ledger.first_values().len() as u64;
        Ok(())
    }
}

/// Logs what the collector makes of a report. There are many of containers, and of those
/// that it calls what their node does the node's own log tells.
fn log_answer(acknowledgement: &Acknowledgement, parcel: &Parcel) {
    let (sequence, state) = (acknowledgement.sequence, acknowledgement.state.name());
    let note = acknowledgement.note.as_ref().map(|note| escape(note.as_bytes()));
    match (&parcel.container, note) {
        (None, Some(note)) => warn!(sequence, state, %note, "acknowledged"),
        (None, None) => info!(sequence, state, "acknowledged"),
        (Some(container), Some(note)) if parcel.is_verified() => {
            warn!(sequence, state, container = %container.identity.id, %note, "acknowledged");
        }
        (Some(container), _) => debug!(sequence, state, container = %container.identity.id, "acknowledged"),
    }
}

/// Completes at a time; never without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
