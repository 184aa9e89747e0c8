//! A line to PostgreSQL that is cut at the worst moment: when a transaction that wrote is
//! told to commit.
//!
//! It reads as much of the protocol as it needs: a client says `COMMIT` in a message of
//! its own, and waits for the answer.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result};

/// How a transaction begins that writes, and what ends it.
const BEGIN: &[u8] = b"BEGIN ISOLATION LEVEL SERIALIZABLE\0";
const COMMIT: &[u8] = b"COMMIT\0";

/// What becomes of a commit that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The server never hears of it.
    Before,
    /// The server does it, and its answer is not told.
    After,
    /// It is told, and the line is cut at once: nobody knows.
    Meanwhile,
}

/// A listener in front of a server.
pub struct CommitProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    /// One commit in so many is cut; 0 for none.
    every: AtomicU64,
    commits: AtomicU64,
    cuts: AtomicU64,
}

impl CommitProxy {
    /// Starts one in front of the server on this port of the loopback, which cuts nothing
    /// yet. Its threads end with the process.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
        let address = listener.local_addr().context("the listener has no address")?;
        let shared = Arc::new(Shared {
            to: SocketAddr::from(([127, 0, 0, 1], port)),
            every: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A server that is down closes the connection, which the client sees.
                if let Ok(server) = TcpStream::connect(serving.to) {
                    let _ = join(client, server, &serving);
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Cuts one commit in so many from now on; none with 0.
    pub fn cut_every(&self, commits: u64) {
        self.shared.every.store(commits, Ordering::SeqCst);
    }

    /// How many commits were cut.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// What becomes of the next commit.
    fn next(&self) -> Option<Cut> {
        let every = self.every.load(Ordering::SeqCst);
        let number = self.commits.fetch_add(1, Ordering::SeqCst);
        if every == 0 || !number.is_multiple_of(every) {
            return None;
        }
        let cuts = [Cut::Before, Cut::After, Cut::Meanwhile];
        Some(cuts[(self.cuts.fetch_add(1, Ordering::SeqCst) % 3) as usize])
    }
}

fn join(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let is_silent = Arc::new(AtomicBool::new(false));
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let (set_silent, shared) = (Arc::clone(&is_silent), Arc::clone(shared));
    thread::spawn(move || {
        let _ = requests(&mut from_client, &mut to_server, &set_silent, &shared);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_server.read(&mut buffer) {
            if is_silent.load(Ordering::SeqCst) || to_client.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = from_server.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// Passes on what a client says, to its end or to the commit that is cut.
fn requests(
    client: &mut TcpStream,
    server: &mut TcpStream,
    is_silent: &AtomicBool,
    shared: &Shared,
) -> std::io::Result<()> {
    let (mut buffer, mut writes) = (vec![0; 64 << 10], false);
    loop {
        let length = client.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let bytes = &buffer[..length];
        writes |= bytes.ends_with(BEGIN);
        let is_commit = writes && bytes.ends_with(COMMIT);
        writes &= !is_commit;
        match is_commit.then(|| shared.next()).flatten() {
            None => server.write_all(bytes)?,
            Some(Cut::Before) => return client.shutdown(Shutdown::Both),
            Some(Cut::After) => {
                is_silent.store(true, Ordering::SeqCst);
                server.write_all(bytes)?;
            }
            Some(Cut::Meanwhile) => {
                is_silent.store(true, Ordering::SeqCst);
                server.write_all(bytes)?;
                return client.shutdown(Shutdown::Both);
            }
        }
    }
}
