//! What simulated nodes run: a baked tree of a few files, or what a manifest holds.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use congruent_protocol::contract::{Class, Contract, Terms};
use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::drift::Finding;
use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::key::SecretKey;
use congruent_protocol::ledger::Ledger;
use congruent_protocol::manifest::{
    Baked, EntriesWriter, ListedEntry, Manifest, ManifestKind, Origin, PackedSection, Predicate,
    write_manifest,
};
use congruent_protocol::path::TreePath;
use congruent_protocol::recompute::recompute;
use congruent_protocol::tree::{Contribution, TreeHasher};
use congruent_protocol::verification::{ManifestId, Protected};
use jiff::Timestamp;

use crate::FleetError;

/// One release of an image, as its manifest has it.
#[derive(Debug)]
pub struct Release {
    predicate: Predicate,
    entries: Vec<ListedEntry>,
    /// Where in `entries` the files are that may not change.
    files: Vec<usize>,
    protected: Protected,
}

/// A manifest to be made up.
#[derive(Debug, Clone)]
pub struct Baking {
    /// The image's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How many files it has, each of which may not change.
    pub files: usize,
}

impl Baking {
    /// Bakes it, signed by `key`; gives the manifest's bytes.
    ///
    /// # Errors
    /// When name or version cannot stand in a manifest.
    pub fn bake(&self, key: &SecretKey, at: Timestamp) -> Result<Vec<u8>, FleetError> {
        let algorithm = Algorithm::Blake3;
        let mut hasher = TreeHasher::new(algorithm);
        let mut writer = EntriesWriter::new(Vec::new(), algorithm).map_err(FleetError::Entries)?;
        for ListedEntry { path, entry } in self.tree()? {
            let contribution = Contribution::of(&entry, Terms::immutable());
            hasher.push(&path, contribution).expect("the tree is made in order");
            writer.push(&path, &entry).map_err(FleetError::Entries)?;
        }
        let (section, entries) = writer.finish().map_err(FleetError::Entries)?;
        let predicate = Predicate {
            name: self.name.clone(),
            version: self.version.clone(),
            kind: ManifestKind::Base,
            root: hasher.finish(),
            entries,
            layers: Vec::new(),
            contract: Contract::linux(),
            reserved: Predicate::reserved_for(&self.name).map_err(FleetError::Path)?.to_vec(),
            baked: Baked {
                at,
                by: "fleet-simulator".to_owned(),
                on: "nowhere".to_owned(),
                with: concat!("fleet-simulator ", env!("CARGO_PKG_VERSION")).to_owned(),
            },
            expires: None,
            origin: Origin::default(),
            packages: None,
            lint: None,
        };
        let (mut out, length) = (Vec::new(), section.len() as u64);
        let keys = std::slice::from_ref(key);
        write_manifest(&mut out, predicate, keys, vec![PackedSection::new(Cursor::new(section), length)])
            .map_err(FleetError::Bake)?;
        Ok(out)
    }

    /// `/usr/bin/tool-000000` and so on, each with the version in it.
    fn tree(&self) -> Result<Vec<ListedEntry>, FleetError> {
        let listed = |path: String, entry| {
            Ok(ListedEntry { path: TreePath::new(path).map_err(FleetError::Path)?, entry })
        };
        let directories = ["/", "/usr", "/usr/bin"].map(|path| listed(path.to_owned(), directory()));
        let files = (0..self.files).map(|number| {
            let content = format!("{} {} {number}", self.name, self.version);
            listed(format!("/usr/bin/tool-{number:06}"), file(content.as_bytes()))
        });
        directories.into_iter().chain(files).collect()
    }
}

fn directory() -> Entry {
    Entry { mode: 0o755, ..Entry::empty() }
}

fn file(content: &[u8]) -> Entry {
    let digest = Algorithm::Blake3.digest(content);
    let node = Node::File { size: content.len() as u64, content: Some(digest) };
    Entry { node, mode: 0o755, ..Entry::empty() }
}

