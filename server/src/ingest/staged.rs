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
pub(crate) struct Staged {
    nodes: Mutex<HashMap<String, Pages>>,
}

/// There is no room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// A report's pages may not have as many bytes.
    Ever,
    /// Others have to be done with first.
    Now,
}

impl Staged {
    /// Takes a page of a node, whose pages may have `limit` bytes together.
    pub(crate) fn put(&self, node: &str, digest: Digest, page: Vec<u8>, limit: usize) -> Result<(), NoRoom> {
        if page.len() > limit {
            return Err(NoRoom::Ever);
        }
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.get(node).map_or(0, bytes_of) + page.len() > limit {
            // What it sent for an earlier report is in the way of this one.
            nodes.remove(node);
        }
        if nodes.values().map(bytes_of).sum::<usize>() + page.len() > MAX_BYTES {
            return Err(NoRoom::Now);
        }
        nodes.entry(node.to_owned()).or_default().insert(digest, Arc::new(page));
        Ok(())
    }

    /// What a node has sent ahead.
    pub(crate) fn of(&self, node: &str) -> Pages {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(node).cloned().unwrap_or_default()
    }

    /// Forgets it: the report that it was for has come, or is refused.
    pub(crate) fn forget(&self, node: &str) {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }
}

fn bytes_of(pages: &Pages) -> usize {
    pages.values().map(|page| page.len()).sum()
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
        assert_eq!(put("a", 1, (100 << 20) + 1), Err(NoRoom::Ever));
        assert_eq!((put("a", 1, 60 << 20), put("a", 2, 40 << 20)), (Ok(()), Ok(())));
        assert_eq!(put("a", 3, 1), Ok(()));
        assert_eq!(staged.of("a").len(), 1, "those before were for another report");
        assert_eq!((put("b", 1, 100 << 20), put("c", 1, 100 << 20)), (Ok(()), Ok(())));
        assert_eq!(put("d", 1, 60 << 20), Err(NoRoom::Now));
        staged.forget("b");
        assert_eq!(put("d", 1, 60 << 20), Ok(()));
    }
}
