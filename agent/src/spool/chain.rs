//! The end of a node's chain of reports, and the key that seals the next one.
//!
//! Both are one file, so that the key of a report that is spooled is forgotten in
//! the same instant as its number is taken. What the disk still has of the file
//! that it replaced is beyond us.

use std::io;
use std::path::Path;

use congruent_protocol::digest::Digest;
use congruent_protocol::seal::{SEAL_KEY_BYTES, SealKey};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::SpoolError;
use super::durable;
use crate::atomic;

/// In the state directory.
const CHAIN_FILE: &str = "chain.json";
/// More than any such file has.
const MAX_CHAIN_BYTES: u64 = 64 << 10;

/// The end of a chain.
#[derive(Debug)]
pub(super) struct Chain {
    /// The enrolment that it belongs to: each begins a chain.
    pub(super) id: String,
    /// The newest report's number; 0 before the first.
    pub(super) sequence: u64,
    /// The newest report's digest.
    pub(super) digest: Option<Digest>,
    /// How many of its reports were lost before they were sent.
    pub(super) lost: u64,
    /// The set of findings that the collector acknowledged last.
    pub(super) acknowledged: Option<Digest>,
    /// What seals the next report.
    pub(super) key: SealKey,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    id: String,
    sequence: u64,
    digest: Option<Digest>,
    lost: u64,
    acknowledged: Option<Digest>,
    seal_key: String,
}

impl Chain {
    /// The chain of a new enrolment.
    pub(super) fn begin(id: String, first: [u8; SEAL_KEY_BYTES]) -> Self {
        Self { id, sequence: 0, digest: None, lost: 0, acknowledged: None, key: SealKey::new(1, first) }
    }

    /// Reads what was written, where there is anything.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, SpoolError> {
        let path = directory.join(CHAIN_FILE);
        let bytes = match durable::read(&path, MAX_CHAIN_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SpoolError::Use { path, source }),
        };
        let damaged = |what: String| SpoolError::Damaged { path: path.clone(), what };
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let key = BASE64.decode(wire.seal_key.as_bytes()).ok().and_then(|key| key.try_into().ok());
        let key: [u8; SEAL_KEY_BYTES] = key.ok_or_else(|| damaged("its key is not one".to_owned()))?;
        let next =
            wire.sequence.checked_add(1).ok_or_else(|| damaged("its numbers are used up".to_owned()))?;
        let Wire { id, sequence, digest, lost, acknowledged, .. } = wire;
        Ok(Some(Self { id, sequence, digest, lost, acknowledged, key: SealKey::new(next, key) }))
    }

    /// Makes it last.
    pub(super) fn write(&self, directory: &Path) -> Result<(), SpoolError> {
        let wire = Wire {
            id: self.id.clone(),
            sequence: self.sequence,
            digest: self.digest,
            lost: self.lost,
            acknowledged: self.acknowledged,
            seal_key: BASE64.encode(self.key.as_bytes()),
        };
        let bytes = serde_json::to_vec(&wire).expect("a chain's end always serialises");
        let path = directory.join(CHAIN_FILE);
        atomic::write_private(&path, &bytes).map_err(|source| SpoolError::Use { path, source })
    }

    /// The chain with one more report.
    pub(super) fn extended(&self, digest: Digest) -> Self {
        let mut key = SealKey::new(self.key.number(), *self.key.as_bytes());
        key.advance();
        let (id, sequence, digest) = (self.id.clone(), self.sequence + 1, Some(digest));
        Self { id, sequence, digest, lost: self.lost, acknowledged: self.acknowledged, key }
    }
}
