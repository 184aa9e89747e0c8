//! Renews the certificate when half of its time is over, and goes on trying: also
//! when it is over, for as long as the collector takes it.

use std::sync::Arc;
use std::time::Duration;

use congruent_protocol::enrolment::{ENROLMENT_SCHEMA, RENEW_PATH, RenewRequest, Renewed, code};
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::request::{post, private_key, signing_request};
use super::{EnrolError, Enrolment, EnrolmentFiles, mutual};
use crate::client::Client;
use crate::retry::Retry;

/// How long it waits at most before it looks at the clock again, which may have
/// been set, or stood still while the machine slept.
const LONGEST_NAP: Duration = Duration::from_mins(10);
/// How often a node that is refused for good asks again.
const REFUSED_PAUSE: Duration = Duration::from_hours(1);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Renews a node's certificate again and again, while the agent runs.
pub(crate) struct Renewal {
    files: EnrolmentFiles,
    enrolment: Enrolment,
    client: Arc<Client>,
    due: Timestamp,
}

/// Gets the next certificate, and keeps it.
pub(crate) async fn renew(files: &EnrolmentFiles, enrolment: &Enrolment) -> Result<Enrolment, EnrolError> {
    let key = files.key().map_err(EnrolError::State)?;
    let request = RenewRequest { schema_version: ENROLMENT_SCHEMA, csr: signing_request(&key)? };
    let client = mutual::client(files, |builder| builder.timeout(REQUEST_TIMEOUT))?;
    let url = format!("{}{RENEW_PATH}", enrolment.agents_url);
    let Renewed { issued, .. } = post(&client, &url, &request).await?;
    // Refuses what would not serve, before it takes the place of what does.
    let wrong = |_| EnrolError::Certificate("it is no PEM".to_owned());
    let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).map_err(wrong)?];
    let authority = CertificateDer::from_pem_slice(issued.ca.as_bytes()).map_err(wrong)?;
    mutual::config(chain, authority, private_key(&key)?)?;
    files.keep_renewed(enrolment, &issued, Timestamp::now()).map_err(EnrolError::State)
}

impl Renewal {
    /// Renews `enrolment`, whose certificate `client` shows.
    pub(crate) fn new(files: EnrolmentFiles, enrolment: Enrolment, client: Arc<Client>) -> Self {
        let due = spread(&enrolment);
        Self { files, enrolment, client, due }
    }

    /// Whether the certificate is to be renewed now.
    pub(crate) fn is_due(&self) -> bool {
        Timestamp::now() >= self.due
    }

    /// Renews whenever it is due, or `asked` for; never ends.
    pub(crate) async fn run(mut self, asked: Arc<Notify>) -> std::convert::Infallible {
        let mut retry = Retry::default();
        loop {
            self.wait_until_due(&asked).await;
            let pause = match self.renew().await {
                Ok(()) => {
                    retry = Retry::default();
                    continue;
                }
                Err(refused) if is_final(&refused) => REFUSED_PAUSE,
                Err(_) => retry.next(),
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn wait_until_due(&self, asked: &Notify) {
        while !self.is_due() {
            let left = Duration::try_from(self.due.duration_since(Timestamp::now())).unwrap_or_default();
            tokio::select! {
                () = tokio::time::sleep(left.min(LONGEST_NAP)) => {}
                () = asked.notified() => return,
            }
        }
    }

    /// Renews once, and lets the client show the new certificate from then on.
    pub(crate) async fn renew(&mut self) -> Result<(), EnrolError> {
        match self.try_renew().await {
            Ok(()) => {
                info!(expires = %self.enrolment.expires_at, "the node's certificate is renewed");
                Ok(())
            }
            Err(refused) => {
                let why = chain_of(&refused);
                if is_final(&refused) {
                    error!(
                        "the collector renews the node's certificate no more, and nothing is reported when it is over: {why}"
                    );
                } else {
                    warn!(expires = %self.enrolment.expires_at, "the node's certificate is not renewed yet: {why}");
                }
                Err(refused)
            }
        }
    }

    async fn try_renew(&mut self) -> Result<(), EnrolError> {
        self.enrolment = renew(&self.files, &self.enrolment).await?;
        self.due = spread(&self.enrolment);
        self.client.show(&self.files, &self.enrolment)
    }
}

/// An error and its causes, as one line.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        line = format!("{line}: {source}");
        cause = source.source();
    }
    line
}

/// Whether asking again changes nothing until somebody does something.
fn is_final(error: &EnrolError) -> bool {
    matches!(error.code(), Some(code::REVOKED | code::NOT_ENROLLED))
}

/// When a certificate is renewed: up to a fifth of its life before its time, so
/// that nodes that enrolled at once do not ask at once.
fn spread(enrolment: &Enrolment) -> Timestamp {
    let early = enrolment.renew_at.duration_since(enrolment.issued_at);
    let early = SignedDuration::from_secs_f64(early.as_secs_f64().max(0.0) * 0.2 * crate::retry::random());
    enrolment.renew_at.checked_sub(early).unwrap_or(enrolment.renew_at)
}
