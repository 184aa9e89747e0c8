//! Sets of findings by their digests: what the next report is the difference to,
//! and what the collector may ask for whole.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use congruent_protocol::digest::Digest;
use congruent_protocol::drift::Finding;
use congruent_protocol::report::{MAX_REPORT_BYTES, findings_digest};

use super::durable;
use crate::atomic;

pub(super) const SETS_DIRECTORY: &str = "sets";
const SUFFIX: &str = ".json.zst";
const ZSTD_LEVEL: i32 = 3;

/// The sets that are kept.
#[derive(Debug)]
pub(super) struct Sets {
    directory: PathBuf,
    /// How many bytes they take.
    bytes: u64,
}

impl Sets {
    pub(super) fn open(state_directory: &Path) -> io::Result<Self> {
        let directory = state_directory.join(SETS_DIRECTORY);
        fs::create_dir_all(&directory)?;
        durable::remove_partial(&directory)?;
        let bytes = durable::bytes_in(&directory)?;
        Ok(Self { directory, bytes })
    }

    /// Keeps a set; the empty one needs no keeping.
    pub(super) fn keep(&mut self, digest: &Digest, findings: &[Finding]) -> io::Result<()> {
        let path = self.path_of(digest);
        if findings.is_empty() || (path.exists() && self.json(digest).is_some()) {
            return Ok(());
        }
        let json = serde_json::to_vec(findings).expect("findings always serialise");
        let packed = zstd::encode_all(&json[..], ZSTD_LEVEL)?;
        atomic::write_private(&path, &packed)?;
        self.bytes += packed.len() as u64;
        Ok(())
    }

    /// The JSON of a set, where it is kept and is what its name says.
    pub(super) fn json(&self, digest: &Digest) -> Option<Vec<u8>> {
        if *digest == findings_digest(&[]) {
            return Some(b"[]".to_vec());
        }
        let packed = durable::read(&self.path_of(digest), MAX_REPORT_BYTES).ok()?;
        let mut json = Vec::new();
        let decoder = zstd::Decoder::new(&packed[..]).ok()?;
        decoder.take(MAX_REPORT_BYTES).read_to_end(&mut json).ok()?;
        (digest.algorithm().digest(&json) == *digest).then_some(json)
    }

    /// The findings of a set, likewise.
    pub(super) fn findings(&self, digest: &Digest) -> Option<Vec<Finding>> {
        serde_json::from_slice(&self.json(digest)?).ok()
    }

    /// Forgets all but these.
    pub(super) fn retain(&mut self, wanted: &HashSet<Digest>) -> io::Result<()> {
        let wanted: HashSet<PathBuf> = wanted.iter().map(|digest| self.path_of(digest)).collect();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if !wanted.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        self.bytes = durable::bytes_in(&self.directory)?;
        Ok(())
    }

    /// How many bytes they take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn path_of(&self, digest: &Digest) -> PathBuf {
        let name: String = digest.to_string().replace(':', "-");
        self.directory.join(format!("{name}{SUFFIX}"))
    }
}