impl Release {
    /// Reads a manifest; whoever wrote it is believed, since it is the collector that
    /// accepts it or not.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> Result<Self, FleetError> {
        let file = File::open(path).map_err(|source| FleetError::Read { path: path.to_owned(), source })?;
        let mut input = std::io::BufReader::new(file);
        let manifest = Manifest::read_unchecked(&mut input)
            .map_err(|source| FleetError::Manifest { path: path.to_owned(), source })?;
        let mut reader = manifest.entries(&mut input).map_err(FleetError::Entries)?;
        let mut entries = Vec::new();
        let mut listed = ListedEntry { path: TreePath::root(), entry: Entry::empty() };
        while reader.read(&mut listed).map_err(FleetError::Entries)? {
            entries.push(listed.clone());
        }
        Ok(Self::of(manifest.predicate().clone(), entries))
    }

    fn of(predicate: Predicate, entries: Vec<ListedEntry>) -> Self {
        let mut follower = predicate.contract.follow();
        let mut protected = Protected { entries: 0, of: 0 };
        let mut files = Vec::new();
        for (at, ListedEntry { path, entry }) in entries.iter().enumerate() {
            let class = follower.terms_of(path).class;
            protected.count(&predicate.contract, path, class);
            let is_file = matches!(entry.node, Node::File { content: Some(_), .. });
            if is_file && class == Class::Immutable && !predicate.contract.may_hide(path) {
                files.push(at);
            }
        }
        drop(follower);
        Self { predicate, entries, files, protected }
    }

    /// What reports name it by.
    pub fn id(&self) -> ManifestId {
        let Predicate { name, version, root, .. } = &self.predicate;
        ManifestId { name: name.clone(), version: version.clone(), root: *root, signed_by: Vec::new() }
    }

    /// How much of it is protected.
    pub(crate) fn protected(&self) -> Protected {
        self.protected
    }

    /// How many entries it has.
    pub(crate) fn entries_count(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Its tree root.
    pub(crate) fn root(&self) -> Digest {
        self.predicate.root
    }

    /// The first `count` files, each with other content, which `salt` decides.
    ///
    /// # Errors
    /// When it has fewer.
    pub(crate) fn changed(&self, count: usize, salt: &[u8]) -> Result<Vec<Finding>, FleetError> {
        if count > self.files.len() {
            let Predicate { name, version, .. } = &self.predicate;
            let release = format!("{name} {version}");
            return Err(FleetError::TooFewFiles { wanted: count, there: self.files.len(), release });
        }
        let changed = self.files[..count].iter().enumerate().filter_map(|(number, at)| {
            let ListedEntry { path, entry } = &self.entries[*at];
            let mut content = salt.to_vec();
            content.extend_from_slice(&number.to_le_bytes());
            let Node::File { size, .. } = entry.node else { return None };
            let content = Some(self.predicate.root.algorithm().digest(&content));
            let there = Entry { node: Node::File { size, content }, ..entry.clone() };
            Finding::compare(path, self.predicate.contract.terms_of(path), entry, &there)
        });
        Ok(changed.collect())
    }

    /// The root of the tree with these findings.
    ///
    /// # Errors
    /// When they are not of this tree.
    pub(crate) fn observed(&self, findings: &[Finding]) -> Result<Digest, FleetError> {
        let root = self.predicate.root;
        if findings.is_empty() {
            return Ok(root);
        }
        let Predicate { contract, reserved, .. } = &self.predicate;
        let (entries, ledger) = (self.entries.iter().cloned().map(Ok), Ledger::empty(root));
        recompute(entries, root.algorithm(), contract, reserved, &ledger, findings)
            .map_err(FleetError::Recompute)
    }
}

/// Releases, as nodes share them.
pub(crate) type Releases = Arc<Vec<Release>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_baked_is_read_and_changes_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fleet.manifest");
        let baking = Baking { name: "fleet".to_owned(), version: "1".to_owned(), files: 12 };
        let key = SecretKey::from_seed([1; 32]);
        std::fs::write(&path, baking.bake(&key, Timestamp::UNIX_EPOCH).unwrap()).unwrap();
        let release = Release::open(&path).unwrap();
        assert_eq!((release.entries_count(), release.protected().entries), (15, 15));
        assert_eq!(release.observed(&[]).unwrap(), release.root());
        let one = release.changed(10, b"one").unwrap();
        let other = release.changed(10, b"other").unwrap();
        assert_eq!((one.len(), other.len()), (10, 10));
        assert!(one.iter().zip(&other).all(|(one, other)| one.path == other.path && one != other));
        assert_ne!(release.observed(&one).unwrap(), release.observed(&other).unwrap());
        let too_many = release.changed(13, b"").unwrap_err().to_string();
        assert!(too_many.contains("12 files of fleet 1"), "{too_many}");
    }
}
