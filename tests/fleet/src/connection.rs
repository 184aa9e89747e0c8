//! A kept connection: mutual TLS 1.3, and HTTP on it. What the answers mean is not
//! known here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::way::Place;

/// How long a connection, and an answer, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);
/// The most that is read of an answer.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// The header that says why something is changed.
const REASON: &str = "congruent-reason";
/// What zstd packs with, as agents do.
const ZSTD_LEVEL: i32 = 3;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no TLS: {0}")]
    Tls(String),
    #[error("no HTTP: {0}")]
    Http(String),
    #[error("no answer in time")]
    Slow,
}

impl Trouble {
    /// The word that it is counted under.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Connect(_) => "no-connection",
            Self::Tls(_) => "no-tls",
            Self::Http(_) => "connection-lost",
            Self::Slow => "timeout",
        }
    }
}

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    bytes: Bytes,
    is_packed: bool,
}

impl Body {
    /// As it is.
    pub(crate) fn plain(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), is_packed: false }
    }

    /// Compressed, as agents send all that they send: byte for byte, since how it is
    /// framed decides what it costs to unpack.
    pub(crate) fn packed(bytes: &[u8]) -> Self {
        let packed = zstd::encode_all(bytes, ZSTD_LEVEL).expect("memory never fails to read");
        Self { bytes: packed.into(), is_packed: true }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// How long it asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// A connection, open until dropped.
pub(crate) struct Connection {
    sender: Sender,
    authority: String,
}

impl Connection {
    /// Connects, for the node with this number, within a time.
    pub(crate) async fn open(place: &Place, number: usize, tls: Arc<ClientConfig>) -> Result<Self, Trouble> {
        timeout(CONNECT_TIMEOUT, Self::shake_hands(place, number, tls)).await.unwrap_or(Err(Trouble::Slow))
    }

    async fn shake_hands(place: &Place, number: usize, tls: Arc<ClientConfig>) -> Result<Self, Trouble> {
        let refused = |error: std::io::Error| Trouble::Connect(error.to_string());
        let stream = place.dial(number).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let stream = TlsConnector::from(tls).connect(place.name(), stream).await;
        let stream = stream.map_err(|error| Trouble::Tls(error.to_string()))?;
        let is_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let stream = TokioIo::new(stream);
        let no_http = |error: hyper::Error| Trouble::Http(error.to_string());
        let sender = if is_two {
            let (sender, serving) = http2::handshake(TokioExecutor::new(), stream).await.map_err(no_http)?;
            // How it ended is told to whoever sends next.
            tokio::spawn(async move { drop(serving.await) });
            Sender::Two(sender)
        } else {
            let (sender, serving) = http1::handshake(stream).await.map_err(no_http)?;
            tokio::spawn(async move { drop(serving.await) });
            Sender::One(sender)
        };
        Ok(Self { sender, authority: place.authority.clone() })
    }

    /// Posts a body.
    pub(crate) async fn post(&mut self, path: &str, body: Body) -> Result<Answer, Trouble> {
        let mut request = self.request(Method::POST, path).header(CONTENT_TYPE, "application/json");
        if body.is_packed {
            request = request.header(CONTENT_ENCODING, "zstd");
        }
        self.send(request.body(Full::new(body.bytes))).await
    }

    /// Asks as an operator.
    pub(crate) async fn ask(&mut self, path: &str, token: &str) -> Result<Answer, Trouble> {
        let request = self.request(Method::GET, path).header(AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Full::default())).await
    }

    /// Changes something as an operator, for the reason that a fleet is simulated.
    pub(crate) async fn change(
        &mut self,
        path: &str,
        token: &str,
        wanted: &serde_json::Value,
    ) -> Result<Answer, Trouble> {
        let request = self
            .request(Method::POST, path)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json")
            .header(REASON, "a fleet is simulated");
        self.send(request.body(Full::new(wanted.to_string().into()))).await
    }

    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let request = Request::builder()
            .method(method)
            .header(ACCEPT, "*/*")
            .header(USER_AGENT, concat!("congruent/", env!("CARGO_PKG_VERSION")));
        match self.sender {
            Sender::One(_) => request.uri(path).header(HOST, &self.authority),
            Sender::Two(_) => request.uri(format!("https://{}{path}", self.authority)),
        }
    }

    async fn send(
        &mut self,
        request: Result<Request<Full<Bytes>>, hyper::http::Error>,
    ) -> Result<Answer, Trouble> {
        let request = request.map_err(|error| Trouble::Http(error.to_string()))?;
        timeout(ANSWER_TIMEOUT, self.exchange(request)).await.unwrap_or(Err(Trouble::Slow))
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Trouble> {
        let lost = |error: hyper::Error| Trouble::Http(error.to_string());
        let response = match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await.map_err(lost)?;
                sender.send_request(request).await.map_err(lost)?
            }
            Sender::Two(sender) => {
                sender.ready().await.map_err(lost)?;
                sender.send_request(request).await.map_err(lost)?
            }
        };
        let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| Trouble::Http(error.to_string()))?.to_bytes();
        Ok(Answer { status, retry_after, body })
    }
}

/// The seconds of `Retry-After`.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
