//! Trees, keys and manifests for this crate's tests.

use std::io::Cursor;

use proptest::prelude::*;

use crate::contract::{Contract, Terms};
use crate::digest::Algorithm;
use crate::entry::{Device, Entry, Node, Timestamp};
use crate::key::SecretKey;
use crate::layer::{LayerEntry, LayerHasher};
use crate::manifest::{
    Baked, EntriesWriter, ImageLayer, ImageOrigin, LayerWriter, ListedEntry, ManifestKind, Origin,
    PackedSection, Predicate, write_manifest,
};
use crate::path::TreePath;
use crate::tree::{Contribution, TreeHasher};

pub(crate) fn entry(node: Node, mode: u16) -> Entry {
    Entry { node, mode, ..Entry::empty() }
}

pub(crate) fn file(content: &[u8]) -> Entry {
    let digest = Algorithm::Blake3.digest(content);
    entry(Node::File { size: content.len() as u64, content: Some(digest) }, 0o644)
}

pub(crate) fn directory() -> Entry {
    entry(Node::Directory, 0o755)
}

pub(crate) fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// One entry of each kind, one value of each attribute.
pub(crate) fn sample_tree() -> Vec<ListedEntry> {
    let mut tool = file(b"tool");
    tool.xattrs = vec![(b"user.note".to_vec(), b"x".to_vec())];
    tool.mtime = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
    tool.link_group = 1;
    let mut owned = entry(Node::Fifo, 0o600);
    (owned.uid, owned.gid) = (1000, 100_000);
    [
        ("/", directory()),
        ("/bin", directory()),
        ("/bin/tool", tool),
        ("/dev", directory()),
        ("/dev/null", entry(Node::CharDevice(Device { major: 1, minor: 3 }), 0o666)),
        ("/dev/sda", entry(Node::BlockDevice(Device { major: 8, minor: 0 }), 0o660)),
        ("/link", entry(Node::Symlink { target: b"bin/tool".to_vec() }, 0o777)),
        ("/pipe", owned),
        ("/sock", entry(Node::Socket, 0o755)),
    ]
    .map(|(p, entry)| ListedEntry { path: path(p), entry })
    .to_vec()
}

pub(crate) fn secret_key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

pub(crate) fn root_of(tree: &[ListedEntry]) -> crate::digest::Digest {
    let mut hasher = TreeHasher::new(Algorithm::Blake3);
    for listed in tree {
        hasher.push(&listed.path, Contribution::of(&listed.entry, Terms::immutable())).unwrap();
    }
    hasher.finish()
}

pub(crate) fn manifest_of(tree: &[ListedEntry], keys: &[SecretKey]) -> Vec<u8> {
    Baking::new(tree).bake(keys)
}

/// A manifest to be made of a tree; what is not said otherwise is usual.
pub(crate) struct Baking<'a> {
    pub(crate) tree: &'a [ListedEntry],
    pub(crate) name: &'a str,
    pub(crate) kind: ManifestKind,
    pub(crate) contract: Contract,
    pub(crate) algorithm: Algorithm,
    pub(crate) expires: Option<jiff::Timestamp>,
    pub(crate) layers: &'a [Vec<LayerEntry>],
}

impl<'a> Baking<'a> {
    pub(crate) fn new(tree: &'a [ListedEntry]) -> Self {
        Self {
            tree,
            name: "web",
            kind: ManifestKind::Base,
            contract: Contract::linux(),
            algorithm: Algorithm::Blake3,
            expires: None,
            layers: &[],
        }
    }

