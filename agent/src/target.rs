//! What a root is held to: the stack of manifests from their files, the ledger,
//! and the key for what must not be told.
//!
//! Each manifest is opened once. The descriptor that was checked is the one that
//! is compared with, whatever takes the file's place meanwhile.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use congruent_protocol::contract::Class;
use congruent_protocol::digest::{ContentKey, DIGEST_BYTES};
use congruent_protocol::ledger::{Ledger, MAX_LEDGER_BYTES};
use congruent_protocol::manifest::Manifest;
use congruent_protocol::stack::Stack;
use congruent_protocol::trust::Trust;
use jiff::Timestamp;

use crate::regular;

/// What a root is held to.
pub(crate) struct Target {
    pub(crate) stack: Stack,
    pub(crate) ledger: Ledger,
    pub(crate) content_key: ContentKey,
    files: Vec<File>,
    /// The base manifest's place, where its entries are not proven yet.
    unproven: Option<PathBuf>,
}

/// Where a target's parts are.
pub(crate) struct Sources<'a> {
    pub(crate) manifest: &'a Path,
    pub(crate) add_ons: &'a [PathBuf],
    /// None to believe whoever wrote the manifests.
    pub(crate) trust: Option<&'a Trust>,
    pub(crate) ledger: Option<&'a Path>,
    pub(crate) content_key: ContentKey,
}

impl Target {
    /// Opens and checks everything, as of `now`.
    pub(crate) fn open(sources: Sources<'_>, now: Timestamp) -> anyhow::Result<Self> {
        let base = open_manifest(sources.manifest, sources.trust, now)?;
        Self::on(base, sources, now)
    }

    /// Opens everything, but leaves it to [`Target::prove`] to hold the base's
    /// entries to its statement, where nothing else needs them before.
    pub(crate) fn open_unproven(sources: Sources<'_>, now: Timestamp) -> anyhow::Result<Self> {
        let (base, file) = open_statement(sources.manifest, sources.trust, now)?;
        let contract = &base.predicate().contract;
        if !sources.add_ons.is_empty() || contract.has(|terms| terms.class == Class::AppendOnly) {
            return Self::open(sources, now);
        }
        let manifest = sources.manifest.to_owned();
        let target = Self::on((base, file), sources, now)?;
        Ok(Self { unproven: Some(manifest), ..target })
    }

    /// Checks what was not checked when it was opened: that the base's entries have
    /// the stated root. Nothing may be concluded without, unless a sweep that found no
    /// difference came to that root, or it was proven of the same statement before.
    /// All else the entries are held to whenever they are read.
    pub(crate) fn prove(&self) -> anyhow::Result<()> {
        let Some(manifest) = &self.unproven else { return Ok(()) };
        let proven = self.stack.base().check_entries(&mut &self.files[0]);
        proven.map_err(|error| unusable(manifest, error))
    }

    fn on((base, file): (Manifest, File), sources: Sources<'_>, now: Timestamp) -> anyhow::Result<Self> {
        let Sources { add_ons, trust, ledger, content_key, .. } = sources;
        let (mut manifests, mut files) = (Vec::new(), vec![file]);
        for path in add_ons {
            let (add_on, file) = open_manifest(path, trust, now)?;
            manifests.push(add_on);
            files.push(file);
        }
        let stack = Stack::assemble(base, manifests, files.iter().collect())
            .context("the manifests do not go together")?;
        let ledger = match ledger {
            None => Ledger::empty(stack.root()),
            Some(path) => {
                let shown = || format!("cannot use the ledger {}", path.display());
                let ledger = read_ledger(path).with_context(shown)?;
                ledger.check(stack.root(), stack.contract(), stack.reserved()).with_context(shown)?;
                ledger
            }
        };
        Ok(Self { stack, ledger, content_key, files, unproven: None })
    }

    /// The manifests' open files, the base's first.
    pub(crate) fn files(&self) -> Vec<&File> {
        self.files.iter().collect()
    }
}

/// Opens one manifest and checks it whole. Without trust it is believed, but it
/// must not have expired.
pub(crate) fn open_manifest(
    path: &Path,
    trust: Option<&Trust>,
    now: Timestamp,
) -> anyhow::Result<(Manifest, File)> {
    let (manifest, mut file) = open_statement(path, trust, now)?;
    let manifest = manifest.proven_by(&mut file).map_err(|error| unusable(path, error))?;
    Ok((manifest, file))
}

/// Opens one manifest and checks it but for its entries.
fn open_statement(path: &Path, trust: Option<&Trust>, now: Timestamp) -> anyhow::Result<(Manifest, File)> {
    let mut file =
        regular::open(path).with_context(|| format!("cannot open the manifest {}", path.display()))?;
    let manifest = match trust {
        Some(trust) => Manifest::verify_statement(&mut file, trust, now),
        None => Manifest::read_statement(&mut file)
            .and_then(|manifest| manifest.check_expiry(now).map(|()| manifest)),
    };
    Ok((manifest.map_err(|error| unusable(path, error))?, file))
}

/// Says which manifest it is that cannot be used.
pub(crate) fn unusable(manifest: &Path, why: impl Into<anyhow::Error>) -> anyhow::Error {
    why.into().context(format!("cannot use the manifest {}", manifest.display()))
}

/// Reads a ledger from its file.
pub(crate) fn read_ledger(path: &Path) -> anyhow::Result<Ledger> {
    let mut json = Vec::new();
    // One byte more than is taken, so that a larger one shows.
    regular::open(path)?.take(MAX_LEDGER_BYTES as u64 + 1).read_to_end(&mut json)?;
    Ok(Ledger::from_json(&json)?)
}

/// Reads a key for sensitive content: 32 bytes.
pub(crate) fn read_content_key(path: &Path) -> anyhow::Result<ContentKey> {
    let mut bytes = Vec::new();
    regular::open(path)
        .and_then(|file| file.take(DIGEST_BYTES as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read the content key {}", path.display()))?;
    let bytes: [u8; DIGEST_BYTES] = bytes.try_into().map_err(|_| {
        anyhow::anyhow!(
            "the content key {} is not {DIGEST_BYTES} bytes long; `openssl rand -out FILE {DIGEST_BYTES}` makes one",
            path.display()
        )
    })?;
    Ok(ContentKey::new(bytes))
}

/// A key that nobody has, and that is forgotten with this process.
pub(crate) fn passing_content_key() -> anyhow::Result<ContentKey> {
    let mut bytes = [0; DIGEST_BYTES];
    getrandom::fill(&mut bytes).context("cannot get random bytes")?;
    Ok(ContentKey::new(bytes))
}
