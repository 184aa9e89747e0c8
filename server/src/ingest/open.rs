//! From a body to a report that is the node's own: signature, chain and seal hold.
//! What it says is not looked at yet.

use congruent_protocol::digest::Digest;
use congruent_protocol::report::{Report, Sealed, SetChange, report_digest};

use super::seals::Seals;
use super::{Received, Refused, check};
use crate::config::Node;

/// A report that its node made.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) report: Report<SetChange>,
    pub(super) digest: Digest,
    pub(super) body: Received,
    /// Whether its number is higher than any of its chain that this collector has opened.
    /// Others may have.
    pub(super) is_new: bool,
}

/// Opens a body that `node` has sent, whose chain is known up to report `stored`.
pub(super) fn open(node: &Node, seals: &Seals, stored: u64, body: Received) -> Result<Opened, Refused> {
    let sealed = Sealed::parse(&body.bytes).map_err(Refused::Sealed)?;
    // Nothing of a stranger's is parsed.
    sealed.check_signature(&node.public_key).map_err(Refused::Sealed)?;
    let report = check::parse(sealed.payload())?;
    if report.node != node.id {
        return Err(Refused::WrongNode { claimed: report.node, owner: node.id.clone() });
    }
    if report.chain != node.enrolment {
        return Err(Refused::WrongChain { claimed: report.chain, enrolment: node.enrolment.clone() });
    }
    let is_new = seals.newest(&node.enrolment).is_some_and(|newest| newest < report.sequence);
    let key = seals
        .key(&node.enrolment, node.first_seal.as_bytes(), stored, report.sequence)
        .map_err(Refused::OutOfReach)?;
    sealed.check_seal(&key).map_err(Refused::Sealed)?;
    seals.keep(&node.enrolment, key);
    let digest = report_digest(sealed.payload());
    Ok(Opened { report, digest, body, is_new })
}
