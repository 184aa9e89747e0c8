//! Pages and sets that arrive ahead of the report that names them.
//!
//! They are kept in memory alone: a report counts only with all its pages, and a
//! node that hears of missing ones sends them again. Bytes are bounded, for each node
//! and for all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use congruent_protocol::digest::Digest;

/// What is staged of all nodes together, in bytes.
const MAX_BYTES: usize = 256 << 20;

/// The pages of a node.
pub(crate) type Pages = HashMap<Digest, Arc<Vec<u8>>>;

/// What nodes have sent ahead.
#[derive(Debug, Default)]
pub(crate) struct Staged(Mutex<Heaps>);

#[derive(Debug, Default)]
struct Heaps {
    nodes: HashMap<String, Heap>,
    /// Counts what was put, to tell which node has been idle longest.
    puts: u64,
}

#[derive(Debug, Default)]
struct Heap {
    pages: Pages,
    last_put: u64,
}

/// A report's pages may not have as many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Staged {
    /// Takes a page of a node, whose pages may have `limit` bytes together. Where all
    /// have too many, the node that has been idle longest sends its own again.
    pub(crate) fn put(&self, node: &str, digest: Digest, page: Vec<u8>, limit: usize) -> Result<(), NoRoom> {
        if page.len() > limit {
            return Err(NoRoom);
        }
        let mut heaps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heaps.puts += 1;
        let now = heaps.puts;
        let heap = heaps.nodes.entry(node.to_owned()).or_default();
        heap.last_put = now;
        if heap.pages.contains_key(&digest) {
            return Ok(());
        }
        if heap.bytes() + page.len() > limit {
            // What it sent for an earlier report is in the way of this one.
            heap.pages.clear();
        }
        heap.pages.insert(digest, Arc::new(page));
        while heaps.nodes.values().map(Heap::bytes).sum::<usize>() > MAX_BYTES {
            let idle = heaps.nodes.iter().filter(|(other, _)| *other != node);
            let Some((idle, _)) = idle.min_by_key(|(_, heap)| heap.last_put) else { break };
            let idle = idle.clone();
            heaps.nodes.remove(&idle);
        }
        Ok(())
    }

    /// What a node has sent ahead.
    pub(crate) fn of(&self, node: &str) -> Pages {
        let heaps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heaps.nodes.get(node).map(|heap| heap.pages.clone()).unwrap_or_default()
    }

    /// Forgets it: the report that it was for has come, or is refused for good.
    pub(crate) fn forget(&self, node: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).nodes.remove(node);
    }
}

impl Heap {
    fn bytes(&self) -> usize {
        self.pages.values().map(|page| page.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use congruent_protocol::digest::Algorithm;

    #[test]
    fn bytes_are_bounded_for_each_node_and_for_all() {
        let staged = Staged::default();
        let put = |node: &str, name: u8, bytes: usize| {
            staged.put(node, Algorithm::Blake3.digest(&[name]), vec![0; bytes], 100 << 20)
        };
        assert_eq!(put("a", 1, (100 << 20) + 1), Err(NoRoom));
        assert_eq!(
            (put("a", 1, 60 << 20), put("a", 2, 40 << 20), put("a", 2, 40 << 20)),
            (Ok(()), Ok(()), Ok(()))
        );
        assert_eq!(staged.of("a").len(), 2, "what is there already takes no more room");
        assert_eq!(put("a", 3, 1 << 20), Ok(()));
        assert_eq!(staged.of("a").len(), 1, "those before were for another report");
        for node in ["b", "c"] {
            assert_eq!(put(node, 1, 100 << 20), Ok(()));
        }
        put("a", 3, 1 << 20).unwrap();
        assert_eq!(put("d", 1, 60 << 20), Ok(()));
        assert!(staged.of("b").is_empty(), "it has been idle longest");
        assert_eq!((staged.of("a").len(), staged.of("c").len(), staged.of("d").len()), (1, 1, 1));
        staged.forget("d");
        assert!(staged.of("d").is_empty());
    }
}
