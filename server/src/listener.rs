//! A port: accepts connections, makes TLS where it is spoken, and serves each to
//! its end.
//!
//! Handshakes happen in tasks of their own, with a limit of time, so that who is
//! slow holds up nobody else; so do heads of requests. How many connections there
//! may be at once is bounded for each port on its own, so that nodes never keep
//! operators out; and for each address, so that none keeps the others out.

mod share;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Version, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use crate::identity::Peer;
use crate::metrics;
use crate::serve::{Phases, stopped};

use share::Shares;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many handshakes are made at once: whoever has its connection sends what it has while
/// others wait, so that those who come all at once do not send all at once. One that takes
/// longer than its turn goes on, and others begin.
const HANDSHAKES_AT_ONCE: usize = 64;
const HANDSHAKE_TURN: Duration = Duration::from_millis(500);
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a silent HTTP/2 connection is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// The most connections that a port of operators and one of nodes have at once,
/// however many descriptors there are; more wait to be accepted.
const MAX_OPERATORS: usize = 1024;
const MAX_NODES: usize = 65_536;
/// The fewest, so that anything works at all.
const MIN_CONNECTIONS: usize = 16;
/// How long handshakes under way, and connections that were just accepted, are given
/// when the collector stops: until their first request is there.
const SETTLE: Duration = Duration::from_millis(200);
/// How long to wait when no connection can be accepted, as without descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What is known of a connection: in the extensions of each request on it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// Where it comes from.
    pub(crate) address: SocketAddr,
    /// The node at the other end, by its certificate.
    pub(crate) peer: Option<Arc<Peer>>,
}

/// A port that listens.
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    /// None where it speaks plain HTTP.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) router: Router,
    /// How many connections it has at once.
    pub(crate) room: usize,
    pub(crate) metrics: metrics::Port,
}

/// How many connections each kind of port has room for.
pub(crate) struct Room {
    pub(crate) operators: usize,
    pub(crate) nodes: usize,
}

impl Room {
    /// Lets the process have as many descriptors as it may, and shares them out.
    /// What is left is for the store, and for webhooks.
    pub(crate) fn make() -> Self {
        let limit = getrlimit(Resource::Nofile);
        // Where it may not be raised, the one that stands is shared out.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::of(usize::try_from(descriptors).unwrap_or(usize::MAX))
    }

    fn of(descriptors: usize) -> Self {
        Self {
            operators: (descriptors / 8).clamp(MIN_CONNECTIONS, MAX_OPERATORS),
            nodes: (descriptors / 2).clamp(MIN_CONNECTIONS, MAX_NODES),
        }
    }
}

impl Port {
    /// Serves until the collector stops, and what is under way to its end.
    ///
    /// While the phase is draining, requests are answered as ever, and each HTTP/1
    /// connection is closed after its answer, so that none is closed between a request
    /// and its answer.
    pub(crate) async fn serve(self, phases: Phases) {
        let Self { listener, tls, router, room, metrics } = self;
        let (shares, acceptor) = (Shares::of(room), tls.map(TlsAcceptor::from));
        let turns = Arc::new(Semaphore::new(HANDSHAKES_AT_ONCE));
        let door =
            Door { shares, acceptor, turns, router, metrics, graceful: GracefulShutdown::new(), phases };
        let (room, mut stop) = (Arc::new(Semaphore::new(room)), door.phases.stop.clone());
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                accepted = accept(&listener, &room) => accepted.into_iter().for_each(|one| door.take(one)),
            }
        }
        // Whoever has connected by now is served as well.
        accept_waiting(listener, &room, |one| door.take(one));
        sleep(SETTLE).await;
        door.graceful.shutdown().await;
    }
}

/// What a connection needs once it is accepted.
struct Door {
    shares: Shares,
    acceptor: Option<TlsAcceptor>,
    /// Turns at handshakes.
    turns: Arc<Semaphore>,
    router: Router,
    metrics: metrics::Port,
    graceful: GracefulShutdown,
    phases: Phases,
}

impl Door {
    /// Serves a connection in a task of its own, unless its address has its share.
    fn take(&self, (stream, address, permit): Accepted) {
        let Some(place) = self.shares.take(address.ip()) else {
            self.metrics.over_share.inc();
            return;
        };
        let open = Open::one_more(&self.metrics);
        let acceptor = self.acceptor.clone().map(|acceptor| (acceptor, Arc::clone(&self.turns)));
        let handshake = shake_hands(stream, address, acceptor, self.metrics.clone());
        let (router, watcher, mut phases) =
            (self.router.clone(), self.graceful.watcher(), self.phases.clone());
        tokio::spawn(async move {
            let shaken = tokio::select! {
                () = long_stopped(&mut phases.stop) => None,
                shaken = handshake => shaken,
            };
            match shaken {
                Some(Shaken::Plain(stream, connection)) => {
                    serve_connection(stream, connection, router, watcher, phases.draining).await;
                }
                Some(Shaken::Tls(stream, connection)) => {
                    serve_connection(*stream, connection, router, watcher, phases.draining).await;
                }
                None => {}
            }
            drop((place, permit, open));
        });
    }
}

/// Takes those that have connected and wait to be accepted, and closes the port.
fn accept_waiting(listener: TcpListener, room: &Arc<Semaphore>, mut take: impl FnMut(Accepted)) {
    // Asked of the kernel itself: the runtime may not have heard of the last ones yet.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok(permit) = Arc::clone(room).try_acquire_owned() {
        let Ok((stream, address)) = listener.accept() else { return };
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            take((stream, address, permit));
        }
    }
}

