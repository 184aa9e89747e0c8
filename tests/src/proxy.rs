//! What stands between agents and their collector: bytes pass it in both directions,
//! are counted, and are swallowed at the worst moment where that is wanted.
//!
//! It sees TLS records only, as a balancer that passes them through.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

use crate::wait::PATIENCE;

/// A record that a client of TLS 1.3 sends for old middleboxes' sake, before it has
/// anything to say.
const CHANGE_CIPHER_SPEC: [u8; 6] = [20, 3, 3, 0, 1, 1];

/// What becomes of what a client sends after it was answered for the first time: its
/// certificate and its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It goes to the collector, and so do answers back.
    Open,
    /// It goes to the collector; nothing comes back any more.
    NoAnswer,
    /// It goes nowhere, and nothing comes back.
    Cut,
}

/// A listener in front of a collector's port for agents.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    swallowed: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    to: String,
    way: Way,
    sent: AtomicU64,
    ends: AtomicBool,
}

impl Proxy {
    /// Starts one in front of the collector whose agents' port has this URL.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(agents_url: &str, way: Way) -> Result<Self> {
        let to = agents_url.strip_prefix("https://").context("agents speak TLS")?.to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
        let address = listener.local_addr().context("the listener has no address")?;
        let (send, swallowed) = mpsc::channel();
        let shared = Shared { to, way, sent: AtomicU64::new(0), ends: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let serving = Arc::clone(&shared);
        let thread = thread::spawn(move || serve(&listener, &serving, &send));
        Ok(Self { address, shared, swallowed, thread: Some(thread) })
    }

    /// What an agent takes for the URL of its collector's port.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How many bytes clients have sent so far.
    pub fn sent_bytes(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Waits until a client has sent something that gets no answer.
    ///
    /// # Errors
    /// When none does.
    pub fn wait(&self) -> Result<()> {
        self.swallowed.recv_timeout(PATIENCE).context("waited in vain for something to swallow")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        // What it waits for is a connection.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>, send: &Sender<()>) {
    for client in listener.incoming().map_while(Result::ok) {
        if shared.ends.load(Ordering::SeqCst) {
            return;
        }
        // A collector that is down closes the connection, which the client sees.
        if let Ok(collector) = TcpStream::connect(&shared.to) {
            let _ = join(client, collector, shared, send);
        }
    }
}

/// Passes bytes between both, each direction in a thread of its own.
fn join(
    client: TcpStream,
    collector: TcpStream,
    shared: &Arc<Shared>,
    send: &Sender<()>,
) -> std::io::Result<()> {
    let (answered, silent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (mut from_client, mut to_collector) = (client.try_clone()?, collector.try_clone()?);
    let (is_answered, set_silent) = (Arc::clone(&answered), Arc::clone(&silent));
    let (shared, send) = (Arc::clone(shared), send.clone());
    thread::spawn(move || {
        let passed = pass(&mut from_client, |bytes| {
            shared.sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            if is_answered.load(Ordering::SeqCst) && bytes != CHANGE_CIPHER_SPEC && shared.way != Way::Open {
                set_silent.store(true, Ordering::SeqCst);
                let _ = send.send(());
            }
            let is_cut = shared.way == Way::Cut && set_silent.load(Ordering::SeqCst);
            if is_cut { Ok(()) } else { to_collector.write_all(bytes) }
        });
        // The client is gone, or the collector is.
        let _ = to_collector.shutdown(if passed.is_ok() { Shutdown::Write } else { Shutdown::Both });
    });
    let (mut from_collector, mut to_client) = (collector, client);
    thread::spawn(move || {
        let _ = pass(&mut from_collector, |bytes| {
            if silent.load(Ordering::SeqCst) {
                return Ok(());
            }
            // Before it is written: the client may be quick.
            answered.store(true, Ordering::SeqCst);
            to_client.write_all(bytes)
        });
        // A connection that is closed would be an answer of a kind.
        if !silent.load(Ordering::SeqCst) {
            let _ = to_client.shutdown(Shutdown::Both);
        }
    });
    Ok(())
}

/// Reads to the end of a stream, and hands on what comes.
fn pass(from: &mut TcpStream, mut hand_on: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => hand_on(&buffer[..length])?,
        }
    }
}
