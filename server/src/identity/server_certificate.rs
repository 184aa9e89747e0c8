//! What the collector's own ports show: a certificate by its own authority, made
//! when it starts and made anew, with another key, when half of its time is over.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::{info, warn};

use super::Authority;
use super::certificates::IssueError;
use crate::clock::Clock;
use crate::ingest::chain_of;

/// The certificate that is shown now.
pub(super) struct ServerCertificate {
    authority: Arc<Authority>,
    names: Vec<String>,
    clock: Clock,
    shown: RwLock<Shown>,
}

struct Shown {
    certified: Arc<CertifiedKey>,
    renew_at: Timestamp,
}

impl ServerCertificate {
    /// A certificate for these names and addresses.
    pub(super) fn new(
        authority: Arc<Authority>,
        names: Vec<String>,
        clock: Clock,
    ) -> Result<Self, IssueError> {
        let shown = RwLock::new(issue(&authority, &names, clock())?);
        Ok(Self { authority, names, clock, shown })
    }

    /// The certificate to show at this time.
    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        let now = (self.clock)();
        {
            let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
            if now < shown.renew_at {
                return Arc::clone(&shown.certified);
            }
        }
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        // Another handshake may have come first.
        if now >= shown.renew_at {
            match issue(&self.authority, &self.names, now) {
                Ok(issued) => {
                    *shown = issued;
                    info!("renewed the collector's own certificate");
                }
                // The one that is there is good for as long again.
                Err(error) => warn!("cannot renew the collector's own certificate: {}", chain_of(&error)),
            }
        }
        Arc::clone(&shown.certified)
    }
}

fn issue(authority: &Authority, names: &[String], now: Timestamp) -> Result<Shown, IssueError> {
    let issued = authority.issue_to_server(names, now)?;
    Ok(Shown { certified: Arc::new(issued.certified), renew_at: issued.renew_at })
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate").field("names", &self.names).finish_non_exhaustive()
    }
}
