//! Enrols nodes, and renews their certificates.
//!
//! The same key with the same evidence gets the same enrolment again, however
//! often it asks: an answer may be lost. What is durable comes first, then the
//! answer. A name that a live node has goes to nobody else.

use std::sync::Arc;

use congruent_protocol::enrolment::{
    ENROLMENT_SCHEMA, EnrollRequest, Enrolled, Issued, MAX_SKEW_SECONDS, RenewRequest, Renewed, SealKey,
};
use congruent_protocol::key::PublicKey;
use jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;
use tracing::{info, warn};
use uuid::Uuid;

use super::join::{Admission, Applicant, JoinMethod};
use super::proof::ProvenKey;
use super::{Authority, EnrolError, Peer};
use crate::clock::{Clock, after};
use crate::config::{Config, Node, check_name};
use crate::ingest::{NEVER_REPORTED, chain_of};
use crate::judge::retire_containers;
use crate::store::{EnrolmentRow, Store, StoreError, Tx};
use crate::subject::SubjectId;

/// Enrols nodes.
pub(crate) struct Enroller {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) authority: Arc<Authority>,
    pub(crate) join: Box<dyn JoinMethod>,
    /// Where enrolled nodes report.
    pub(crate) agents_url: String,
}

/// A key that was admitted, and what it is to be enrolled as.
struct Candidate {
    applicant: Applicant,
    public_key: PublicKey,
    admission: Admission,
    agent_version: String,
    seal_key: SealKey,
}

/// The enrolment that a candidate has.
struct Placed {
    row: EnrolmentRow,
    /// Whether its chain of reports has begun.
    has_reported: bool,
}

impl Enroller {
    /// Enrols the node that asks from `address`.
    pub(crate) async fn enroll(
        &self,
        request: EnrollRequest,
        address: IpAddr,
    ) -> Result<Enrolled, EnrolError> {
        let node = request.node.clone();
        let enrolled = self.try_enroll(request, address).await;
        match &enrolled {
            Ok(enrolled) => info!(
                node = enrolled.node,
                group = enrolled.group,
                enrolment = enrolled.enrolment,
                "enrolled"
            ),
            Err(refused) => {
                let message = chain_of(refused);
                warn!(node = %congruent_protocol::path::escape(node.as_bytes()), %address, code = refused.code(), "not enrolled: {message}");
            }
        }
        enrolled
    }

    async fn try_enroll(&self, request: EnrollRequest, address: IpAddr) -> Result<Enrolled, EnrolError> {
        check_version(request.schema_version)?;
        let now = (self.clock)();
        check_skew(request.sent_at, now)?;
        let node = check_name("node", request.node.clone()).map_err(|_| EnrolError::Name(request.node))?;
        let key = ProvenKey::of_request(&request.csr).map_err(EnrolError::Proof)?;
        let applicant = Applicant { node, key: key.fingerprint().to_owned(), address };
        let admission = self.join.admit(&request.evidence, &applicant).await.map_err(EnrolError::Join)?;
        if self.config.groups.get(&admission.group).is_none() {
            return Err(EnrolError::NoGroup(admission.group));
        }
        let candidate = Candidate {
            applicant,
            public_key: key.public().clone(),
            admission,
            agent_version: request.agent_version.chars().take(100).collect(),
            seal_key: random_seal_key()?,
        };
        let Placed { row, has_reported } = self.record(candidate, now).await?;
        Ok(Enrolled {
            schema_version: ENROLMENT_SCHEMA,
            issued: self.issue(&row.node, &key, now)?,
            enrolment: row.id,
            node: row.node,
            group: row.group,
            seal_key: (!has_reported).then_some(row.seal_key),
        })
    }

    /// Renews the certificate of a node that has shown one, also one that is over.
    pub(crate) fn renew(&self, request: &RenewRequest, peer: &Peer) -> Result<Renewed, EnrolError> {
        check_version(request.schema_version)?;
        let now = (self.clock)();
        if now > after(peer.not_after, self.config.identity.grace) {
            return Err(EnrolError::TooLate { ended: peer.not_after });
        }
        let key = ProvenKey::of_request(&request.csr).map_err(EnrolError::Proof)?;
        if key.fingerprint() != peer.key {
            return Err(EnrolError::OtherKey);
        }
        let issued = self.issue(&peer.node, &key, now)?;
        info!(node = peer.node, not_after = %issued.not_after, "renewed a certificate");
        Ok(Renewed { schema_version: ENROLMENT_SCHEMA, issued })
    }

