//! A layer of a container image: what one archive lists, over what lies below it.
//!
//! Beside entries a layer has *whiteouts* and *opaque* directories, which take away
//! what lower layers hold, and directories that are *implied*: the archive lists
//! something beneath them and never them. Format:
//! <https://github.com/opencontainers/image-spec/blob/main/layer.md>.

use crate::digest::{Algorithm, Digest};
use crate::entry::{Entry, Kind};
use crate::path::TreePath;
use crate::tree::{Contribution, OutOfOrder, TreeHasher};

/// How the names of whiteouts begin in archives. No entry of a layer has such a name.
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The name under which an opaque directory stands in it.
pub const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

/// One path of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEntry {
    /// Where it is. Of [`LayerNode::Opaque`], [`OPAQUE_NAME`] in the directory that is.
    pub path: TreePath,
    /// What it is.
    pub node: LayerNode,
}

/// What a path of a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerNode {
    /// An entry.
    Entry(Entry),
    /// A directory that the archive never lists; it has no attributes of its own, and
    /// something beneath it.
    Implied,
    /// What lower layers have here is gone.
    Whiteout,
    /// What lower layers have in this directory is gone.
    Opaque,
}

impl LayerNode {
    /// The entry, where it is one.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Implied | Self::Whiteout | Self::Opaque => None,
        }
    }

    /// Whether something may lie beneath it.
    pub fn is_directory(&self) -> bool {
        match self {
            Self::Entry(entry) => entry.node.is_directory(),
            Self::Implied => true,
            Self::Whiteout | Self::Opaque => false,
        }
    }

    /// What kind it is; none of what is implied, which the layer does not speak of.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Entry(entry) => Some(entry.node.kind()),
            Self::Implied => None,
            Self::Whiteout => Some(Kind::Whiteout),
            Self::Opaque => Some(Kind::Opaque),
        }
    }

    /// What it contributes to the layer's root. The hasher puts in by itself what is
    /// implied.
    fn contribution(&self) -> Option<Contribution<'_>> {
        match self {
            Self::Entry(entry) => Some(Contribution::Entry { entry, mtime: false }),
            Self::Implied => None,
            Self::Whiteout => Some(Contribution::Whiteout),
            Self::Opaque => Some(Contribution::Opaque),
        }
    }
}

/// Whether an archive's name belongs to a mark and to no entry.
pub fn is_mark(name: &[u8]) -> bool {
    name.starts_with(WHITEOUT_PREFIX)
}

/// Computes a layer's root from its entries in tree order.
pub struct LayerHasher(TreeHasher);

impl LayerHasher {
    /// A hasher of a layer that holds nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(TreeHasher::new(algorithm))
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// When it does not come after the one before it.
    pub fn push(&mut self, path: &TreePath, node: &LayerNode) -> Result<(), OutOfOrder> {
        node.contribution().map_or(Ok(()), |contribution| self.0.push(path, contribution))
    }

    /// The root of everything pushed.
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{directory, file, path};

    fn root_of(layer: &[(&str, LayerNode)]) -> String {
        let mut hasher = LayerHasher::new(Algorithm::Blake3);
        for (at, node) in layer {
            hasher.push(&path(at), node).unwrap();
        }
        hasher.finish().to_string()
    }

    fn sample() -> Vec<(&'static str, LayerNode)> {
        vec![
            ("/", LayerNode::Implied),
            ("/etc", LayerNode::Entry(directory())),
            ("/etc/.wh..wh..opq", LayerNode::Opaque),
            ("/etc/motd", LayerNode::Entry(file(b"hello"))),
            ("/old", LayerNode::Whiteout),
            ("/usr", LayerNode::Implied),
            ("/usr/bin", LayerNode::Entry(directory())),
        ]
    }

    /// Changing one of these values is a new format version.
    #[test]
    fn roots_of_layers_are_frozen() {
        assert_eq!(root_of(&[]), "blake3:8131487b3d1d813d4c276b388cf429db5750cda9100f150c360f853ba5ad5da4");
        assert_eq!(
            root_of(&sample()),
            "blake3:7a12dde748e3d1404799b151954eb69c5ee41d04e9475e36892fe2c8bb06f4b9"
        );
    }

    #[test]
    fn every_mark_counts() {
        let whole = root_of(&sample());
        for at in [2, 4] {
            let mut layer = sample();
            layer.remove(at);
            assert_ne!(root_of(&layer), whole, "without {}", sample()[at].0);
        }
        let mut listed = sample();
        listed[5].1 = LayerNode::Entry(directory());
        assert_ne!(root_of(&listed), whole, "what is implied is not what is listed");
        let mut file_instead = sample();
        file_instead[4].1 = LayerNode::Entry(file(b""));
        assert_ne!(root_of(&file_instead), whole, "a whiteout is not a file");
    }
}