    pub(crate) fn bake(self, keys: &[SecretKey]) -> Vec<u8> {
        let Self { tree, name, kind, contract, algorithm, expires, layers } = self;
        let mut writer = EntriesWriter::new(Vec::new(), algorithm).unwrap();
        let mut hasher = TreeHasher::new(algorithm);
        for ListedEntry { path, entry } in tree {
            writer.push(path, entry).unwrap();
            hasher.push(path, Contribution::of(entry, contract.terms_of(path))).unwrap();
        }
        let (section, entries) = writer.finish().unwrap();
        let layers: Vec<_> = layers.iter().map(|layer| pack_layer(layer, algorithm)).collect();
        let diff_ids: Vec<_> = layers.iter().map(|(layer, _)| layer.diff_id).collect();
        let image = diff_ids.first().map(|first| ImageOrigin {
            config_digest: *first,
            diff_ids: diff_ids.clone(),
            platform: Some("linux/amd64".to_owned()),
            manifest_digest: None,
        });
        let predicate = Predicate {
            name: name.to_owned(),
            version: "1.4.2".to_owned(),
            kind,
            root: hasher.finish(),
            entries,
            layers: layers.iter().map(|(layer, _)| layer.clone()).collect(),
            contract,
            reserved: Predicate::reserved_for(name).unwrap().to_vec(),
            baked: Baked {
                at: "2026-01-02T03:04:05Z".parse().unwrap(),
                by: "builder".to_owned(),
                on: "ci".to_owned(),
                with: "congruent 0.1.0".to_owned(),
            },
            expires,
            origin: Origin { image, ..Origin::default() },
            packages: None,
            lint: None,
        };
        let mut out = Vec::new();
        let sections = [section].into_iter().chain(layers.into_iter().map(|(_, section)| section));
        let sections = sections.map(|section| {
            let length = section.len() as u64;
            PackedSection::new(Cursor::new(section), length)
        });
        write_manifest(&mut out, predicate, keys, sections.collect()).unwrap();
        out
    }
}

/// A layer's statement and section. Its diff_id is that of nothing in particular.
fn pack_layer(layer: &[LayerEntry], algorithm: Algorithm) -> (ImageLayer, Vec<u8>) {
    let mut writer = LayerWriter::new(Vec::new(), algorithm).unwrap();
    let mut hasher = LayerHasher::new(algorithm);
    for LayerEntry { path, node } in layer {
        writer.push(path, node).unwrap();
        hasher.push(path, node).unwrap();
    }
    let (section, entries) = writer.finish().unwrap();
    (ImageLayer { diff_id: Algorithm::Sha256.digest(&section), root: hasher.finish(), entries }, section)
}

pub(crate) fn arbitrary_entry() -> impl Strategy<Value = Entry> {
    let node = prop_oneof![
        (any::<u64>().prop_map(|n| n >> 20), any::<[u8; 8]>())
            .prop_map(|(size, seed)| { Node::File { size, content: Some(Algorithm::Blake3.digest(&seed)) } }),
        prop::collection::vec(1_u8.., 1..40).prop_map(|target| Node::Symlink { target }),
        Just(Node::Fifo),
        Just(Node::Socket),
        (0..4096_u32, 0..1_048_576_u32).prop_map(|(major, minor)| Node::BlockDevice(Device { major, minor })),
        Just(Node::Directory),
        Just(Node::Directory),
    ];
    let xattrs =
        prop::collection::btree_map("user\\.[a-c]{1,2}", prop::collection::vec(any::<u8>(), 0..9), 0..3);
    (node, 0..0o10000_u16, 0..3_u32, any::<u32>(), any::<i32>(), xattrs).prop_map(
        |(node, mode, uid, gid, seconds, xattrs)| Entry {
            node,
            mode,
            uid,
            gid,
            mtime: Timestamp { seconds: i64::from(seconds), nanoseconds: 1 },
            link_group: 0,
            xattrs: xattrs.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
            package: 0,
        },
    )
}

/// A tree of a few entries with few and odd names, so that they meet.
pub(crate) fn arbitrary_tree() -> impl Strategy<Value = Vec<ListedEntry>> {
    let name = prop::sample::select(vec![&b"a"[..], b"a-b", b"b", b"tmp", b"x\ny", b"\xff"]);
    let place = (prop::collection::vec(name, 1..5), arbitrary_entry());
    prop::collection::vec(place, 0..12).prop_map(|places| {
        let mut tree = std::collections::BTreeMap::from([(TreePath::root(), directory())]);
        for (names, entry) in places {
            let mut at = TreePath::root();
            for name in names {
                // Only a directory can hold more; a leaf on the way ends the path.
                if !tree.entry(at.clone()).or_insert_with(directory).node.is_directory() {
                    break;
                }
                at.push(name).unwrap();
            }
            tree.entry(at).or_insert(entry);
        }
        tree.into_iter().map(|(path, entry)| ListedEntry { path, entry }).collect()
    })
}
