//! The containers of the host, looked at with each look at the node: one report for each,
//! and for the node's own which there are.
//!
//! Whatever goes wrong is a gap in that list, and never keeps the node's own report back:
//! a look at containers that comes no further is given up.

mod looking;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use congruent_protocol::path::escape;
use congruent_protocol::report::{ContainersSeen, Facts};
use congruent_protocol::verification::{State, SweepMode};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tracing::error;

use super::courier::Made;
use crate::client::Client;
use crate::config::Config;
use crate::images::Images;
use crate::report_log;
use crate::status::ContainersNoted;
use crate::sweep::Counters;
use looking::{Reported, Sighted, sight, verify};

/// How long a look may come no further.
const STALLED_AFTER: Duration = Duration::from_mins(10);
const GIVEN_UP: &str = "the look at containers came no further for ten minutes, and is given up";

/// Looks at containers, no two at once.
pub(super) struct Containers {
    images: Images,
    /// The last look's thread, which goes on where it was given up.
    thread: Option<AbortHandle>,
    /// The states of those that were not congruent at the last look, by their ids.
    logged: HashMap<String, State>,
}

/// What came of a look.
pub(super) struct Seen {
    pub(super) told: ContainersSeen,
    pub(super) noted: ContainersNoted,
    states: HashMap<String, State>,
}

/// How a look is made, and where its reports go.
pub(super) struct Errand<'a> {
    pub(super) config: &'a Arc<Config>,
    pub(super) mode: SweepMode,
    pub(super) facts: &'a Facts,
    /// The way to the collector; none without one.
    pub(super) client: Option<&'a Client>,
    pub(super) send: &'a mpsc::Sender<Made>,
}

impl Containers {
    pub(super) fn new(config: &Config) -> Self {
        Self { images: Images::new(&config.state_directory), thread: None, logged: HashMap::new() }
    }

    /// Takes account of another configuration, which may trust others.
    pub(super) fn reconfigured(&mut self, config: &Config) {
        self.images = Images::new(&config.state_directory);
    }

    /// Looks at the containers, where the configuration says so, and sends a report of
    /// each.
    pub(super) async fn look(&mut self, errand: Errand<'_>) -> Option<Seen> {
        errand.config.containers.as_ref()?;
        let mut seen = Seen {
            told: ContainersSeen::default(),
            noted: ContainersNoted::new(errand.mode),
            states: HashMap::new(),
        };
        if let Err(error) = self.look_at_all(&errand, &mut seen).await {
            error!("the look at containers failed: {error:#}");
            seen.told.gaps.push(escape(format!("{error:#}").as_bytes()).into_owned());
        }
        seen.told.running.sort();
        seen.noted.finish(&seen.told.gaps);
        report_log::containers(&seen.told);
        self.logged = std::mem::take(&mut seen.states);
        Some(seen)
    }

    async fn look_at_all(&mut self, errand: &Errand<'_>, seen: &mut Seen) -> anyhow::Result<()> {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            bail!("an earlier look at containers was given up, and has not ended");
        }
        let (config, mode) = (Arc::clone(errand.config), errand.mode);
        let sighted = self.wait_for(spawn_blocking(move || {
            let how = config.containers.as_ref().context("containers are not looked at")?;
            Ok(sight(&config, how, mode)?)
        }));
        let sighted: Sighted = sighted.await.flatten()?;
        seen.told.gaps.clone_from(&sighted.gaps);
        self.see_to_images(errand, &sighted).await;
        self.look_at_each(errand, sighted, seen).await
    }

    async fn wait_for<T>(&mut self, work: JoinHandle<T>) -> anyhow::Result<T> {
        self.thread = Some(work.abort_handle());
        let ended = timeout(STALLED_AFTER, work).await.context(GIVEN_UP)?;
        ended.context("the look at containers broke off")
    }

    async fn see_to_images(&mut self, errand: &Errand<'_>, sighted: &Sighted) {
        let images = sighted.images_without_manifest();
        if let Some(client) = errand.client {
            self.images.refresh(&images, errand.mode, client, &errand.config.trust).await;
        }
        if errand.mode == SweepMode::Full
            && let Err(error) = self.images.tidy(&images, SystemTime::now())
        {
            error!("cannot tidy up {}: {error}", self.images.directory().display());
        }
    }

    async fn look_at_each(
        &mut self,
        errand: &Errand<'_>,
        sighted: Sighted,
        seen: &mut Seen,
    ) -> anyhow::Result<()> {
        let (config, mode) = (Arc::clone(errand.config), errand.mode);
        let (kept, counters) = (self.images.directory().to_owned(), Arc::new(Counters::default()));
        // No more than one waits: each may be large.
        let (give, mut given) = mpsc::channel(1);
        let work = spawn_blocking({
            let counters = Arc::clone(&counters);
            move || {
                verify(&config, sighted, &kept, mode, &counters, |reported| {
                    give.blocking_send(reported).is_ok()
                })
            }
        });
        self.thread = Some(work.abort_handle());
        while let Some(reported) = next(&mut given, &counters).await? {
            self.take(&reported, errand, seen);
            if errand.config.collector.is_some() {
                // Who takes it ends only with the process.
                let _ = errand.send.send(made(reported, errand.facts)).await;
            }
        }
        work.await.context("the look at containers broke off")?
    }

    /// Notes what a container came to. What stands as it did is logged at full looks.
    fn take(&self, reported: &Reported, errand: &Errand<'_>, seen: &mut Seen) {
        let (state, id) = (reported.state(), &reported.container.identity.id);
        seen.told.running.push(id.clone());
        seen.noted.count(state);
        if state == State::Congruent {
            return;
        }
        seen.states.insert(id.clone(), state);
        if errand.mode == SweepMode::Full || self.logged.get(id) != Some(&state) {
            let has_collector = errand.config.collector.is_some();
            report_log::container(state, &reported.outcome, &reported.container, has_collector);
        }
    }
}

/// What goes to the courier.
fn made(Reported { outcome, container }: Reported, facts: &Facts) -> Made {
    let container = Some(Box::new(container));
    Made { outcome, facts: facts.clone(), first_values: 0, container, containers: None }
}

/// The next report of a look; none at its end.
async fn next(given: &mut mpsc::Receiver<Reported>, counters: &Counters) -> anyhow::Result<Option<Reported>> {
    let progress = || (counters.entries(), counters.bytes());
    let mut before = progress();
    loop {
        if let Ok(reported) = timeout(STALLED_AFTER, given.recv()).await {
            return Ok(reported);
        }
        let now = progress();
        ensure!(now != before, GIVEN_UP);
        before = now;
    }
}
