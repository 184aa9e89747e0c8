//! From a body to a report that is the node's own: signature, chain and seal hold.
//! What it says is not looked at yet.

use congruent_protocol::digest::Digest;
use congruent_protocol::report::{Report, Sealed, SetChange, report_digest};

use super::seals::Seals;
use super::{Refused, check};
use crate::config::Node;

/// A report that its node made.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) report: Report<SetChange>,
    pub(super) digest: Digest,
    pub(super) body: Vec<u8>,
}

/// Opens a body that `node` has sent, whose chain is known up to report `stored`.
pub(super) fn open(node: &Node, seals: &Seals, stored: u64, body: Vec<u8>) -> Result<Opened, Refused> {
    let sealed = Sealed::parse(&body).map_err(Refused::Sealed)?;
    // Nothing of a stranger's is parsed.
    sealed.check_signature(&node.public_key).map_err(Refused::Sealed)?;
    let report = check::parse(sealed.payload())?;
    if report.node != node.id {
        return Err(Refused::WrongNode { claimed: report.node, owner: node.id.clone() });
    }
    if report.chain != node.enrolment {
        return Err(Refused::WrongChain { claimed: report.chain, enrolment: node.enrolment.clone() });
    }
    let key = seals
        .key(&node.enrolment, node.first_seal.as_bytes(), stored, report.sequence)
        .map_err(Refused::OutOfReach)?;
    sealed.check_seal(&key).map_err(Refused::Sealed)?;
    seals.keep(&node.enrolment, key);
    let digest = report_digest(sealed.payload());
    Ok(Opened { report, digest, body })
}
