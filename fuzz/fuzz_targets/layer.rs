//! Any bytes as a layer's archive, with checksums that fit: what is read can be put
//! over a tree, also over itself, and written into a manifest's section, and read
//! again as it was.
#![no_main]

use congruent_agent::layer::{Layer, Limits, MergedTree, Reading};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::layer::{LayerEntry, LayerHasher, LayerNode, is_mark};
use congruent_protocol::manifest::{LayerReader, LayerWriter};
use tar::Header;

const BLOCK: usize = 512;
const READING: Reading = Reading {
    algorithm: Algorithm::Blake3,
    limits: Limits { members: 1000, content_bytes: 1 << 24, listed_bytes: 1 << 24 },
    lint: true,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let archive = with_checksums(bytes);
    let mut tree = MergedTree::default();
    for _ in 0..2 {
        let Ok(layer) = Layer::read(&archive[..], READING, &tree) else { return };
        check_section(&layer.entries);
        if tree.apply(&layer).is_err() {
            return;
        }
    }
    let entries = tree.into_entries();
    for path in entries.keys().filter(|path| !path.is_root()) {
        assert!(!is_mark(path.name()), "{path} is a mark");
        let above = path.parent().and_then(|above| entries.get(&above));
        assert!(above.is_some_and(|above| above.node.is_directory()), "{path} lies beneath no directory");
    }
});

/// Without extended attributes, which have limits of their own.
fn check_section(entries: &[LayerEntry]) {
    let mut writer = LayerWriter::new(Vec::new(), READING.algorithm).expect("memory takes every write");
    let mut hasher = LayerHasher::new(READING.algorithm);
    let mut written = Vec::new();
    for LayerEntry { path, node } in entries {
        let mut node = node.clone();
        if let LayerNode::Entry(entry) = &mut node {
            entry.xattrs.clear();
        }
        writer.push(path, &node).expect("a layer is in order");
        hasher.push(path, &node).expect("a layer is in order");
        written.push(LayerEntry { path: path.clone(), node });
    }
    let (section, summary) = writer.finish().expect("memory takes every write");
    let reader = LayerReader::new(&section[..], READING.algorithm, summary).expect("memory can be read");
    let read: Vec<_> = reader.collect::<Result<_, _>>().expect("what was written is read");
    assert_eq!(read, written);
}

/// The same archive, where the sum of each header is what it says.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut archive = bytes.to_vec();
    let mut at = 0;
    while let Some(block) = archive.get_mut(at..at + BLOCK) {
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        if block.iter().any(|&b| b != 0) {
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
        let size = usize::try_from(header.entry_size().unwrap_or(0)).unwrap_or(usize::MAX);
        at = at.saturating_add(BLOCK).saturating_add(size.min(bytes.len()).next_multiple_of(BLOCK));
    }
    archive
}
