//! The running collector: puts the parts together, and takes them apart again.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::apart::Apart;
use crate::api::Api;
use crate::blobs::{BlobError, BlobName, Blobs};
use crate::clock::Clock;
use crate::computing::Computing;
use crate::config::Config;
use crate::dispatch::WebhookDriver;
use crate::duties::Duties;
use crate::groups::{self, EditError, GroupEditor};
use crate::identity::{Authority, AuthorityError, Enroller, JoinTokens, Tls, TlsError};
use crate::ingest::{Arrived, Ingest};
use crate::judge::{Signals, reconcile};
use crate::leader::Leader;
use crate::listener::{Port, Room};
use crate::liveness;
use crate::metrics::Metrics;
use crate::operators::Operators;
use crate::policy::{Policy, PolicyError};
use crate::scope::Scope;
use crate::sharing::{InMemory, watch_others};
use crate::store::{EnrolmentRow, OperatorRow, Store, StoreError};
use crate::supervisor;

/// How long requests and deliveries under way may take when the collector stops.
const DRAIN: Duration = Duration::from_secs(10);

/// How long requests are still taken once the collector is to stop, beside what the
/// configuration says: callers that keep their connections learn by their next answer.
const LINGER: Duration = Duration::from_millis(300);

/// Why the collector did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("cannot listen on {address}; stop what uses it, or give another `{key}`")]
    Listen {
        key: &'static str,
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot load the policy")]
    Policy(#[source] PolicyError),
    #[error("cannot use the certificate authority")]
    Authority(#[source] AuthorityError),
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
    #[error("cannot use the store")]
    Store(#[source] StoreError),
    #[error("the groups cannot be used")]
    Groups(#[source] EditError),
    #[error("cannot use the place where manifests and large reports are kept")]
    Blobs(#[source] BlobError),
    #[error("cannot make an HTTP client for webhooks")]
    Client(#[source] reqwest::Error),
    #[error("cannot start the runtime that answers operators")]
    Runtime(#[source] std::io::Error),
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    #[error(
        "the database cannot be relied on: its disk failed (the log says how); when that is mended, start the \
         collector again: nodes send what was not acknowledged"
    )]
    StoreFailed,
    #[error(
        "a second signal came before everything under way had come to its end; what was acknowledged is kept, and \
         nodes send the rest again"
    )]
    Hurried,
    #[error("a part of the collector ended by itself; this is a bug, and its log lines tell more")]
    Ended,
}

/// A collector that accepts requests.
pub(crate) struct Collector {
    url: String,
    agents_url: Option<String>,
    draining: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    drain_delay: Duration,
    store: Store,
    parts: JoinSet<()>,
    /// Where operators are answered.
    _apart: Apart,
    /// What a test's node is answered from, without TLS.
    #[cfg(test)]
    pub(crate) api: Arc<Api>,
}

/// Sets what makes TLS, once for the process.
pub(crate) fn install_crypto() {
    // Only a second call can fail, and then it is set.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The policy that the configuration names, or the one that is shipped.
pub(crate) fn load_policy(config: &Config) -> Result<Policy, ServeError> {
    match &config.policy {
        Some(folder) => Policy::from_directory(folder),
        None => Policy::embedded(),
    }
    .map_err(ServeError::Policy)
}

/// Completes when the collector is to stop, also when it has already gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The guard that this gives must not live on while others are awaited.
    let _ = stop.wait_for(|stop| *stop).await.is_ok();
}

/// How far the collector is on its way out.
#[derive(Clone)]
pub(crate) struct Phases {
    /// It is to stop, and takes requests for a while yet.
    pub(crate) draining: watch::Receiver<bool>,
    /// What is under way comes to its end, and nothing else begins.
    pub(crate) stop: watch::Receiver<bool>,
}

/// The signals by which the process is asked to stop.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Takes them, from now on.
    pub(crate) fn take() -> Result<Self, ServeError> {
        let take = |kind| signal(kind).map_err(ServeError::Signals);
        Ok(Self { terminate: take(SignalKind::terminate())?, interrupt: take(SignalKind::interrupt())? })
    }

    /// Completes when the next comes.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Collector {
    /// Starts every part; once this returns, requests are accepted.
    pub(crate) async fn start(config: Config, clock: Clock) -> Result<Self, ServeError> {
        let config = Arc::new(config);
        let policy = Arc::new(load_policy(&config)?);
        let driver = Arc::new(WebhookDriver::new(Arc::clone(&config)).map_err(ServeError::Client)?);
        let store = Store::open(&config.database).map_err(ServeError::Store)?;
        let metrics = Metrics { store: store.metrics(), ..Metrics::default() };
        // Nodes never keep operators waiting for a read, nor operators them.
        let nodes_store = store.reading_apart();
        let blobs = open_blobs(&config).await?;
        let (arrived, signals) = (Arc::<Arrived>::default(), Signals::default());
        let operators = Arc::<Operators>::default();
        if store.is_shared() {
            let in_memory = InMemory {
                config: Arc::clone(&config),
                operators: Arc::clone(&operators),
                liveness: Arc::clone(&arrived.liveness),
                blobs: blobs.clone(),
                signals: signals.clone(),
                runtime: Handle::current(),
            };
            store.share(Box::new(in_memory)).await.map_err(ServeError::Store)?;
        }
        store.keep_bodies_in(blobs.clone());
        load_groups(&store, &config, &blobs).await?;
        tell_missing(&store, &blobs).await?;
        let known = store.read("read the operators", OperatorRow::all).await;
        known.map_err(ServeError::Store)?.into_iter().for_each(|row| operators.put(row));
        prepare(&store, &config, &policy, &clock).await.map_err(ServeError::Store)?;
        let authority = load_authority(&store, &config, &clock).await?;
        let (listener, address) = bind("listen", config.listen).await?;
        let agents = match config.identity.agents_listen {
            Some(address) => Some(bind("agents-listen", address).await?),
            None => None,
        };
        let listens: Vec<_> = [address].into_iter().chain(agents.as_ref().map(|(_, at)| *at)).collect();
        let tls = authority.as_ref().map(|authority| {
            let names = config.identity.all_names(&listens);
            Tls::new(authority, names, config.identity.grace, Arc::clone(&clock))
        });
        let tls = tls.transpose().map_err(ServeError::Tls)?;
        let agents_url = agents.as_ref().map(|(_, at)| config.identity.url_of_agents(*at));
        let scheme = if config.identity.tls { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        let enroller = authority.zip(agents_url.clone()).map(|(authority, agents_url)| Enroller {
            config: Arc::clone(&config),
            store: nodes_store.clone(),
            clock: Arc::clone(&clock),
            authority,
            join: Box::new(JoinTokens { store: nodes_store.clone(), clock: Arc::clone(&clock) }),
            agents_url,
        });
        let computing = Computing::default();
        let (draining, is_draining) = watch::channel(false);
        let (stop, stopping) = watch::channel(false);
        let phases = Phases { draining: is_draining.clone(), stop: stopping.clone() };
        let duties = Duties {
            config: Arc::clone(&config),
            policy: Arc::clone(&policy),
            clock: Arc::clone(&clock),
            driver,
            signals: signals.clone(),
            liveness: Arc::clone(&arrived.liveness),
            fresh: Arc::clone(&arrived.fresh),
            metrics: metrics.clone(),
            computing: computing.clone(),
        };
        let leader = Leader {
            store: store.clone(),
            holder: uuid::Uuid::new_v4().simple().to_string(),
            leading: metrics.leading.clone(),
        };
        let groups = GroupEditor {
            config: Arc::clone(&config),
            store: store.clone(),
            blobs,
            clock: Arc::clone(&clock),
            policy,
            signals: signals.clone(),
        };
        let (speaks_tls, drain_delay) = (config.identity.tls, config.drain_delay);
        let flushing = liveness::flush(
            Arc::clone(&arrived.liveness),
            store.clone(),
            metrics.liveness.clone(),
            stopping.clone(),
        );
        let (operators_port, agents_port) = (metrics.operators_port.clone(), metrics.agents_port.clone());
        let (judge, budget) = (signals.report, Arc::clone(&signals.budget));
        let ingest = Ingest { config, store: nodes_store, clock, judge, budget, arrived, metrics, computing };
        let api = Arc::new(Api::new(ingest, groups, operators, enroller, signals.budget, is_draining));
        let operators_tls = tls.as_ref().filter(|_| speaks_tls).map(|tls| Arc::clone(&tls.operators));
        let room = Room::make();
        api.tell_capacity("operators", room.operators);
        let router = api.router();
        let apart = Apart::start().map_err(ServeError::Runtime)?;
        let listener = apart.take(listener).map_err(ServeError::Runtime)?;
        let port =
            Port { listener, tls: operators_tls, router, room: room.operators, metrics: operators_port };
        let mut parts = JoinSet::new();
        parts.spawn(leader.run(stopping.clone(), move |term| duties.begin(term)));
        parts.spawn(watch_others(store.clone(), stopping.clone()));
        parts.spawn(flushing);
        parts.spawn_on(port.serve(phases.clone()), apart.handle());
        if let Some(((listener, _), tls)) = agents.zip(tls) {
            let router = api.agents_router();
            api.tell_capacity("agents", room.nodes);
            let (tls, room) = (Some(tls.agents), room.nodes);
            let port = Port { listener, tls, router, room, metrics: agents_port };
            parts.spawn(port.serve(phases));
        }
        info!(url, agents_url, "collector ready");
        Ok(Self {
            url,
            agents_url,
            draining,
            stop,
            drain_delay,
            store,
            parts,
            _apart: apart,
            #[cfg(test)]
            api,
        })
    }

    /// Where it listens for operators and enrolment.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens for enrolled nodes.
    pub(crate) fn agents_url(&self) -> Option<&str> {
        self.agents_url.as_deref()
    }

    /// What it knows.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Runs until the first signal, then lets what is under way come to its end; a
    /// second signal ends that at once.
    pub(crate) async fn run(self, mut signals: StopSignals) -> Result<(), ServeError> {
        let (told, hurry) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (first, second) = (Arc::clone(&told), Arc::clone(&hurry));
        tokio::spawn(async move {
            signals.next().await;
            first.notify_one();
            signals.next().await;
            second.notify_one();
        });
        tokio::select! {
            ended = self.run_until(async move { told.notified().await }) => ended,
            () = hurry.notified() => Err(ServeError::Hurried),
        }
    }

    /// Runs until `stop` completes, then lets what is under way come to its end.
    pub(crate) async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        tokio::select! {
            () = stop => {}
            () = self.store.stopped() => return Err(ServeError::StoreFailed),
            // A part that ends before it was told to leaves the rest unwatched.
            _ = self.parts.join_next() => return Err(ServeError::Ended),
        }
        info!("stopping");
        // Not ready first, so that nobody is sent here any more.
        self.draining.send_replace(true);
        supervisor::stopping();
        sleep(self.drain_delay + LINGER).await;
        self.stop.send_replace(true);
        let drained = timeout(DRAIN, async { while self.parts.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            warn!("stopped before everything under way had come to its end");
        }
        Ok(())
    }
}

/// Puts the groups of the store beside those of the configuration.
async fn load_groups(store: &Store, config: &Arc<Config>, blobs: &Blobs) -> Result<(), ServeError> {
    let rows = store.read("read the groups", groups::stored).await.map_err(ServeError::Store)?;
    groups::load(&rows, config, blobs).await.map_err(ServeError::Groups)
}

/// Says what is on record and has no blob: manifests, none of a group, which would not have
/// been loaded, but a group may be to accept them; and bodies of reports.
async fn tell_missing(store: &Store, blobs: &Blobs) -> Result<(), ServeError> {
    let known = store.read("read the manifests", |view| view.manifests(usize::MAX >> 1)).await;
    let mut missing: BTreeMap<_, _> = known
        .map_err(ServeError::Store)?
        .into_iter()
        .filter(|row| row.withdrawn_at.is_none())
        .map(|row| (BlobName::manifest(row.digest), row.root))
        .collect();
    let there = blobs.list().await.map_err(ServeError::Blobs)?;
    for name in &there {
        missing.remove(name);
    }
    for (name, root) in missing {
        warn!(%name, %root, "an imported manifest is missing; restore it from a backup, or import it again");
    }
    store.tell_missing_bodies(&there).await.map_err(ServeError::Store)
}

/// Where manifests and large reports are kept, which must take writes.
pub(crate) async fn open_blobs(config: &Config) -> Result<Blobs, ServeError> {
    let blobs = Blobs::open(&config.blobs).map_err(ServeError::Blobs)?;
    blobs.probe().await.map_err(ServeError::Blobs)?;
    Ok(blobs)
}

/// What must be so before the first request: what is configured is on record,
/// and every node is known.
async fn prepare(
    store: &Store,
    config: &Arc<Config>,
    policy: &Policy,
    clock: &Clock,
) -> Result<(), StoreError> {
    config.nodes.load(&store.read("read the enrolments", EnrolmentRow::all).await?);
    let (scope, config, now) = (Scope::of(config, &config.groups.all(), policy), Arc::clone(config), clock());
    let preparing = store.write("prepare the store", move |tx| {
        tx.record_scope(now, &scope)?;
        reconcile(tx, &config, now)
    });
    preparing.await
}

/// The authority, where one is needed; made at the first start.
async fn load_authority(
    store: &Store,
    config: &Config,
    clock: &Clock,
) -> Result<Option<Arc<Authority>>, ServeError> {
    if !config.identity.needs_authority() {
        return Ok(None);
    }
    let has_nodes = store.read("look for enrolments", EnrolmentRow::is_any).await;
    let has_nodes = has_nodes.map_err(ServeError::Store)?;
    let authority = Authority::load_or_make(&config.identity.authority, has_nodes, clock());
    let authority = authority.map_err(ServeError::Authority)?;
    info!(fingerprint = authority.fingerprint(), "the certificate authority is ready");
    Ok(Some(Arc::new(authority)))
}

/// Holds the authority's files to what they are to be. Where there are none yet,
/// they are made at the first start.
pub(crate) fn check_authority(config: &Config, now: Timestamp) -> Result<(), ServeError> {
    let files = &config.identity.authority;
    if config.identity.needs_authority() && (files.is_given || files.key.exists()) {
        Authority::load(files, now).map_err(ServeError::Authority)?;
    }
    Ok(())
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { key, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

pub(crate) fn new_action_id() -> String {
    format!("act_{}", uuid::Uuid::new_v4().simple())
}

/// A number from 0 to 1, for jitter.
pub(crate) fn random() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        // Without randomness deliveries meet, which does no harm.
        Err(_) => 0.5,
    }
}
