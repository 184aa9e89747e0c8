//! Manifests of small trees, as the agent bakes them, unsigned.

use std::io::Cursor;

use congruent_protocol::contract::Contract;
use congruent_protocol::digest::Algorithm;
use congruent_protocol::manifest::{
    Baked, EntriesWriter, Manifest, ManifestKind, Origin, PackedSection, Predicate, write_manifest,
};
use congruent_protocol::tree::{Contribution, TreeHasher};

use crate::Tree;

/// A manifest of `tree`, read back from the bytes of its file.
pub fn bake(name: &str, kind: ManifestKind, contract: Contract, tree: &Tree) -> (Manifest, Vec<u8>) {
    let algorithm = Algorithm::Blake3;
    let mut writer = EntriesWriter::new(Vec::new(), algorithm).expect("memory takes every write");
    let mut hasher = TreeHasher::new(algorithm);
    for (path, entry) in tree {
        writer.push(path, entry).expect("a tree is in order");
        hasher.push(path, Contribution::of(entry, contract.terms_of(path))).expect("a tree is in order");
    }
    let (section, entries) = writer.finish().expect("memory takes every write");
    let predicate = Predicate {
        name: name.to_owned(),
        version: "1".to_owned(),
        kind,
        root: hasher.finish(),
        entries,
        layers: Vec::new(),
        contract,
        reserved: Vec::new(),
        baked: Baked {
            at: "2026-01-02T03:04:05Z".parse().expect("a time"),
            by: "builder".to_owned(),
            on: "ci".to_owned(),
            with: "fuzz".to_owned(),
        },
        expires: None,
        origin: Origin::default(),
        packages: None,
        lint: None,
    };
    let (mut file, length) = (Vec::new(), section.len() as u64);
    write_manifest(&mut file, predicate, &[], vec![PackedSection::new(Cursor::new(section), length)])
        .expect("it can be baked");
    let manifest = Manifest::read_unchecked(&mut Cursor::new(&file)).expect("what was baked is read");
    (manifest, file)
}
