//! Holding a layer's directory to its diff_id, where no manifest says what it holds but
//! the runtime kept a recording of its archive.
//!
//! The archive is put together again. Where it has the diff_id, the recording is proven,
//! and with it what the archive lists; contents were read for that, so only metadata,
//! and what is there beside, is left to compare: the archive's headers are the
//! recording's, whatever became of the files. Where it has another digest, the layer
//! is damaged, and the record of each file says which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};

use congruent_protocol::contract::{Class, Contract, ContractFile, Terms};
use congruent_protocol::digest::{Algorithm, Digest, Hasher};
use congruent_protocol::drift::{Attributes, Change, Field, Finding, HeldTo};
use congruent_protocol::entry::{Entry, Kind, Node};
use congruent_protocol::layer::{LayerEntry, LayerNode};
use congruent_protocol::path::TreePath;
use jiff::Timestamp;

use super::check::{CheckError, CheckedLayer, Expected, check};
use super::on_disk::Looking;
use super::{Contents, Layer, LayerError, Limits, MergedTree, Reading, Reassembly};
use crate::beneath;
use crate::findings::FindingsWriter;
use crate::sweep::Root;
use crate::sweep::cache::Memory;

/// Every path may be anything: contents are not read once more.
const UNREAD: &str =
    "base = 'none'\n[[rule]]\npath = '/'\nclass = 'ephemeral'\n[[rule]]\npath = '/**'\nclass = 'ephemeral'\n";

/// What may follow an archive's end: writers fill it up to a whole record.
const MAX_REST_BYTES: u64 = 64 << 20;

/// Why a layer could not be held to its diff_id.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordedError {
    #[error("the recording of its archive cannot be read")]
    Archive(#[from] LayerError),
    #[error("the rest of its archive cannot be read")]
    Rest(#[source] io::Error),
    #[error("over {MAX_REST_BYTES} bytes follow the end of its archive, as the runtime recorded it")]
    LongRest,
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("the findings of it cannot be read again")]
    Findings(#[source] io::Error),
}

/// What a layer is held to. A hard link into a lower layer cannot be followed: then its
/// archive cannot be read.
pub(crate) struct Recorded {
    pub(crate) recording: File,
    pub(crate) diff_id: Digest,
    pub(crate) is_lowest: bool,
    pub(crate) top_mode: Option<u16>,
}

/// Sweeps the directory of a layer.
pub(crate) fn check_recorded(
    root: &Root,
    recorded: Recorded,
    looking: Looking<'_>,
    findings: impl Fn() -> FindingsWriter,
    clock: fn() -> Timestamp,
) -> Result<CheckedLayer, RecordedError> {
    let files = FilesOf(root);
    let mut archive = Hashing {
        inner: Reassembly::new(recorded.recording, &files),
        hasher: Algorithm::Sha256.hasher(),
        looking,
    };
    let reading = Reading { algorithm: looking.algorithm, limits: Limits::USUAL, lint: false };
    let layer = Layer::read(&mut archive, reading, &MergedTree::default())?;
    let mut rest = archive.by_ref().take(MAX_REST_BYTES + 1);
    if io::copy(&mut rest, &mut io::sink()).map_err(RecordedError::Rest)? > MAX_REST_BYTES {
        return Err(RecordedError::LongRest);
    }
    let found = archive.hasher.finish();
    let altered = archive.inner.altered();

    let entries = layer.entries.iter().map(|listed| Ok(without_content(listed)));
    let count = layer.entries.len() as u64;
    let Recorded { is_lowest, top_mode, .. } = recorded;
    let expected = Expected { entries, count, is_lowest, top_mode };
    // The archive is read whole each time: nothing of it is recalled.
    let mut memory = Memory::default();
    let mut checked = check(root, expected, &unread(), looking, &mut memory, findings(), clock)?;
    if found != recorded.diff_id {
        let mut all = checked.findings.load().map_err(RecordedError::Findings)?;
        let told: BTreeSet<TreePath> = all.iter().map(|finding| finding.path.clone()).collect();
        let damaged = damaged(&layer, altered, found, recorded.diff_id);
        all.extend(damaged.into_iter().filter(|finding| !told.contains(&finding.path)));
        all.sort_by(|one, other| one.path.cmp(&other.path));
        let mut writer = findings();
        for finding in &all {
            writer.push(finding).map_err(CheckError::from)?;
        }
        checked.findings = writer.finish().map_err(CheckError::from)?;
    }
    Ok(checked)
}

fn unread() -> Contract {
    let file = ContractFile::parse(UNREAD).expect("the contract is constant, and valid");
    Contract::compose(vec![file]).expect("one contract goes together with itself")
}

fn without_content(listed: &LayerEntry) -> LayerEntry {
    let mut listed = listed.clone();
    if let LayerNode::Entry(entry) = &mut listed.node {
        entry.xattrs.retain(|(name, _)| Terms::immutable().xattrs.contains(name));
    }
    if let LayerNode::Entry(Entry { node: Node::File { content, .. }, .. }) = &mut listed.node {
        *content = None;
    }
    listed
}

/// Which files are not as they were recorded; where each is, it is the layer as a whole.
fn damaged(layer: &Layer, altered: Vec<TreePath>, found: Digest, stated: Digest) -> Vec<Finding> {
    let modified = |path: TreePath, expected: Attributes, observed: Attributes| Finding {
        path,
        change: Change::Modified,
        fields: vec![Field::Content],
        class: Class::Immutable,
        forbidden: Vec::new(),
        held_to: HeldTo::Manifest,
        expected: Some(expected),
        observed: Some(observed),
    };
    if altered.is_empty() {
        let whole = |digest| Attributes { content: Some(digest), ..Attributes::of_kind(Kind::Directory) };
        return vec![modified(TreePath::root(), whole(stated), whole(found))];
    }
    let listed: BTreeMap<&TreePath, &LayerNode> =
        layer.entries.iter().map(|listed| (&listed.path, &listed.node)).collect();
    let finding = |path: TreePath| {
        let entry = listed.get(&path).and_then(|node| node.entry());
        let observed = entry.map_or(Attributes::of_kind(Kind::File), Attributes::from);
        modified(path, Attributes { content: None, ..observed.clone() }, observed)
    };
    // An archive may list a path several times.
    let altered: BTreeSet<TreePath> = altered.into_iter().collect();
    altered.into_iter().map(finding).collect()
}

/// The files beneath a root.
struct FilesOf<'a>(&'a Root);

impl Contents for FilesOf<'_> {
    fn open(&self, path: &TreePath) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(beneath::open(&self.0.directory, path)?))
    }
}

/// The archive, hashed while it is read.
struct Hashing<'a, R> {
    inner: Reassembly<'a, R>,
    hasher: Hasher,
    looking: Looking<'a>,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.looking.counters.add_bytes(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
