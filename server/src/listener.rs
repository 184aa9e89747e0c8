//! A port: accepts connections, makes TLS where it is spoken, and serves each to
//! its end.
//!
//! Handshakes happen in tasks of their own, with a limit of time, so that who is
//! slow holds up nobody else; so do heads of requests. How many connections there
//! may be at once is bounded for each port on its own, so that nodes never keep
//! operators out.

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
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::identity::Peer;
use crate::serve::stopped;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a silent HTTP/2 connection is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How many connections a port has at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 8192;
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
}

impl Port {
    /// Serves until the collector stops, and what is under way to its end.
    pub(crate) async fn serve(self, mut stop: watch::Receiver<bool>) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let acceptor = self.tls.map(TlsAcceptor::from);
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = stopped(&mut stop) => break,
                accepted = accept(&self.listener, &room) => accepted,
            };
            let Some((stream, address, permit)) = accepted else { continue };
            let (acceptor, router, watcher) = (acceptor.clone(), self.router.clone(), graceful.watcher());
            tokio::spawn(async move {
                serve_stream(stream, address, acceptor, router, watcher).await;
                drop(permit);
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

async fn serve_stream(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    watcher: Watcher,
) {
    // Answers are small and whole; waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return serve_connection(stream, Connection { address, peer: None }, router, watcher).await;
    };
    let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(failure)) => return debug!(%address, "no TLS came about: {failure}"),
        Err(_) => return debug!(%address, "the TLS handshake took too long"),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = match certificate.map(Peer::of).transpose() {
        Ok(peer) => peer.map(Arc::new),
        // What verified names a node, so that this does not happen.
        Err(failure) => return warn!(%address, "cannot read a certificate that verified: {failure}"),
    };
    serve_connection(stream, Connection { address, peer }, router, watcher).await;
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
