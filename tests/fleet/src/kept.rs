//! A file of enrolments: who nodes are and where their chains stand, a line each, so
//! that a fleet can run again. It has their keys, and is for its owner only.

use std::fs::{self, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use congruent_protocol::digest::Digest;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::FleetError;
use crate::enrolment::Identity;
use crate::node::Position;

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    node: String,
    enrolment: String,
    agents_url: String,
    key: String,
    certificate: String,
    sequence: u64,
    previous: Option<Digest>,
    seal: String,
}

/// Nodes and where their chains stand.
pub(crate) type Nodes = Vec<(Arc<Identity>, Position)>;

/// Reads a file of enrolments.
///
/// # Errors
/// When it is none.
pub(crate) fn read(path: &Path) -> Result<Nodes, FleetError> {
    let text =
        fs::read_to_string(path).map_err(|source| FleetError::Read { path: path.to_owned(), source })?;
    let damaged = |line| FleetError::Kept { path: path.to_owned(), line };
    text.lines().enumerate().map(|(at, line)| parse(line).ok_or_else(|| damaged(at + 1))).collect()
}

fn parse(line: &str) -> Option<(Arc<Identity>, Position)> {
    let bytes = |text: &str| -> Option<[u8; 32]> { BASE64.decode(text.as_bytes()).ok()?.try_into().ok() };
    let line: Line = serde_json::from_str(line).ok()?;
    let seal = bytes(&line.seal)?;
    let position = Position { sequence: line.sequence, previous: line.previous, seal };
    let identity = Identity {
        node: line.node,
        enrolment: line.enrolment,
        agents_url: line.agents_url,
        seed: bytes(&line.key)?,
        certificate: line.certificate,
        // Chains only go forward: from where it stands, the first one is not needed.
        first_seal: seal,
    };
    Some((Arc::new(identity), position))
}

/// Writes a file of enrolments, over the one that there was.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(path: &Path, nodes: &Nodes) -> Result<(), FleetError> {
    let failed = |source| FleetError::Write { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    let mut out = BufWriter::new(file);
    for (identity, position) in nodes {
        let line = Line {
            node: identity.node.clone(),
            enrolment: identity.enrolment.clone(),
            agents_url: identity.agents_url.clone(),
            key: BASE64.encode(&identity.seed),
            certificate: identity.certificate.clone(),
            sequence: position.sequence,
            previous: position.previous,
            seal: BASE64.encode(&position.seal),
        };
        let line = serde_json::to_string(&line).expect("words and numbers always serialise");
        writeln!(out, "{line}").map_err(failed)?;
    }
    out.flush().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_what_is_damaged_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("enrolments");
        let identity = Identity {
            node: "sim-1".to_owned(),
            enrolment: "enr_1".to_owned(),
            agents_url: "https://127.0.0.1:1".to_owned(),
            seed: [1; 32],
            certificate: "PEM\n".to_owned(),
            first_seal: [2; 32],
        };
        let position = Position { sequence: 7, previous: None, seal: [3; 32] };
        write(&path, &vec![(Arc::new(identity), position)]).unwrap();
        let read_again = read(&path).unwrap();
        let (identity, at) = &read_again[0];
        assert_eq!((&identity.node[..], identity.seed, *at), ("sim-1", [1; 32], position));
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{}\n");
        fs::write(&path, text).unwrap();
        assert!(matches!(read(&path), Err(FleetError::Kept { line: 2, .. })));
    }
}
