//! Settings of who nodes are and how they are reached.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use super::ConfigError;
use super::file::ConfigFile;
use crate::identity::AuthorityFiles;

const DEFAULT_LIFE: SignedDuration = SignedDuration::from_hours(24);
const DEFAULT_GRACE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A node's certificate is no long-lived one: what is longer is a slip.
const MAX_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
const MAX_GRACE: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Who nodes are, and how they join.
#[derive(Debug, Clone)]
pub(crate) struct IdentitySettings {
    /// Whether `listen` speaks TLS.
    pub(crate) tls: bool,
    /// Where enrolled nodes report.
    pub(crate) agents_listen: Option<SocketAddr>,
    /// Where nodes reach it; worked out from names and port where not given.
    pub(crate) agents_url: Option<String>,
    /// Names and addresses of the collector beside the obvious ones.
    pub(crate) names: Vec<String>,
    /// How long a node's certificate lasts.
    pub(crate) certificate_life: SignedDuration,
    /// For how long after its end it can still be renewed.
    pub(crate) grace: SignedDuration,
    /// Where the authority is kept.
    pub(crate) authority: AuthorityFiles,
}

impl IdentitySettings {
    /// Whether an authority is needed at all.
    pub(crate) fn needs_authority(&self) -> bool {
        self.tls || self.agents_listen.is_some()
    }

    /// Every name and address that the collector's own certificate is for.
    pub(crate) fn all_names(&self, listens: &[SocketAddr]) -> Vec<String> {
        let host = host_name();
        let addresses = listens.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified());
        let obvious = [host, "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let mut names = self.names.clone();
        for name in obvious.into_iter().chain(addresses.map(|ip| ip.to_string())) {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Where operators on this machine reach the port that is bound at `address`.
    pub(crate) fn url_of_operators(&self, address: SocketAddr) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        match address {
            SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("{scheme}://127.0.0.1:{}", v4.port()),
            SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("{scheme}://[::1]:{}", v6.port()),
            address => format!("{scheme}://{address}"),
        }
    }

    /// Where nodes reach the port that is bound at `address`.
    pub(crate) fn url_of_agents(&self, address: SocketAddr) -> String {
        if let Some(url) = &self.agents_url {
            return url.clone();
        }
        let host = match self.names.first() {
            Some(name) if name.contains(':') => format!("[{name}]"),
            Some(name) => name.clone(),
            None if address.ip().is_unspecified() => host_name(),
            None => return format!("https://{address}"),
        };
        format!("https://{host}:{}", address.port())
    }
}

pub(super) fn settings(
    file: &ConfigFile,
    folder: &Path,
    beside: &impl Fn(&Path) -> PathBuf,
) -> Result<IdentitySettings, ConfigError> {
    let authority = match &file.ca {
        Some(ca) => {
            AuthorityFiles { certificate: beside(&ca.certificate), key: beside(&ca.key), is_given: true }
        }
        None => AuthorityFiles::in_folder(folder),
    };
    let agents_listen = file.agents_listen.as_deref().map(|text| {
        let refused = |_| ConfigError::AddressSyntax { key: "agents-listen", value: text.to_owned() };
        text.parse().map_err(refused)
    });
    Ok(IdentitySettings {
        tls: file.tls.unwrap_or(true),
        agents_listen: agents_listen.transpose()?,
        agents_url: file.agents_url.as_deref().map(check_url).transpose()?,
        names: file.names.clone(),
        certificate_life: within(
            "certificate-ttl",
            file.certificate_ttl.unwrap_or(DEFAULT_LIFE),
            SignedDuration::from_secs(1),
            MAX_LIFE,
            "write a time from 1s to 90 days, such as \"24h\"",
        )?,
        grace: within(
            "renewal-grace",
            file.renewal_grace.unwrap_or(DEFAULT_GRACE),
            SignedDuration::ZERO,
            MAX_GRACE,
            "write a time up to a year, such as \"7d\"",
        )?,
        authority,
    })
}

pub(super) fn listen(text: &str, tls: bool) -> Result<SocketAddr, ConfigError> {
    let address: SocketAddr = text.parse().map_err(|_| ConfigError::ListenSyntax(text.to_owned()))?;
    if tls || address.ip().is_loopback() { Ok(address) } else { Err(ConfigError::NotLoopback(address)) }
}

fn check_url(text: &str) -> Result<String, ConfigError> {
    let parsed = reqwest::Url::parse(text).ok().filter(|url| {
        url.scheme() == "https"
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
    });
    match parsed {
        Some(_) => Ok(text.trim_end_matches('/').to_owned()),
        None => Err(ConfigError::AgentsUrl(text.to_owned())),
    }
}

fn within(
    key: &'static str,
    value: SignedDuration,
    least: SignedDuration,
    most: SignedDuration,
    mend: &'static str,
) -> Result<SignedDuration, ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::Value { key, value: format!("{value:#}"), mend })
}

/// What this host calls itself.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
