//! A spooled report as it is sent, with what must be known of it for that.

use std::io::ErrorKind;
use std::path::Path;

use congruent_protocol::digest::Digest;
use congruent_protocol::key::PublicKey;
use congruent_protocol::report::{
    ContainerReport, ContainersSeen, MAX_REPORT_BYTES, Outcome, Report, Sealed, SetChange, report_digest,
};

use super::{SpoolError, durable};

/// A report's bytes, and what they say.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) bytes: Vec<u8>,
    /// The name that the collector gives it.
    pub(crate) digest: Digest,
    /// Whether it says that another was withheld: the end of the line.
    pub(crate) is_withheld: bool,
    /// The container that it is about; none where it is the node.
    pub(crate) container: Option<Box<ContainerReport>>,
    /// The containers on the node that it tells of.
    pub(crate) containers: Option<ContainersSeen>,
    pub(super) set: Option<SetOf>,
}

/// What a report says of its set of findings.
#[derive(Debug)]
pub(super) struct SetOf {
    pub(super) digest: Digest,
    pub(super) base: Option<Digest>,
    pub(super) has_pages: bool,
}

impl Parcel {
    /// Whether its subject was held to a manifest.
    pub(crate) fn is_verified(&self) -> bool {
        self.set.is_some()
    }

    /// Reads a report that this node signed under this number.
    pub(super) fn read(path: &Path, sequence: u64, key: &PublicKey) -> Result<Self, SpoolError> {
        let damaged = |what: String| SpoolError::DamagedReport { path: path.to_owned(), what };
        let bytes = durable::read(path, MAX_REPORT_BYTES).map_err(|error| match error.kind() {
            // What else stands here was not spooled by us: a link to a secret, say.
            ErrorKind::InvalidData => damaged(error.to_string()),
            _ => SpoolError::Use { path: path.to_owned(), source: error },
        })?;
        let sealed = Sealed::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
        sealed.check_signature(key).map_err(|error| damaged(error.to_string()))?;
        let digest = report_digest(sealed.payload());
        let report: Report<SetChange> =
            serde_json::from_slice(sealed.payload()).map_err(|error| damaged(error.to_string()))?;
        if report.sequence != sequence {
            return Err(damaged(format!("it has the number {}", report.sequence)));
        }
        let (set, is_withheld) = match &report.outcome {
            Outcome::Verified(verification) => {
                let SetChange { digest, base, pages, .. } = &verification.findings;
                (Some(SetOf { digest: *digest, base: *base, has_pages: !pages.is_empty() }), false)
            }
            Outcome::NoManifest(_) => (None, false),
            Outcome::Withheld(_) => (None, true),
        };
        let Report { container, containers, .. } = report;
        Ok(Self { digest, is_withheld, container, containers, set, bytes })
    }
}
