//! The pool: what the walk finds goes to readers in the order that suits the disk,
//! and to the consumer in tree order.
//!
//! The walk fills *windows*. Within a window, paths are read by rising inode
//! number, which on most file systems is close to the order on the disk; the
//! consumer gets the window whole. As many windows are under way as it takes for
//! one large file not to hold up everything else.

use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::links::Links;
use super::read::Reader;
use super::walk::{Look, Walk};
use super::{Counters, Recalled, Root, Scope, Seen};

/// Paths in a window, and windows on their way to the consumer. Both together
/// bound memory and open directories.
const WINDOW_PATHS: usize = 1024;
const WINDOWS: usize = 3;
/// Paths that a reader takes at once: enough that a channel costs nothing beside
/// them.
const CHUNK_PATHS: usize = 32;

/// A stretch of the walk.
#[derive(Default)]
pub(super) struct Window<'a> {
    /// In tree order; none where a reader has yet to look.
    seen: Vec<Option<Seen<'a>>>,
    looks: Vec<Placed<'a>>,
}

/// A path to be looked at, and its place in the window.
struct Placed<'a> {
    place: usize,
    inode: u64,
    look: Look<'a>,
}

impl<'a> Window<'a> {
    /// Adds what the walk itself saw.
    pub(super) fn add_seen(&mut self, seen: Seen<'a>) {
        self.seen.push(Some(seen));
    }

    /// Adds what a reader is to look at. `inode` only helps to order.
    pub(super) fn add_look(&mut self, look: Look<'a>, inode: u64) {
        self.looks.push(Placed { place: self.seen.len(), inode, look });
        self.seen.push(None);
    }

    pub(super) fn is_full(&self) -> bool {
        self.seen.len() >= WINDOW_PATHS
    }
}

/// What a reader saw at each place; nothing where it was gone.
type Looked<'a> = Vec<(usize, Option<Seen<'a>>)>;

/// A chunk on its way to a reader, and the way back.
struct Chunk<'a> {
    looks: Vec<Placed<'a>>,
    looked: Sender<Looked<'a>>,
}

/// A window on its way to the consumer.
struct Underway<'a> {
    seen: Vec<Option<Seen<'a>>>,
    /// Ends when every chunk has come back.
    looked: Receiver<Looked<'a>>,
}

/// Where the walk puts its windows.
pub(super) struct WindowQueue<'a> {
    chunks: Sender<Chunk<'a>>,
    ordered: Sender<Underway<'a>>,
}

/// The consumer wants no more.
pub(super) struct Stopped;

impl<'a> WindowQueue<'a> {
    pub(super) fn push(&self, window: Window<'a>) -> Result<(), Stopped> {
        let Window { seen, mut looks } = window;
        looks.sort_unstable_by_key(|placed| placed.inode);
        let (sender, looked) = bounded(looks.len().div_ceil(CHUNK_PATHS));
        // The ordered queue is the bounded one: it is what holds the walk back.
        self.ordered.send(Underway { seen, looked }).map_err(|_| Stopped)?;
        let mut looks = looks.into_iter();
        loop {
            let looks: Vec<_> = looks.by_ref().take(CHUNK_PATHS).collect();
            if looks.is_empty() {
                return Ok(());
            }
            self.chunks.send(Chunk { looks, looked: sender.clone() }).map_err(|_| Stopped)?;
        }
    }
}

/// Walks `root` and hands everything seen to `consume`, in tree order. Stops at
/// the consumer's first error. What an earlier look recalls need not be read.
pub(crate) fn sweep<'a, E>(
    root: &Root,
    scope: &Scope<'a>,
    recalled: Recalled,
    counters: &Counters,
    mut consume: impl FnMut(Seen<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let (ordered, windows) = bounded::<Underway<'a>>(WINDOWS);
    let (chunks, to_look) = bounded::<Chunk<'a>>(WINDOW_PATHS / CHUNK_PATHS);
    let links = Links::default();
    thread::scope(|threads| {
        threads.spawn(move || Walk::new(root, scope, recalled, WindowQueue { chunks, ordered }).run());
        for _ in 0..scope.means.threads {
            let to_look = to_look.clone();
            let links = &links;
            threads.spawn(move || {
                let mut reader = Reader::new(root, scope, links, counters);
                for Chunk { looks, looked } in to_look {
                    let look = |placed: Placed<'a>| (placed.place, reader.look(placed.look));
                    let all = looks.into_iter().map(look).collect();
                    // Nobody waits for it any more once the consumer has stopped.
                    let _ = looked.send(all);
                }
            });
        }
        drop(to_look);
        // Dropping `windows` at the first error stops the walk, and so the readers.
        for Underway { mut seen, looked } in windows {
            for (place, looked) in looked.into_iter().flatten() {
                seen[place] = looked;
            }
            counters.add_entries(seen.iter().flatten().count() as u64);
            seen.into_iter().flatten().try_for_each(&mut consume)?;
        }
        Ok(())
    })
}
