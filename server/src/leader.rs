//! The leader's work: silence, judgement, dispatch. Of the collectors that share a store
//! one does it at a time; where one is gone, another takes over.

use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::ingest::chain_of;
use crate::serve::{random, stopped};
use crate::store::{LeaseRow, Store, StoreError};

/// How often the leader shows that it is well, and others look.
const BEAT: Duration = Duration::from_secs(2);
/// For how long the lease must stand still before another takes it over, and after how
/// long without having renewed it the leader holds it for lost.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// How long the parts of a term may take to end.
const ENDING: Duration = Duration::from_secs(10);

/// A time of leading.
pub(crate) struct Term {
    /// Writes only as long as it lasts.
    pub(crate) store: Store,
    /// Tells its parts that it is over.
    pub(crate) over: watch::Receiver<bool>,
}

/// Takes its turn at leading.
pub(crate) struct Leader {
    pub(crate) store: Store,
    /// Names this collector.
    pub(crate) holder: String,
    /// 1 while it leads.
    pub(crate) leading: Gauge,
}

/// Why a term ended.
enum End {
    Stopped,
    Lost,
    /// A part ended by itself.
    Part,
}

impl Leader {
    /// Leads whenever nobody else does, with the parts that `begin` makes, until the
    /// collector stops.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>, begin: impl Fn(Term) -> JoinSet<()>) {
        while let Some(token) = self.campaign(&mut stop).await {
            info!(token, "this collector leads");
            self.leading.set(1);
            let (end, over) = watch::channel(false);
            let mut parts = begin(Term { store: self.store.fenced(token), over });
            let why = tokio::select! {
                () = stopped(&mut stop) => End::Stopped,
                () = self.hold(token) => End::Lost,
                _ = parts.join_next() => End::Part,
            };
            self.leading.set(0);
            end.send_replace(true);
            let ending = timeout(ENDING, async { while parts.join_next().await.is_some() {} });
            if ending.await.is_err() {
                warn!("a part of the leader's work did not end in time and is cut off");
                parts.shutdown().await;
            }
            match why {
                End::Lost => warn!("the lead is lost, to another collector or with the database"),
                End::Stopped | End::Part => {
                    self.release(token).await;
                    return;
                }
            }
        }
    }

    /// Waits until the lease is free, and takes it; none where the collector stops.
    async fn campaign(&self, stop: &mut watch::Receiver<bool>) -> Option<i64> {
        let mut seen: Option<(LeaseRow, Instant)> = None;
        loop {
            match self.try_to_lead(&mut seen).await {
                Ok(Some(token)) => return Some(token),
                Ok(None) => {}
                Err(error) => warn!("cannot see who leads: {}", chain_of(&error)),
            }
            // Not all at once, or they would take it from each other.
            let pause = BEAT.mul_f64(0.5 + random() / 2.0);
            if timeout(pause, stopped(stop)).await.is_ok() {
                return None;
            }
        }
    }

    async fn try_to_lead(&self, seen: &mut Option<(LeaseRow, Instant)>) -> Result<Option<i64>, StoreError> {
        let lease = self.store.read("look who leads", LeaseRow::standing).await?;
        if let Some(lease) = lease.as_ref().filter(|lease| !lease.holder.is_empty()) {
            let still = seen.as_ref().filter(|(last, _)| last == lease).map(|(_, since)| since.elapsed());
            if still.is_none() {
                *seen = Some((lease.clone(), Instant::now()));
            }
            // Nobody else can have a store open that is not shared.
            if self.store.is_shared() && still.is_none_or(|still| still < LOST_AFTER) {
                return Ok(None);
            }
        }
        let holder = self.holder.clone();
        self.store.write("take the lead", move |tx| tx.take_lease(&holder, lease.as_ref())).await
    }

    /// Renews the lease; completes when it is lost.
    async fn hold(&self, token: i64) {
        if !self.store.is_shared() {
            return std::future::pending().await;
        }
        let mut renewed = Instant::now();
        loop {
            sleep(BEAT).await;
            let left = LOST_AFTER.saturating_sub(renewed.elapsed());
            let renewing = self.store.write("renew the lease", move |tx| tx.renew_lease(token));
            match timeout(left, renewing).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(error)) => warn!("cannot renew the lease: {}", chain_of(&error)),
                Err(_) => return,
            }
            if renewed.elapsed() >= LOST_AFTER {
                return;
            }
        }
    }

    async fn release(&self, token: i64) {
        if let Err(error) = self.store.write("give the lead back", move |tx| tx.release_lease(token)).await {
            warn!("cannot give the lead back: {}", chain_of(&error));
        }
    }
}
