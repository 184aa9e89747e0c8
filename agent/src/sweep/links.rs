//! Hard links: an inode with several paths is read once.
//!
//! What is kept is gone again when the last of its paths was seen, so memory
//! follows the inodes that still have a path to come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::content::Hashed;
use super::stamp::Stamp;

/// An inode's device and number.
type Inode = ((u32, u32), u64);

/// The inodes that were read and have paths to come.
#[derive(Default)]
pub(super) struct Links {
    underway: Mutex<HashMap<Inode, Arc<Link>>>,
}

/// One inode. Whoever reads it holds the lock, and others wait for what it finds.
#[derive(Default)]
pub(super) struct Link {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    paths_seen: u32,
    read: Option<(Stamp, Hashed)>,
}

impl Links {
    /// What the file with this stamp and so many links holds: what was found at
    /// another of its paths, if the inode has not changed since, or what `read`
    /// finds; that is kept where `read` says that it holds as long as the stamp.
    pub(super) fn digest<E>(
        &self,
        stamp: &Stamp,
        links: u32,
        read: impl FnOnce() -> Result<(Hashed, bool), E>,
    ) -> Result<Hashed, E> {
        let inode = (stamp.device, stamp.inode);
        let link = lock(&self.underway).entry(inode).or_default().clone();
        let mut state = lock(&link.state);
        state.paths_seen += 1;
        if state.paths_seen >= links {
            lock(&self.underway).remove(&inode);
        }
        if let Some((_, hashed)) = state.read.filter(|(as_of, _)| as_of == stamp) {
            return Ok(hashed);
        }
        let (hashed, holds) = read()?;
        state.read = holds.then_some((*stamp, hashed));
        Ok(hashed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use congruent_protocol::digest::Algorithm;

    use super::*;

    #[test]
    fn an_inode_is_read_again_only_where_that_may_show_something_else() {
        let links = Links::default();
        let stamp = |inode, nanoseconds| Stamp { device: (8, 1), inode, ctime: (1, nanoseconds), size: 3 };
        let hashed = |content: &[u8]| Hashed { digest: Algorithm::Blake3.digest(content), past_cache: false };
        // Each path: its stamp, how many links, what a read would find and whether
        // that holds, and what must come of it.
        for (what, stamp, count, (would_find, holds), expected) in [
            ("the first path", stamp(1, 5), 3, (&b"one"[..], true), &b"one"[..]),
            ("the second", stamp(1, 5), 3, (b"two", true), b"one"),
            ("the last, changed meanwhile", stamp(1, 6), 3, (b"three", true), b"three"),
            ("a path too many is read", stamp(1, 6), 3, (b"four", true), b"four"),
            ("another inode", stamp(2, 5), 2, (b"five", false), b"five"),
            ("what did not hold", stamp(2, 5), 2, (b"six", true), b"six"),
        ] {
            let read = || Ok::<_, Infallible>((hashed(would_find), holds));
            let found = links.digest(&stamp, count, read).unwrap();
            assert_eq!(found.digest, hashed(expected).digest, "{what}");
        }
        assert_eq!(lock(&links.underway).len(), 1, "the path too many waits for two more");
    }
}
