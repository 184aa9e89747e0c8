//! Where the store lies: a file of SQLite, or a server of PostgreSQL.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use postgres::config::{Host, SslMode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;
use super::sql::{Connection, Postgres, Sqlite};

/// How long a server may take to answer that a connection is made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long what was sent may stay unanswered, before the connection is given up.
const SILENT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a read may take; a transaction that stays open keeps all that others replace.
pub(super) const READ_LIMIT: Duration = Duration::from_secs(60);
/// What begins the address of a server.
const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// Where the store lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite(PathBuf),
    Postgres(Box<Server>),
}

/// A server of PostgreSQL, and a database on it.
#[derive(Clone)]
pub(crate) struct Server {
    /// As it was stated.
    address: String,
    config: postgres::Config,
    /// The authority that the server's certificate is of; none where TLS is not spoken.
    authority: Option<Vec<u8>>,
}

/// Why the address of a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    #[error(
        "`database` is not an address of PostgreSQL, such as postgresql://congruent@db.example.org/congruent"
    )]
    Malformed(#[source] postgres::Error),
    #[error("`database` holds a password; put it into a file and name that with `database-password-file`")]
    Password,
    #[error("`database` names no host, such as postgresql://congruent@db.example.org/congruent")]
    NoHost,
    #[error(
        "`database` is to speak TLS, and nothing says whose certificate to trust: name the authority's file with \
         `database-ca`"
    )]
    NoAuthority,
    #[error(
        "`database` is on another machine: name its certificate's authority with `database-ca`, or say \
         `sslmode=disable` in the address where the network between is trusted"
    )]
    NoTls,
    #[error("`{0}` is for PostgreSQL, and `database` is a file")]
    NotPostgres(&'static str),
    #[error("the authority of the database's certificate cannot be used")]
    Authority(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Database {
    /// Whether this, as it stands in a configuration, is the address of a server.
    pub(crate) fn is_server(stated: &str) -> bool {
        SCHEMES.iter().any(|scheme| stated.starts_with(scheme))
    }

    /// The server at an address, with the password and the authority from their files.
    pub(crate) fn server(
        address: &str,
        password: Option<&str>,
        authority: Option<Vec<u8>>,
    ) -> Result<Self, AddressError> {
        let mut config = postgres::Config::from_str(address).map_err(AddressError::Malformed)?;
        if config.get_password().is_some() {
            return Err(AddressError::Password);
        }
        if config.get_hosts().is_empty() {
            return Err(AddressError::NoHost);
        }
        match (&authority, config.get_ssl_mode()) {
            (Some(_), _) => {
                config.ssl_mode(SslMode::Require);
            }
            (None, SslMode::Disable) => {}
            (None, SslMode::Prefer) if config.get_hosts().iter().all(is_near) => {
                config.ssl_mode(SslMode::Disable);
            }
            (None, SslMode::Prefer) => return Err(AddressError::NoTls),
            (None, _) => return Err(AddressError::NoAuthority),
        }
        if let Some(password) = password {
            config.password(password);
        }
        config.application_name("congruent-server").keepalives_idle(SILENT_TIMEOUT);
        config.connect_timeout(*config.get_connect_timeout().unwrap_or(&CONNECT_TIMEOUT));
        config.tcp_user_timeout(*config.get_tcp_user_timeout().unwrap_or(&SILENT_TIMEOUT));
        // Of several hosts, the one that writes.
        config.target_session_attrs(postgres::config::TargetSessionAttrs::ReadWrite);
        let server = Server { address: address.to_owned(), config, authority };
        server.tls()?;
        Ok(Self::Postgres(Box::new(server)))
    }

    /// Whether others may write to it at the same time.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// The file that holds it.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// A connection that reads.
    pub(super) fn reader(&self, at_most: Option<Duration>) -> Result<Connection, StoreError> {
        match self {
            Self::Sqlite(path) => {
                let reader = Sqlite::reader(path, at_most);
                reader
                    .map(|reader| Connection::Sqlite(Box::new(reader)))
                    .map_err(|source| StoreError::Open { path: path.clone(), source })
            }
            Self::Postgres(server) => {
                server.connect(at_most).map(|postgres| Connection::Postgres(Box::new(postgres)))
            }
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(out, "{}", path.display()),
            Self::Postgres(server) => write!(out, "{server}"),
        }
    }
}

impl Server {
    /// Connects. Not from within a task: it waits for the server.
    pub(super) fn connect(&self, at_most: Option<Duration>) -> Result<Postgres, StoreError> {
        let failed = |source| StoreError::Connect { server: self.to_string(), source };
        let client = match self.tls().ok().flatten() {
            Some(tls) => self.config.connect(tls),
            None => self.config.connect(postgres::NoTls),
        }
        .map_err(failed)?;
        Postgres::new(client, at_most).map_err(failed)
    }

    fn tls(&self) -> Result<Option<MakeRustlsConnect>, AddressError> {
        let Some(pem) = &self.authority else { return Ok(None) };
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| AddressError::Authority(error);
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots
                .add(certificate.map_err(|error| unusable(error.into()))?)
                .map_err(|error| unusable(error.into()))?;
        }
        if roots.is_empty() {
            return Err(unusable("the file holds no certificate".into()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Some(MakeRustlsConnect::new(config)))
    }
}

/// A schema on a server that is made for a while, with all that is put into it.
pub(crate) struct Schema {
    server: Server,
    name: String,
}

impl Schema {
    /// Makes one with this name in a server's database, which is otherwise not touched.
    /// Not from within a task.
    pub(crate) fn make(server: &Server, name: &str) -> Result<Self, StoreError> {
        run(server, &format!("CREATE SCHEMA {name}"))?;
        Ok(Self { server: server.clone(), name: name.to_owned() })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The database that lies in it.
    pub(crate) fn database(&self) -> Database {
        let mut server = self.server.clone();
        let options = server.config.get_options().map_or_else(String::new, |stated| format!("{stated} "));
        server.config.options(&format!("{options}-c search_path={}", self.name));
        Database::Postgres(Box::new(server))
    }

    /// Removes it. Not from within a task.
    pub(crate) fn remove(&self) -> Result<(), StoreError> {
        run(&self.server, &format!("DROP SCHEMA {} CASCADE", self.name))
    }
}

fn run(server: &Server, sql: &str) -> Result<(), StoreError> {
    let connection = server.connect(None)?;
    connection.batch(sql).map_err(super::error::to("make room for a while"))
}

/// On this machine.
fn is_near(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        (&self.address, &self.authority) == (&other.address, &other.authority)
    }
}

impl Eq for Server {}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Server({self})")
    }
}

impl fmt::Display for Server {
    /// Without the password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(SCHEMES[0])?;
        if let Some(user) = self.config.get_user() {
            write!(out, "{user}@")?;
        }
        let ports = self.config.get_ports();
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let between = if at == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(out, "{between}{name}")?,
                Host::Unix(path) => write!(out, "{between}{}", path.display())?,
            }
            if let Some(port) = ports.get(at).or(ports.first()) {
                write!(out, ":{port}")?;
            }
        }
        write!(out, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}
