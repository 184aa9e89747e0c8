//! A port: accepts connections, makes TLS where it is spoken, and serves each to
//! its end.
//!
//! Handshakes happen in tasks of their own, with a limit of time, so that who is
//! slow holds up nobody else; so do heads of requests. How many connections there
//! may be at once is bounded for each port on its own, so that nodes never keep
//! operators out; and for each address, so that none keeps the others out.

mod share;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
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
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use crate::identity::Peer;
use crate::serve::stopped;

use share::Shares;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
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
    pub(crate) async fn serve(self, mut stop: watch::Receiver<bool>) {
        let (room, shares) = (Arc::new(Semaphore::new(self.room)), Shares::of(self.room));
        let acceptor = self.tls.map(TlsAcceptor::from);
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = stopped(&mut stop) => break,
                accepted = accept(&self.listener, &room) => accepted,
            };
            let Some((stream, address, permit)) = accepted else { continue };
            let Some(place) = shares.take(address.ip()) else { continue };
            let (acceptor, router, watcher) = (acceptor.clone(), self.router.clone(), graceful.watcher());
            let mut stop = stop.clone();
            tokio::spawn(async move {
                // A handshake under way is not waited for when the collector stops.
                let shaken = tokio::select! {
                    () = stopped(&mut stop) => None,
                    shaken = shake_hands(stream, address, acceptor) => shaken,
                };
                match shaken {
                    Some(Shaken::Plain(stream, connection)) => {
                        serve_connection(stream, connection, router, watcher).await;
                    }
                    Some(Shaken::Tls(stream, connection)) => {
                        serve_connection(*stream, connection, router, watcher).await;
                    }
                    None => {}
                }
                drop((place, permit));
            });
        }
        graceful.shutdown().await;
    }
}

type Permit = tokio::sync::OwnedSemaphorePermit;

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<(TcpStream, SocketAddr, Permit)> {
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
    acceptor: Option<TlsAcceptor>,
) -> Option<Shaken> {
    // Answers are small and whole; waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return Some(Shaken::Plain(stream, Connection { address, peer: None }));
    };
    let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(failure)) => {
            debug!(%address, "no TLS came about: {failure}");
            return None;
        }
        Err(_) => {
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

async fn serve_connection<S>(stream: S, connection: Connection, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = connection.address;
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        let answering = router.call(request);
        async move { answering.await as Result<Response, Infallible> }
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
        let port = Port { listener, tls: None, router: Router::new(), room: 128 };
        let serving = tokio::spawn(port.serve(stopping));
        let mut greedy = Vec::new();
        for _ in 0..64 {
            greedy.push(connect("127.0.0.2", address).await);
        }
        assert_eq!(answer(connect("127.0.0.2", address).await).await, "");
        assert!(answer(connect("127.0.0.3", address).await).await.starts_with("HTTP/1.1 404"));
        assert!(answer(greedy.remove(0)).await.starts_with("HTTP/1.1 404"), "what it had stays");
        drop(greedy);
        stop.send_replace(true);
        serving.await.unwrap();
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