/// Completes some time after the collector has stopped.
async fn long_stopped(stop: &mut watch::Receiver<bool>) {
    stopped(stop).await;
    sleep(SETTLE).await;
}

/// A connection that is counted as open until this is dropped.
struct Open(metrics::Port);

impl Open {
    fn one_more(metrics: &metrics::Port) -> Self {
        metrics.open.inc();
        Self(metrics.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.dec();
    }
}

/// A connection, where it comes from, and its place in the port's room.
type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit);

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => Some((stream, address, permit)),
        Err(failure) => {
            warn!("cannot accept a connection: {failure}");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// A connection on which requests may come.
enum Shaken {
    Plain(TcpStream, Connection),
    Tls(Box<TlsStream<TcpStream>>, Connection),
}

/// Makes TLS, where it is spoken; none where it did not come about.
async fn shake_hands(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<(TlsAcceptor, Arc<Semaphore>)>,
    metrics: metrics::Port,
) -> Option<Shaken> {
    // Answers are small and whole; waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let Some((acceptor, turns)) = acceptor else {
        return Some(Shaken::Plain(stream, Connection { address, peer: None }));
    };
    let stream = match accept_tls(stream, acceptor, turns).await {
        Ok(Ok(stream)) => {
            metrics.handshakes.inc();
            stream
        }
        Ok(Err(failure)) => {
            metrics.handshakes_failed.inc();
            debug!(%address, "no TLS came about: {failure}");
            return None;
        }
        Err(_) => {
            metrics.handshakes_timed_out.inc();
            debug!(%address, "the TLS handshake took too long");
            return None;
        }
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    match certificate.map(Peer::of).transpose() {
        Ok(peer) => {
            let peer = peer.map(Arc::new);
            Some(Shaken::Tls(Box::new(stream), Connection { address, peer }))
        }
        // What verified names a node, so that this does not happen.
        Err(failure) => {
            warn!(%address, "cannot read a certificate that verified: {failure}");
            None
        }
    }
}

/// Makes TLS, when it is its turn.
async fn accept_tls(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    turns: Arc<Semaphore>,
) -> Result<io::Result<TlsStream<TcpStream>>, Elapsed> {
    // Who says nothing takes nobody's turn.
    if let Err(failure) = timeout(HANDSHAKE_TIMEOUT, stream.readable()).await? {
        return Ok(Err(failure));
    }
    let turn = turns.acquire_owned().await;
    let accepting = async move {
        let mut accepting = acceptor.accept(stream);
        if let Ok(accepted) = timeout(HANDSHAKE_TURN, &mut accepting).await {
            return accepted;
        }
        drop(turn);
        accepting.await
    };
    timeout(HANDSHAKE_TIMEOUT, accepting).await
}

async fn serve_connection<S>(
    stream: S,
    connection: Connection,
    router: Router,
    watcher: Watcher,
    draining: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = connection.address;
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        let (version, draining) = (request.version(), draining.clone());
        let answering = router.call(request);
        async move {
            let mut response: Response = match answering.await as Result<Response, Infallible> {
                Ok(response) => response,
                Err(never) => match never {},
            };
            // HTTP/2 has a frame for this, which the graceful end sends.
            if version < Version::HTTP_2 && *draining.borrow() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(failure) = watcher.watch(serving.into_owned()).await {
        debug!(%address, "a connection ended: {failure}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    use super::*;

    async fn connect(from: &str, to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        socket.connect(to).await.unwrap()
    }

    /// What comes back on a connection for a request; nothing where it is closed.
    async fn answer(mut stream: TcpStream) -> String {
        let mut text = String::new();
        let asking = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let _ = asking.await;
        let _ = stream.read_to_string(&mut text).await;
        text
    }

    #[tokio::test]
    async fn one_address_keeps_no_other_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let metrics = metrics::Port::default();
        let port = Port { listener, tls: None, router: Router::new(), room: 128, metrics: metrics.clone() };
        let phases = Phases { draining: stopping.clone(), stop: stopping };
        let serving = tokio::spawn(port.serve(phases));
        let mut greedy = Vec::new();
        for _ in 0..64 {
            greedy.push(connect("127.0.0.2", address).await);
        }
        assert_eq!(answer(connect("127.0.0.2", address).await).await, "");
        assert!(answer(connect("127.0.0.3", address).await).await.starts_with("HTTP/1.1 404"));
        assert!(answer(greedy.remove(0)).await.starts_with("HTTP/1.1 404"), "what it had stays");
        assert!(metrics.open.get() >= 63 && metrics.over_share.get() == 1, "{metrics:?}");
        drop(greedy);
        stop.send_replace(true);
        serving.await.unwrap();
        assert_eq!(metrics.open.get(), 0);
    }

    #[test]
    fn nodes_never_take_the_descriptors_of_operators() {
        for (descriptors, operators, nodes) in
            [(0, 16, 16), (1024, 128, 512), (524_288, 1024, 65_536), (usize::MAX, 1024, 65_536)]
        {
            let room = Room::of(descriptors);
            assert_eq!((room.operators, room.nodes), (operators, nodes), "{descriptors}");
        }
    }
}
