//! What a node sends its collector, counted between them: a relay that passes TLS
//! on as it is.
//!
//! Bytes are those that TCP carries. Of TLS's records only the heads are read, which
//! say how much of it is framing.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The head of a record of TLS, and what it adds to what it carries: its true type,
/// and the authentication tag.
const HEAD: usize = 5;
const SEALING: u64 = 1 + 16;
/// What the node says within so much is one thing that it says.
const PAUSE: Duration = Duration::from_millis(700);

/// What was sent at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Burst {
    last: Instant,
    /// As TCP carried it.
    pub(crate) bytes: u64,
    /// Without TLS's framing.
    pub(crate) carried: u64,
}

/// Everything that was sent, of all connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Count(Arc<Mutex<Vec<Burst>>>);

impl Count {
    /// What was sent, thing by thing.
    pub(crate) fn bursts(&self) -> Vec<Burst> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, at: Instant, bytes: u64, records: u64) {
        let framing = records * (HEAD as u64 + SEALING);
        let mut bursts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match bursts.last_mut().filter(|burst| at.duration_since(burst.last) < PAUSE) {
            Some(burst) => {
                burst.last = at;
                burst.bytes += bytes;
                burst.carried += bytes.saturating_sub(framing);
            }
            None => bursts.push(Burst { last: at, bytes, carried: bytes.saturating_sub(framing) }),
        }
    }
}

/// A port that leads to another.
pub(crate) struct Relay {
    listener: TcpListener,
    /// What went from who connected to where it leads.
    pub(crate) count: Count,
}

impl Relay {
    pub(crate) fn new() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
        Ok(Self { listener, count: Count::default() })
    }

    pub(crate) fn port(&self) -> Result<u16> {
        Ok(self.listener.local_addr().context("the relay has no address")?.port())
    }

    /// Leads to `target` from now on, as long as the process runs.
    pub(crate) fn lead_to(self, target: SocketAddr) -> Count {
        let count = self.count.clone();
        thread::spawn(move || {
            for node in self.listener.incoming().flatten() {
                let Ok(collector) = TcpStream::connect(target) else { continue };
                // Else a request in two writes waits for the acknowledgement of the first.
                let _ = (node.set_nodelay(true), collector.set_nodelay(true));
                let _ = pass_on(node, collector, &self.count);
            }
        });
        count
    }
}

fn pass_on(node: TcpStream, collector: TcpStream, count: &Count) -> io::Result<()> {
    let (mut answers, mut to_node) = (collector.try_clone()?, node.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut to_node);
        let _ = to_node.shutdown(Shutdown::Both);
    });
    let count = count.clone();
    thread::spawn(move || {
        let _ = pass_records(node, &collector, &count);
        let _ = collector.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// Passes on record by record, and counts each.
fn pass_records(mut from: impl Read, mut to: impl Write, count: &Count) -> io::Result<()> {
    let mut record = vec![0; HEAD];
    loop {
        from.read_exact(&mut record[..HEAD])?;
        let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
        record.resize(HEAD + length, 0);
        from.read_exact(&mut record[HEAD..])?;
        to.write_all(&record)?;
        count.add(Instant::now(), record.len() as u64, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_passed_on_and_counted_without_their_framing() {
        let record = |length: u8| [&[23, 3, 3, 0, length], &vec![7; usize::from(length)][..]].concat();
        let sent = [record(17 + 100), record(17)].concat();
        let (count, mut passed) = (Count::default(), Vec::new());
        // It ends where nothing more comes.
        pass_records(&sent[..], &mut passed, &count).unwrap_err();
        assert_eq!(passed, sent);
        let [burst] = count.bursts()[..] else { panic!("more than one burst") };
        assert_eq!((burst.bytes, burst.carried), (144, 100));
    }

    #[test]
    fn what_is_said_after_a_pause_is_another_thing() {
        let (count, begun) = (Count::default(), Instant::now());
        for (after_ms, bytes) in [(0, 50), (600, 50), (1200, 50), (2000, 30)] {
            count.add(begun + Duration::from_millis(after_ms), bytes, 1);
        }
        assert_eq!(count.bursts().iter().map(|burst| burst.bytes).collect::<Vec<_>>(), [150, 30]);
    }
}
