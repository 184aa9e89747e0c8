//! Manifests accepted for a group: verified once, then read again from the same
//! open file whenever findings are held to them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use congruent_protocol::contract::Contract;
use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::drift::Finding;
use congruent_protocol::ledger::Ledger;
use congruent_protocol::manifest::{EntriesError, ImageLayer, Manifest, ManifestError};
use congruent_protocol::path::TreePath;
use congruent_protocol::recompute::{RecomputeError, recompute};
use congruent_protocol::stack::{Stack, StackError, check_add_on};
use congruent_protocol::trust::Trust;
use congruent_protocol::verification::{ManifestId, Protected};
use jiff::Timestamp;

use super::group::ManifestSource;

/// Why a manifest file is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    #[error("cannot open the manifest")]
    Open(#[source] io::Error),
    #[error("the manifest does not verify")]
    Verify(#[source] ManifestError),
    #[error("the manifest is no stack by itself")]
    Stack(#[source] StackError),
    #[error("cannot read the manifest's entries")]
    Entries(#[source] EntriesError),
}

/// A verified manifest and the file that it was read from. Another file put in
/// its place changes nothing.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    manifest: Manifest,
    file: Arc<File>,
}

/// A stack that a group's nodes may be held to.
#[derive(Debug)]
pub(crate) struct Accepted {
    stack: Stack,
    files: Vec<Arc<File>>,
    protected: Protected,
    /// The roots that were worked out, by the digests of findings and ledger.
    roots: Mutex<HashMap<(Digest, Digest), Digest>>,
}

/// How many roots are kept; then all are let go. A node that stays as it is has the same
/// one at every sweep, and to work one out is to read the whole manifest.
const ROOTS_KEPT: usize = 1 << 16;

impl Verified {
    /// Verifies the manifest as of `now`.
    pub(super) fn open(source: &ManifestSource, trust: &Trust, now: Timestamp) -> Result<Self, AcceptError> {
        let file = match source {
            ManifestSource::Path(path) => Arc::new(File::open(path).map_err(AcceptError::Open)?),
            ManifestSource::Blob(file) => Arc::clone(file),
        };
        let manifest =
            Manifest::verify(&mut FileView::new(&file), trust, now).map_err(AcceptError::Verify)?;
        Ok(Self { manifest, file })
    }

    /// Whether it may be given as an add-on.
    pub(super) fn check_add_on(&self) -> Result<(), AcceptError> {
        check_add_on(&self.manifest).map_err(AcceptError::Stack)
    }

    /// Its name, version and root, and the trusted keys that signed it.
    pub(crate) fn id(&self) -> ManifestId {
        id_of(&self.manifest)
    }

    /// The file that was verified.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

impl Accepted {
    /// The stack of these verified manifests.
    pub(super) fn new(base: Verified, add_ons: Vec<Verified>) -> Result<Self, AcceptError> {
        let mut files = vec![base.file];
        let mut manifests = Vec::new();
        for add_on in add_ons {
            manifests.push(add_on.manifest);
            files.push(add_on.file);
        }
        let stack = Stack::assemble(base.manifest, manifests, views(&files)).map_err(AcceptError::Stack)?;
        let protected = protected(&stack, &files).map_err(AcceptError::Entries)?;
        Ok(Self { stack, files, protected, roots: Mutex::default() })
    }

    /// Its base's name, version and root, and the trusted keys that signed it.
    pub(crate) fn id(&self) -> ManifestId {
        id_of(self.stack.base())
    }

    /// The base's tree root.
    pub(crate) fn root(&self) -> Digest {
        self.stack.base().predicate().root
    }

    /// When the base was baked.
    pub(crate) fn baked_at(&self) -> Timestamp {
        self.stack.base().predicate().baked.at
    }

    /// The tree root of the whole stack.
    pub(crate) fn stack_root(&self) -> Digest {
        self.stack.root()
    }

    /// The contract in it.
    pub(crate) fn contract(&self) -> &Contract {
        self.stack.contract()
    }

    /// How many entries it has.
    pub(crate) fn entries_count(&self) -> u64 {
        self.stack.entries_count()
    }

    /// The places that it reserves.
    pub(crate) fn reserved(&self) -> &[TreePath] {
        self.stack.reserved()
    }

    /// The layers of the container image that its base is of; none where it is of none.
    pub(crate) fn layers(&self) -> &[ImageLayer] {
        &self.stack.base().predicate().layers
    }

    /// The digest of the configuration of the image that its base is of.
    pub(crate) fn config_digest(&self) -> Option<Digest> {
        Some(self.stack.base().predicate().origin.image.as_ref()?.config_digest)
    }

    /// How much of the tree it protects.
    pub(crate) fn protected(&self) -> Protected {
        self.protected
    }

    /// Why it is accepted no longer at `now`, if it is not.
    pub(crate) fn expired(&self, now: Timestamp) -> Option<ManifestError> {
        let manifests = [self.stack.base()].into_iter().chain(self.stack.add_ons());
        manifests.into_iter().find_map(|manifest| manifest.check_expiry(now).err())
    }

    /// The root that a tree with these findings, whose digest is `set`, has that is held to
    /// these first values.
    pub(crate) fn recompute(
        &self,
        findings: &[Finding],
        set: &Digest,
        ledger: &Ledger,
    ) -> Result<Digest, RecomputeError> {
        let root = self.stack.root();
        // Without either the root is the baked one, which was computed from the
        // entries when the manifest was accepted.
        if findings.is_empty() && ledger.first_values().is_empty() {
            return Ok(root);
        }
        let ground = (*set, Algorithm::Blake3.digest(&ledger.to_json()));
        if let Some(known) = self.roots().get(&ground) {
            return Ok(*known);
        }
        let entries = self.stack.entries(views(&self.files))?;
        let root = recompute(entries, root.algorithm(), self.contract(), self.reserved(), ledger, findings)?;
        let mut roots = self.roots();
        if roots.len() >= ROOTS_KEPT {
            roots.clear();
        }
        roots.insert(ground, root);
        Ok(root)
    }

    fn roots(&self) -> MutexGuard<'_, HashMap<(Digest, Digest), Digest>> {
        self.roots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id_of(manifest: &Manifest) -> ManifestId {
    let predicate = manifest.predicate();
    ManifestId {
        name: predicate.name.clone(),
        version: predicate.version.clone(),
        root: predicate.root,
        signed_by: manifest.signed_by().verified.iter().map(ToString::to_string).collect(),
    }
}

fn views(files: &[Arc<File>]) -> Vec<FileView<'_>> {
    files.iter().map(|file| FileView::new(file)).collect()
}

fn protected(stack: &Stack, files: &[Arc<File>]) -> Result<Protected, EntriesError> {
    let contract = stack.contract();
    let mut follower = contract.follow();
    let mut protected = Protected { entries: 0, of: 0 };
    for listed in stack.entries(views(files))? {
        let path = listed?.path;
        protected.count(contract, &path, follower.terms_of(&path).class);
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
