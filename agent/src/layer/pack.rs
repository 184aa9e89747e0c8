//! From layers to what a manifest holds of them: their sections and roots, and those
//! of the merged tree.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use congruent_protocol::contract::{Contract, Terms, XattrScope};
use congruent_protocol::digest::Digest;
use congruent_protocol::entry::Entry;
use congruent_protocol::layer::{LayerEntry, LayerHasher, LayerNode};
use congruent_protocol::manifest::{
    EntriesError, EntriesSummary, EntriesWriter, ImageLayer, LayerWriter, PackedSection,
};
use congruent_protocol::tree::{Contribution, OutOfOrder, TreeHasher};

use super::list::listed_bytes;
use super::{Layer, LayerError, MergeError, MergedTree, Reading};
use crate::lint::Collector;

/// Why an image cannot be baked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error(transparent)]
    Entries(#[from] EntriesError),
    #[error(transparent)]
    Order(#[from] OutOfOrder),
    #[error("cannot keep the sections of layers until they are all read")]
    Scratch(#[source] io::Error),
}

/// An image while its layers come, lowest first.
pub(crate) struct ImageBaking<'c> {
    contract: &'c Contract,
    reading: Reading,
    tree: MergedTree,
    layers: Vec<(ImageLayer, u64)>,
    /// The sections of layers, one after the other.
    sections: File,
    lint: Collector,
}

/// A baked image.
pub(crate) struct BakedImage {
    pub(crate) root: Digest,
    pub(crate) entries: EntriesSummary,
    pub(crate) layers: Vec<ImageLayer>,
    pub(crate) lint: Collector,
    tree_section: File,
    layer_sections: File,
    layer_bytes: Vec<u64>,
}

impl<'c> ImageBaking<'c> {
    /// An image without layers yet. What a manifest is to hold goes to the directory
    /// `scratch`, under no name.
    pub(crate) fn new(
        contract: &'c Contract,
        reading: Reading,
        lint: Collector,
        scratch: &Path,
    ) -> Result<Self, PackError> {
        let sections = tempfile::tempfile_in(scratch).map_err(PackError::Scratch)?;
        Ok(Self { contract, reading, tree: MergedTree::default(), layers: Vec::new(), sections, lint })
    }

    /// Reads what a layer lists from its uncompressed archive. It is not believed
    /// before [`ImageBaking::add`].
    pub(crate) fn read(&self, archive: impl Read) -> Result<Layer, LayerError> {
        Layer::read(archive, self.reading, &self.tree)
    }

    /// Takes a layer, whose archive has this digest, and puts it over those before.
    pub(crate) fn add(&mut self, diff_id: Digest, layer: Layer) -> Result<(), PackError> {
        self.tree.apply(&layer)?;
        let start = self.sections.stream_position().map_err(PackError::Scratch)?;
        let mut writer = LayerWriter::new(&mut self.sections, self.reading.algorithm)?;
        let mut hasher = LayerHasher::new(self.reading.algorithm);
        // Damage to a layer is damage whatever the contract says of the path.
        let scope = &Terms::immutable().xattrs;
        for LayerEntry { path, node } in layer.entries {
            // All layers together have as much room as one: the tree holds them all.
            let listed = &mut self.reading.limits.listed_bytes;
            *listed = listed.saturating_sub(listed_bytes(&path, node.entry()));
            let node = match node {
                LayerNode::Entry(entry) => LayerNode::Entry(in_scope(entry, scope)),
                mark => mark,
            };
            hasher.push(&path, &node)?;
            writer.push(&path, &node)?;
        }
        let (_, entries) = writer.finish()?;
        let end = self.sections.stream_position().map_err(PackError::Scratch)?;
        self.layers.push((ImageLayer { diff_id, root: hasher.finish(), entries }, end - start));
        for (path, hit) in layer.hits {
            self.lint.take(&path, hit);
        }
        Ok(())
    }

    /// Ends the image with the tree that its layers come to.
    pub(crate) fn finish(self, scratch: &Path) -> Result<BakedImage, PackError> {
        let algorithm = self.reading.algorithm;
        let tree_section = tempfile::tempfile_in(scratch).map_err(PackError::Scratch)?;
        let mut writer = EntriesWriter::new(tree_section, algorithm)?;
        let mut hasher = TreeHasher::new(algorithm);
        for (path, entry) in self.tree.into_entries() {
            let terms = self.contract.terms_of(&path);
            let entry = in_scope(entry, &terms.xattrs);
            hasher.push(&path, Contribution::of(&entry, terms))?;
            writer.push(&path, &entry)?;
        }
        let (tree_section, entries) = writer.finish()?;
        let (layers, layer_bytes) = self.layers.into_iter().unzip();
        let (layer_sections, lint) = (self.sections, self.lint);
        Ok(BakedImage {
            root: hasher.finish(),
            entries,
            layers,
            lint,
            tree_section,
            layer_sections,
            layer_bytes,
        })
    }
}

impl BakedImage {
    /// The sections, to be written one after the other.
    pub(crate) fn sections(&self) -> io::Result<Vec<PackedSection<&File>>> {
        let mut tree = &self.tree_section;
        let bytes = tree.stream_position()?;
        tree.seek(SeekFrom::Start(0))?;
        let mut layers = &self.layer_sections;
        layers.seek(SeekFrom::Start(0))?;
        let layers = self.layer_bytes.iter().map(|&bytes| PackedSection::new(layers, bytes));
        Ok([PackedSection::new(tree, bytes)].into_iter().chain(layers).collect())
    }
}

fn in_scope(mut entry: Entry, scope: &XattrScope) -> Entry {
    entry.xattrs.retain(|(name, _)| scope.contains(name));
    entry
}
