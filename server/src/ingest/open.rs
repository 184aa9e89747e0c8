//! From a body to a report that is the node's own: signature, chain and seal hold.
//! What it says is not looked at yet.

use congruent_protocol::digest::Digest;
use congruent_protocol::key::PublicKey;
use congruent_protocol::report::{Report, Sealed, SetChange, report_digest};
use congruent_protocol::seal::SEAL_KEY_BYTES;

use super::seals::Seals;
use super::{Refused, check};

/// What an enrolment says of a node's reports.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    /// The node's id.
    pub(crate) node: String,
    /// The chain that its reports are in.
    pub(crate) chain: String,
    /// What signs them.
    pub(crate) key: PublicKey,
    /// What seals the first one.
    pub(crate) first_seal: [u8; SEAL_KEY_BYTES],
}

/// A report that its node made.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) report: Report<SetChange>,
    pub(super) digest: Digest,
    pub(super) body: Vec<u8>,
}

/// Opens a body that `sender` has sent.
pub(super) fn open(sender: &Sender, seals: &Seals, body: Vec<u8>) -> Result<Opened, Refused> {
    let sealed = Sealed::parse(&body).map_err(Refused::Sealed)?;
    // Nothing of a stranger's is parsed.
    sealed.check_signature(&sender.key).map_err(Refused::Sealed)?;
    let report = check::parse(sealed.payload())?;
    if report.node != sender.node {
        return Err(Refused::WrongNode { claimed: report.node, owner: sender.node.clone() });
    }
    if report.chain != sender.chain {
        return Err(Refused::WrongChain { claimed: report.chain, enrolment: sender.chain.clone() });
    }
    let key = seals.key(&sender.chain, &sender.first_seal, report.sequence).map_err(Refused::OutOfReach)?;
    sealed.check_seal(&key).map_err(Refused::Sealed)?;
    seals.keep(&sender.chain, key);
    let digest = report_digest(sealed.payload());
    Ok(Opened { report, digest, body })
}
