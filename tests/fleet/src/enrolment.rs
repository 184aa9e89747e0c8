//! Joining: a token and a key for a certificate, as an agent does it.

use congruent_protocol::enrolment::{
    ENROLL_PATH, ENROLMENT_SCHEMA, EnrollRequest, Enrolled, Evidence, Secret,
};
use congruent_protocol::key::SecretKey;
use congruent_protocol::report::Refusal;
use data_encoding::BASE64;
use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::FleetError;
use crate::connection::{Body, Connection};
use crate::way::Way;

/// The version that simulated agents say they are of.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who a node is.
pub(crate) struct Identity {
    /// Its name.
    pub(crate) node: String,
    /// Its enrolment's id, which is also its chain's.
    pub(crate) enrolment: String,
    /// Where it reports.
    pub(crate) agents_url: String,
    pub(crate) seed: [u8; 32],
    pub(crate) certificate: String,
    pub(crate) first_seal: [u8; 32],
}

impl Identity {
    /// What it signs with.
    pub(crate) fn key(&self) -> SecretKey {
        SecretKey::from_seed(self.seed)
    }

    /// Its key, as TLS takes it.
    pub(crate) fn tls_key(&self) -> Result<PrivateKeyDer<'static>, FleetError> {
        private_key(&self.key())
    }
}

/// Enrols a node by this name, over a connection to where nodes join.
///
/// # Errors
/// When the collector refuses.
async fn enroll(connection: &mut Connection, node: &str, token: &str) -> Result<Identity, FleetError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(FleetError::Random)?;
    let request = EnrollRequest {
        schema_version: ENROLMENT_SCHEMA,
        evidence: Evidence::Token(Secret::new(token.to_owned())),
        node: node.to_owned(),
        csr: signing_request(&SecretKey::from_seed(seed))?,
        agent_version: VERSION.to_owned(),
        sent_at: Timestamp::now(),
    };
    let body = Body::plain(serde_json::to_vec(&request).expect("words always serialise"));
    let refused = |why: String| FleetError::Refused { node: node.to_owned(), why };
    let answer = connection.post(ENROLL_PATH, body).await.map_err(|trouble| refused(trouble.to_string()))?;
    if answer.status != 200 {
        let why = serde_json::from_slice::<Refusal>(&answer.body).map(|refusal| refusal.message);
        return Err(refused(why.unwrap_or_else(|_| format!("it answered {}", answer.status))));
    }
    let joined: Enrolled =
        serde_json::from_slice(&answer.body).map_err(|error| refused(error.to_string()))?;
    let first_seal = joined.seal_key.ok_or_else(|| refused("it gives no seal".to_owned()))?;
    Ok(Identity {
        node: joined.node,
        enrolment: joined.enrolment,
        agents_url: joined.issued.agents_url,
        seed,
        certificate: joined.issued.certificate,
        first_seal: *first_seal.as_bytes(),
    })
}

fn signing_request(key: &SecretKey) -> Result<String, FleetError> {
    let failed = |error: rcgen::Error| FleetError::Tls(error.to_string());
    let pair = KeyPair::try_from(&private_key(key)?).map_err(failed)?;
    let request = CertificateParams::default().serialize_request(&pair).map_err(failed)?;
    Ok(BASE64.encode(request.der()))
}

fn private_key(key: &SecretKey) -> Result<PrivateKeyDer<'static>, FleetError> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(key.to_pem().as_bytes());
    der.map(PrivateKeyDer::Pkcs8).map_err(|error| FleetError::Tls(error.to_string()))
}

/// Enrols nodes by these names, several at once.
///
/// # Errors
/// When the collector refuses any.
pub(crate) async fn enroll_all(
    way: &Way,
    names: Vec<String>,
    token: &str,
    at_once: usize,
) -> Result<Vec<Identity>, FleetError> {
    let share = names.len().div_ceil(at_once.max(1)).max(1);
    let joining: Vec<_> = names
        .chunks(share)
        .map(|names| {
            let (names, way, token) = (names.to_vec(), way.clone(), token.to_owned());
            tokio::spawn(async move {
                let mut connection = way.to_join().await?;
                let mut identities = Vec::with_capacity(names.len());
                for name in &names {
                    identities.push(enroll(&mut connection, name, &token).await?);
                }
                Ok::<_, FleetError>(identities)
            })
        })
        .collect();
    let mut all = Vec::new();
    for joined in joining {
        all.extend(joined.await.expect("joining does not panic")?);
    }
    Ok(all)
}
