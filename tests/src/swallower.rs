//! A stand-in for the network between agent and collector at its worst: it takes
//! a request whole, may even hand it on, and never answers.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

use crate::http::{Message, Response, request};
use crate::wait::PATIENCE;

/// A listener that swallows answers.
pub struct Swallower {
    address: SocketAddr,
    swallowed: Receiver<Swallowed>,
    thread: Option<JoinHandle<()>>,
}

/// One request that got no answer.
#[derive(Debug)]
pub struct Swallowed {
    /// Its body.
    pub body: Vec<u8>,
    /// What the collector said to it; none where it was not handed on.
    pub answer: Option<Response>,
}

impl Swallower {
    /// Starts one; requests are handed on to the collector at `url`, if one is given.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(url: Option<String>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
        let address = listener.local_addr().context("the listener has no address")?;
        let (send, swallowed) = mpsc::channel();
        let thread = thread::spawn(move || serve(&listener, url.as_deref(), &send));
        Ok(Self { address, swallowed, thread: Some(thread) })
    }

    /// The URL that an agent takes for its collector's.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for the next request.
    ///
    /// # Errors
    /// When none comes.
    pub fn wait(&self) -> Result<Swallowed> {
        self.swallowed.recv_timeout(PATIENCE).context("waited in vain for a request to swallow")
    }
}

impl Drop for Swallower {
    fn drop(&mut self) {
        // A connection without a request is the sign to end.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, url: Option<&str>, send: &Sender<Swallowed>) {
    // Held open: a closed connection would be an answer of a kind.
    let mut held = Vec::new();
    for stream in listener.incoming().map_while(Result::ok) {
        let Ok(message) = Message::read(&stream, false) else { return };
        if message.first_line.is_empty() {
            return;
        }
        let answer = url.and_then(|url| hand_on(url, &message).ok());
        let _ = send.send(Swallowed { body: message.body, answer });
        held.push(stream);
    }
}

fn hand_on(url: &str, message: &Message) -> Result<Response> {
    let mut words = message.first_line.split(' ');
    let (method, path) = words.next().zip(words.next()).context("no request line")?;
    let token = message.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    request(method, &format!("{url}{path}"), token, message.header("content-type"), &message.body)
}
