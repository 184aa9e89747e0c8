//! A receiver of webhooks as a platform team would write one: it records each
//! delivery, checks its signature, and answers as it is told to.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use congruent_protocol::action::Order;

use crate::http::Message;
use crate::signature::WebhookSecret;
use crate::wait::PATIENCE;

/// How the receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With this status.
    Status(u16),
    /// Not at all; the connection stays open until the receiver ends.
    Hang,
}

/// One delivery, as it came.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: String,
    /// `webhook-signature`.
    pub signature: String,
    /// `content-type`.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
    /// What is wrong with the signature, if anything is.
    pub fault: Option<String>,
}

impl Delivery {
    /// The order in the body.
    ///
    /// # Errors
    /// When the body is not an order.
    pub fn order(&self) -> Result<Order> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not an order: {}", String::from_utf8_lossy(&self.body)))
    }
}

struct Shared {
    secret: WebhookSecret,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    answer: Answer,
    deliveries: Vec<Delivery>,
    /// Connections that are left without an answer.
    hanging: Vec<TcpStream>,
    stopped: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server thread on the loopback.
pub struct WebhookReceiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl WebhookReceiver {
    /// Starts one on a port of the kernel's choice.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(secret: WebhookSecret, answer: Answer) -> Result<Self> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), secret, answer)
    }

    /// Starts one on `address`.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn start_on(address: SocketAddr, secret: WebhookSecret, answer: Answer) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr().context("the listener has no address")?;
        let state = State { answer, deliveries: Vec::new(), hanging: Vec::new(), stopped: false };
        let shared = Arc::new(Shared { secret, state: Mutex::new(state), changed: Condvar::new() });
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || serve(&listener, &shared)
        });
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to deliver to.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers differently from now on.
    pub fn set_answer(&self, answer: Answer) {
        self.shared.state().answer = answer;
    }

    /// Every delivery so far.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.state().deliveries.clone()
    }

    /// Waits until there have been `count` deliveries.
    ///
    /// # Errors
    /// When there were fewer for as long as `deadline`.
    pub fn wait_for(&self, count: usize, deadline: Duration) -> Result<Vec<Delivery>> {
        let (state, timeout) = self
            .shared
            .changed
            .wait_timeout_while(self.shared.state(), deadline, |state| state.deliveries.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        anyhow::ensure!(
            !timeout.timed_out(),
            "waited {} seconds in vain for {count} deliveries, there were {}",
            deadline.as_secs(),
            state.deliveries.len()
        );
        Ok(state.deliveries.clone())
    }
}

impl Drop for WebhookReceiver {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        // Wakes the thread from `accept`.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, shared: &Shared) {
    for stream in listener.incoming() {
        if shared.state().stopped {
            return;
        }
        // A sender that is killed half-way is no concern of the receiver's.
        if let Ok(stream) = stream {
            let _ = receive(stream, shared);
        }
    }
}

fn receive(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let message = Message::read(&stream, false)?;
    let header = |name: &str| message.header(name).unwrap_or_default().to_owned();
    let mut delivery = Delivery {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        content_type: header("content-type"),
        body: message.body.clone(),
        fault: None,
    };
    let checked = shared.secret.check(&delivery.id, &delivery.timestamp, &delivery.body, &delivery.signature);
    delivery.fault = checked.err().map(|error| format!("{error:#}"));
    let mut state = shared.state();
    state.deliveries.push(delivery);
    match state.answer {
        Answer::Hang => state.hanging.push(stream),
        Answer::Status(status) => {
            let answer =
                format!("HTTP/1.1 {status} As-Told\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes())?;
        }
    }
    shared.changed.notify_all();
    Ok(())
}
