//! The way to a collector: where it is, whom to trust, and from which addresses a
//! fleet of one machine comes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpSocket;
use tokio::net::TcpStream;

use crate::FleetError;
use crate::connection::{Connection, Trouble};
use crate::enrolment::Identity;

/// How many connections come from one address of the loopback: a collector gives no
/// address more than its share.
const CONNECTIONS_OF_ADDRESS: usize = 1000;

/// Which HTTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Http {
    /// HTTP/1.1.
    One,
    /// HTTP/2, as agents do.
    #[default]
    Two,
}

impl Http {
    fn protocol(self) -> Vec<u8> {
        match self {
            Self::One => b"http/1.1".to_vec(),
            Self::Two => b"h2".to_vec(),
        }
    }
}

/// The way to a collector.
#[derive(Clone)]
pub struct Way {
    /// Where nodes join.
    url: String,
    roots: Arc<RootCertStore>,
    /// Which HTTP nodes speak.
    pub http: Http,
}

/// A host, its port, and its name as TLS knows it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) authority: String,
    address: SocketAddr,
    name: ServerName<'static>,
}

impl Way {
    /// To the collector at `url`, whose authority's certificate is in the file `ca`.
    ///
    /// # Errors
    /// When the URL or the certificate is none.
    pub fn new(url: &str, ca: &Path, http: Http) -> Result<Self, FleetError> {
        let certificate = CertificateDer::from_pem_file(ca)
            .map_err(|error| FleetError::Tls(format!("{} is no certificate: {error}", ca.display())))?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).map_err(|error| FleetError::Tls(error.to_string()))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), roots: Arc::new(roots), http })
    }

    /// TLS as an enrolled node speaks it.
    pub(crate) fn tls_of(&self, identity: &Identity) -> Result<Arc<ClientConfig>, FleetError> {
        let failed = |error: rustls::Error| FleetError::Tls(error.to_string());
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())
            .map_err(|error| FleetError::Tls(error.to_string()))?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(failed)?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(vec![certificate], identity.tls_key()?)
            .map_err(failed)?;
        config.alpn_protocols = vec![self.http.protocol()];
        Ok(Arc::new(config))
    }

    fn tls_without_certificate(&self) -> Result<Arc<ClientConfig>, FleetError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| FleetError::Tls(error.to_string()))?;
        let mut config = builder.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth();
        config.alpn_protocols = vec![Http::Two.protocol()];
        Ok(Arc::new(config))
    }

    /// A connection to where nodes join and operators ask.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(crate) async fn to_join(&self) -> Result<Connection, FleetError> {
        let (place, tls) = (Place::of(&self.url)?, self.tls_without_certificate()?);
        let unreachable =
            |trouble: Trouble| FleetError::Unreachable { url: self.url.clone(), why: trouble.to_string() };
        Connection::open(&place, 0, tls).await.map_err(unreachable)
    }
}

impl Place {
    /// That of a URL whose host is an address.
    pub(crate) fn of(url: &str) -> Result<Self, FleetError> {
        let refused = || FleetError::Url(url.to_owned());
        let authority = url.strip_prefix("https://").ok_or_else(refused)?.trim_end_matches('/');
        let (host, _) = authority.rsplit_once(':').ok_or_else(refused)?;
        let address = match authority.parse() {
            Ok(address) => address,
            Err(_) => resolve(authority).ok_or_else(refused)?,
        };
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|_| refused())?;
        Ok(Self { authority: authority.to_owned(), address, name })
    }

    pub(crate) fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// A connection from the address that node `number` of a fleet has.
    pub(crate) async fn dial(&self, number: usize) -> std::io::Result<TcpStream> {
        let Some(from) = self.source(number) else { return TcpStream::connect(self.address).await };
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        socket.connect(self.address).await
    }

    /// On the loopback, a thousand nodes share each address; elsewhere there is but one.
    fn source(&self, number: usize) -> Option<IpAddr> {
        let is_loopback = matches!(self.address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let [_, _, third, fourth] = u32::try_from(number / CONNECTIONS_OF_ADDRESS).ok()?.to_be_bytes();
        is_loopback.then(|| Ipv4Addr::new(127, 77, third, fourth).into())
    }
}

fn resolve(authority: &str) -> Option<SocketAddr> {
    std::net::ToSocketAddrs::to_socket_addrs(authority).ok()?.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_nodes_share_an_address_of_the_loopback() {
        let here = Place::of("https://127.0.0.1:8441/").unwrap();
        let at = |number| here.source(number).map(|ip| ip.to_string());
        assert_eq!(at(0).as_deref(), Some("127.77.0.0"));
        assert_eq!(at(999).as_deref(), Some("127.77.0.0"));
        assert_eq!(at(257_000).as_deref(), Some("127.77.1.1"));
        assert_eq!(Place::of("https://192.0.2.1:8441").unwrap().source(1), None);
        for wrong in ["http://127.0.0.1:1", "https://127.0.0.1", "127.0.0.1:1", "https://"] {
            assert!(Place::of(wrong).is_err(), "{wrong}");
        }
    }
}