    fn issue(&self, node: &str, key: &ProvenKey, now: Timestamp) -> Result<Issued, EnrolError> {
        let life = self.config.identity.certificate_life;
        let certificate = self.authority.issue_to_node(node, key, now, life).map_err(EnrolError::Issue)?;
        Ok(Issued {
            certificate: certificate.pem,
            ca: self.authority.pem().to_owned(),
            agents_url: self.agents_url.clone(),
            server_time: now,
            renew_at: certificate.renew_at,
            not_after: certificate.not_after,
        })
    }

    /// Makes the enrolment durable, or finds the one that there is.
    async fn record(&self, candidate: Candidate, now: Timestamp) -> Result<Placed, EnrolError> {
        let config = Arc::clone(&self.config);
        let groups = Arc::clone(&self.config);
        let work = move |tx: &Tx<'_>| {
            // It may have been deleted since it was looked for.
            match groups.groups.get(&candidate.admission.group) {
                None => Ok(Err(EnrolError::NoGroup(candidate.admission.group.clone()))),
                Some(_) => place(tx, &candidate, now),
            }
        };
        // Once it is committed, and in one order with what is revoked.
        let then = move |placed: &Result<Placed, EnrolError>| {
            if let Ok(placed) = placed {
                config.nodes.admit(Node::enrolled(&placed.row));
            }
        };
        self.store.write_then("enrol a node", work, then).await.map_err(EnrolError::Store)?
    }
}

/// Finds the enrolment that a candidate has, or makes it one.
fn place(
    tx: &Tx<'_>,
    candidate: &Candidate,
    now: Timestamp,
) -> Result<Result<Placed, EnrolError>, StoreError> {
    let Candidate { applicant, public_key, admission, agent_version, seal_key } = candidate;
    if let Some(known) = tx.enrolment_with_key(&applicant.key)? {
        let has_reported = tx.chain_of(&known.node, &known.id)?.is_some();
        return Ok(match known.revoked_at {
            Some(at) => Err(EnrolError::Revoked { at }),
            None if (&known.node, &known.group) == (&applicant.node, &admission.group) => {
                Ok(Placed { row: known, has_reported })
            }
            None => Err(EnrolError::KeyTaken { node: known.node, group: known.group }),
        });
    }
    if let Some(other) = tx.enrolment_of(&applicant.node)? {
        return Ok(Err(EnrolError::NodeTaken { node: other.node, since: other.enrolled_at }));
    }
    let row = EnrolmentRow {
        id: format!("enr_{}", Uuid::new_v4().simple()),
        node: applicant.node.clone(),
        group: admission.group.clone(),
        key: applicant.key.clone(),
        public_key: public_key.clone(),
        seal_key: seal_key.clone(),
        enrolled_at: now,
        admitted_by: admission.by.clone(),
        agent_version: agent_version.clone(),
        revoked_at: None,
        revoked_by: None,
        revoked_why: None,
    };
    tx.insert_enrolment(&row)?;
    match tx.node(&row.node)? {
        None => tx.insert_subject(&SubjectId::node(&row.node), &row.group, now, NEVER_REPORTED)?,
        Some(_) => {
            retire_containers(tx, &row.node, now)?;
            tx.begin_node_anew(&row.node, &row.group, now, NEVER_REPORTED)?;
        }
    }
    Ok(Ok(Placed { row, has_reported: false }))
}

fn check_version(found: u32) -> Result<(), EnrolError> {
    match found {
        ENROLMENT_SCHEMA => Ok(()),
        found => Err(EnrolError::Version { found, known: ENROLMENT_SCHEMA }),
    }
}

/// A node whose clock is far off would take its own certificate for invalid.
fn check_skew(node: Timestamp, server: Timestamp) -> Result<(), EnrolError> {
    if node.duration_since(server).abs() > SignedDuration::from_secs(MAX_SKEW_SECONDS) {
        return Err(EnrolError::ClockSkew { node, server });
    }
    Ok(())
}

fn random_seal_key() -> Result<SealKey, EnrolError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(EnrolError::Random)?;
    Ok(SealKey::new(bytes))
}
