//! The pool: what the walk finds goes to readers in the order that suits the disk,
//! and to the consumer in tree order.
//!
//! The walk fills *windows*. Within a window, paths are read by rising inode
//! number, which on most file systems is close to the order on the disk. As many
//! windows are under way as it takes for one large file not to hold up everything
//! else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::links::Links;
use super::read::Reader;
use super::walk::{Look, Walk};
use super::{Counters, Means, Recalled, Root, Scope, Seen, Sight};

/// Paths in a window, and windows on their way to the consumer. Both together
/// bound memory and open directories.
const WINDOW_PATHS: usize = 1024;
const WINDOWS: usize = 16;
/// Paths in a window of a sweep that is held back: what lies in windows is lost
/// when it is interrupted. Others begin with such a one, and each that follows may hold
/// twice as many: readers wait until the first is full.
const SMALL_WINDOW_PATHS: usize = 64;
/// Paths may be long; no window holds many more bytes of them than these.
const WINDOW_BYTES: usize = 256 << 10;
/// Paths that a reader takes at once: enough that a channel costs nothing beside
/// them.
const CHUNK_PATHS: usize = 32;
/// The same of a sweep that is held back, which goes in tree order, so that what was
/// read is known as soon as can be.
const SMALL_CHUNK_PATHS: usize = 1;

/// A stretch of the walk, in tree order.
pub(super) struct Window<'a> {
    places: Vec<Place<'a>>,
    /// The inode number of each path that a reader is to look at, and its place.
    looks: Vec<(u64, usize)>,
    size: usize,
    path_bytes: usize,
    is_held_back: bool,
}

/// A path in a window.
enum Place<'a> {
    Seen(Seen<'a>),
    /// It was gone when a reader looked.
    Gone,
    /// A reader is to look at it.
    Look(Look<'a>),
    /// A reader looks at it.
    Pending,
}

/// A path to be looked at, and its place in the window.
struct Placed<'a> {
    place: usize,
    look: Look<'a>,
}

impl<'a> Window<'a> {
    /// An empty one, the first of a sweep.
    pub(super) fn new(means: &Means) -> Self {
        let (size, is_held_back) = (SMALL_WINDOW_PATHS, means.is_held_back());
        Self { places: Vec::new(), looks: Vec::new(), size, path_bytes: 0, is_held_back }
    }

    /// Adds what the walk itself saw.
    pub(super) fn add_seen(&mut self, seen: Seen<'a>) {
        self.path_bytes += seen.path.as_bytes().len();
        self.places.push(Place::Seen(seen));
    }

    /// Adds what a reader is to look at. `inode` only helps to order.
    pub(super) fn add_look(&mut self, look: Look<'a>, inode: u64) {
        self.path_bytes += look.path.as_bytes().len();
        self.looks.push((inode, self.places.len()));
        self.places.push(Place::Look(look));
    }

    pub(super) fn is_full(&self) -> bool {
        self.places.len() >= self.size || self.path_bytes >= WINDOW_BYTES
    }

    /// What is in it; it is empty then.
    pub(super) fn take(&mut self) -> Self {
        let size = if self.is_held_back { self.size } else { (2 * self.size).min(WINDOW_PATHS) };
        let (places, looks) = (Vec::with_capacity(size), Vec::with_capacity(size));
        let empty = Self { places, looks, size, path_bytes: 0, ..*self };
        std::mem::replace(self, empty)
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
    places: Vec<Place<'a>>,
    /// Ends when every chunk has come back.
    looked: Receiver<Looked<'a>>,
}

impl<'a> Underway<'a> {
    /// What was seen, in tree order, each as soon as it can be had.
    fn seen(mut self) -> impl Iterator<Item = Seen<'a>> {
        let mut place = 0;
        std::iter::from_fn(move || {
            loop {
                match self.places.get_mut(place).map(|at| std::mem::replace(at, Place::Gone))? {
                    Place::Seen(seen) => {
                        place += 1;
                        return Some(seen);
                    }
                    Place::Gone => place += 1,
                    waiting @ (Place::Pending | Place::Look(_)) => {
                        self.places[place] = waiting;
                        let looked =
                            self.looked.recv().expect("a reader answers for every chunk that it takes");
                        for (place, seen) in looked {
                            self.places[place] = seen.map_or(Place::Gone, Place::Seen);
                        }
                    }
                }
            }
        })
    }
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
        let Window { mut places, mut looks, is_held_back, .. } = window;
        let chunk = if is_held_back { SMALL_CHUNK_PATHS } else { CHUNK_PATHS };
        if !is_held_back {
            looks.sort_unstable();
        }
        let (sender, looked) = unbounded();
        let chunks: Vec<_> = looks.chunks(chunk).map(|looks| take_looks(&mut places, looks)).collect();
        // The ordered queue is the bounded one: it is what holds the walk back.
        self.ordered.send(Underway { places, looked }).map_err(|_| Stopped)?;
        for looks in chunks {
            self.chunks.send(Chunk { looks, looked: sender.clone() }).map_err(|_| Stopped)?;
        }
        Ok(())
    }
}

/// Takes what is to be looked at from its places.
fn take_looks<'a>(places: &mut [Place<'a>], looks: &[(u64, usize)]) -> Vec<Placed<'a>> {
    let take = |&(_, place): &(u64, usize)| match std::mem::replace(&mut places[place], Place::Pending) {
        Place::Look(look) => Some(Placed { place, look }),
        other => {
            places[place] = other;
            None
        }
    };
    looks.iter().filter_map(take).collect()
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
    let stopped = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(move || Walk::new(root, scope, recalled, WindowQueue { chunks, ordered }).run());
        for _ in 0..scope.means.threads {
            let to_look = to_look.clone();
            let (links, stopped) = (&links, &stopped);
            threads.spawn(move || {
                let mut reader = Reader::new(root, scope, links, counters);
                for chunk in to_look {
                    // What waits when the consumer has stopped is not read any more.
                    if stopped.load(Ordering::Relaxed) {
                        continue;
                    }
                    look_at(chunk, &mut reader);
                }
            });
        }
        drop(to_look);
        // Dropping `windows` at the first error stops the walk, and so the readers.
        for window in windows {
            let (mut entries, mut spared) = (0, 0);
            for seen in window.seen() {
                entries += 1;
                if let Sight::AsBefore(stamp) = &seen.sight {
                    spared += stamp.size;
                }
                consume(seen).inspect_err(|_| stopped.store(true, Ordering::Relaxed))?;
            }
            counters.add_entries(entries);
            counters.add_spared(spared);
        }
        Ok(())
    })
}

/// Looks at a chunk, and hands on what was seen.
fn look_at<'a>(chunk: Chunk<'a>, reader: &mut Reader<'_, 'a>) {
    let Chunk { looks, looked } = chunk;
    let look = |Placed { place, look }: Placed<'a>| (place, reader.look(look));
    // Nobody waits for it any more once the consumer has stopped.
    let _ = looked.send(looks.into_iter().map(look).collect());
}
