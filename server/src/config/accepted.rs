//! Manifests accepted for a group: verified once, then read again from the same
//! open file whenever findings are held to them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use congruent_protocol::contract::{Class, Contract, MountContent};
use congruent_protocol::digest::Digest;
use congruent_protocol::drift::Finding;
use congruent_protocol::key::PublicKey;
use congruent_protocol::manifest::{EntriesError, Manifest, ManifestError};
use congruent_protocol::normalise::{self, RecomputeError};
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::ManifestId;
use serde::{Deserialize, Serialize};

/// Why a manifest file is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    #[error("cannot open the manifest")]
    Open(#[source] io::Error),
    #[error("the manifest does not verify")]
    Verify(#[source] ManifestError),
    #[error("cannot read the manifest's entries")]
    Entries(#[source] EntriesError),
}

/// A manifest that a group's nodes may be held to.
#[derive(Debug)]
pub(crate) struct Accepted {
    manifest: Manifest,
    /// The file that was verified. Another file put in its place changes nothing.
    file: File,
    protected: Protected,
}

/// How much of a tree a contract protects: what may change in any way, or is
/// hidden by a mount, is baked but not held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Protected {
    /// Entries that are held to what was baked.
    pub(crate) entries: u64,
    /// Entries in the manifest.
    pub(crate) of: u64,
}

impl Accepted {
    /// Verifies the manifest at `path` with the group's trusted keys.
    pub(super) fn open(path: &Path, trusted: &[PublicKey]) -> Result<Self, AcceptError> {
        let file = File::open(path).map_err(AcceptError::Open)?;
        let manifest =
            Manifest::verify(&mut FileView::new(&file), Some(trusted)).map_err(AcceptError::Verify)?;
        let protected = protected(&manifest, &file).map_err(AcceptError::Entries)?;
        Ok(Self { manifest, file, protected })
    }

    /// Its name, version and root, and the trusted keys that signed it.
    pub(crate) fn id(&self) -> ManifestId {
        let predicate = self.manifest.predicate();
        ManifestId {
            name: predicate.name.clone(),
            version: predicate.version.clone(),
            root: predicate.root,
            signed_by: self.manifest.signed_by().verified.iter().map(ToString::to_string).collect(),
        }
    }

    /// The baked tree root.
    pub(crate) fn root(&self) -> Digest {
        self.manifest.predicate().root
    }

    /// The contract in it.
    pub(crate) fn contract(&self) -> &Contract {
        &self.manifest.predicate().contract
    }

    /// How many entries it has.
    pub(crate) fn entries_count(&self) -> u64 {
        self.manifest.predicate().entries.count
    }

    /// The places that it reserves.
    pub(crate) fn reserved(&self) -> &[TreePath] {
        &self.manifest.predicate().reserved
    }

    /// How much of the tree it protects.
    pub(crate) fn protected(&self) -> Protected {
        self.protected
    }

    /// The root that a tree with these findings has.
    pub(crate) fn recompute(&self, findings: &[Finding]) -> Result<Digest, RecomputeError> {
        let predicate = self.manifest.predicate();
        // Without findings the root is the baked one, which was computed from
        // the entries when the manifest was accepted.
        if findings.is_empty() {
            return Ok(predicate.root);
        }
        let entries = self.manifest.entries(FileView::new(&self.file))?;
        let algorithm = predicate.root.algorithm();
        normalise::recompute(entries, algorithm, &predicate.contract, &predicate.reserved, findings)
    }
}

fn protected(manifest: &Manifest, file: &File) -> Result<Protected, EntriesError> {
    let contract = &manifest.predicate().contract;
    let hiding: Vec<TreePath> = contract
        .mounts()
        .iter()
        .filter(|mount| mount.content == MountContent::Hide)
        .filter_map(|mount| TreePath::new(mount.path.as_str()).ok())
        .collect();
    let mut protected = Protected { entries: 0, of: 0 };
    for listed in manifest.entries(FileView::new(file))? {
        let path = listed?.path;
        protected.of += 1;
        let hidden = hiding.iter().any(|mount| path.starts_with(mount));
        protected.entries += u64::from(!hidden && contract.class_of(&path) == Class::Immutable);
    }
    Ok(protected)
}

/// Reads an open file from a position of its own, so that several can read the
/// same file at once.
struct FileView<'a> {
    file: &'a File,
    position: u64,
}

impl<'a> FileView<'a> {
    fn new(file: &'a File) -> Self {
        Self { file, position: 0 }
    }
}

impl Read for FileView<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for FileView<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.file.metadata()?.len().checked_add_signed(offset),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
