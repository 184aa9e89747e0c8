//! The configuration file as people write it, before anything is checked.

use std::path::{Path, PathBuf};

use congruent_protocol::strict_toml;
use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::retention::RetentionTable;
use super::{ConfigError, Mode};

/// `server.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ConfigFile {
    /// Where to listen for operators and enrolment. Port 0 takes a free one.
    pub(super) listen: String,
    /// Whether `listen` speaks TLS; false only where it is loopback.
    pub(super) tls: Option<bool>,
    /// Where to listen for enrolled nodes; without it none can enrol.
    pub(super) agents_listen: Option<String>,
    /// Where nodes reach `agents-listen`.
    pub(super) agents_url: Option<String>,
    /// Names and addresses that the collector is reached by, beside this host's
    /// name and loopback.
    #[serde(default)]
    pub(super) names: Vec<String>,
    /// How long a node's certificate lasts; 24 h unless said otherwise.
    pub(super) certificate_ttl: Option<SignedDuration>,
    /// How long after its end it can still be renewed; 7 days unless said otherwise.
    pub(super) renewal_grace: Option<SignedDuration>,
    /// The user's own authority.
    pub(super) ca: Option<CaTable>,
    /// The database: a file of SQLite, made where there is none, or the address of a
    /// PostgreSQL, such as `postgresql://congruent@db.example.org/congruent`.
    pub(super) database: String,
    /// Holds the password, where PostgreSQL asks for one.
    pub(super) database_password_file: Option<PathBuf>,
    /// The authority of PostgreSQL's certificate, in PEM; then it is spoken to by TLS.
    pub(super) database_ca: Option<PathBuf>,
    /// Where imported manifests are kept; `manifests` beside the database unless
    /// said otherwise.
    pub(super) manifest_directory: Option<PathBuf>,
    /// The bucket that they are kept in instead.
    pub(super) blobs: Option<BlobsTable>,
    /// The token of the operator `config`, who is an admin.
    pub(super) operator_token_file: PathBuf,
    /// After how long without a sign of life a node is silent, such as `"15m"`.
    pub(super) silent_after: SignedDuration,
    /// How often nodes are looked at whole, each in its own slot, such as `"15m"`.
    pub(super) interval: Option<SignedDuration>,
    /// How often nodes give a sign of life; every minute unless said otherwise.
    pub(super) heartbeat_interval: Option<SignedDuration>,
    /// The largest report taken; 64 MiB unless said otherwise.
    pub(super) max_body_bytes: Option<u64>,
    /// A folder of Rego that replaces the embedded policy.
    pub(super) policy: Option<PathBuf>,
    /// When deliveries are tried: after the order, and then after each failed
    /// try, such as `["0s", "5s", "5m"]`. Standard Webhooks' unless said otherwise.
    pub(super) retry_schedule: Option<Vec<SignedDuration>>,
    /// For how long requests are still taken after the collector was told to stop, such
    /// as `"5s"`, so that balancers see that it is not ready; none unless said otherwise.
    pub(super) drain_delay: Option<SignedDuration>,
    /// How long records are kept, by kind, such as `reports = "400d"`; for ever unless
    /// said otherwise.
    #[serde(default)]
    pub(super) retention: RetentionTable,
    #[serde(default)]
    pub(super) group: Vec<GroupTable>,
    #[serde(default)]
    pub(super) webhook: Vec<WebhookTable>,
    /// How nodes stood here before they enrolled.
    pub(super) node: Option<IgnoredAny>,
}

/// `[ca]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CaTable {
    /// In PEM.
    pub(super) certificate: PathBuf,
    /// In PKCS#8 PEM.
    pub(super) key: PathBuf,
}

/// `[blobs]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BlobsTable {
    /// Such as `s3://bucket/prefix`.
    pub(super) url: String,
    pub(super) region: Option<String>,
    /// Where the store is, unless it is Amazon's.
    pub(super) endpoint: Option<String>,
    /// Whether the endpoint may be without TLS, and not on this machine.
    pub(super) allow_http: Option<bool>,
    /// What vouches for the endpoint beside the system's authorities, in PEM.
    pub(super) ca_certificate: Option<PathBuf>,
    /// Without it, the machine's role is used.
    pub(super) access_key_id: Option<String>,
    pub(super) secret_access_key_file: Option<PathBuf>,
    /// Where copies are kept; `blob-cache` beside the database unless said otherwise.
    pub(super) cache_directory: Option<PathBuf>,
    /// How many bytes of copies; 4 GiB unless said otherwise.
    pub(super) cache_bytes: Option<u64>,
}

/// `[[group]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct GroupTable {
    pub(super) name: String,
    pub(super) environment: String,
    /// `report-only` or `replace`.
    #[serde(default)]
    pub(super) mode: Mode,
    /// What the group's nodes may be held to.
    #[serde(default)]
    pub(super) manifests: Vec<PathBuf>,
    /// Add-on manifests that the group's nodes may have as well.
    #[serde(default)]
    pub(super) add_ons: Vec<PathBuf>,
    /// Public keys; each manifest must be signed by one of them.
    #[serde(default)]
    pub(super) trust: Vec<PathBuf>,
    /// A file that says more of trust: names, thresholds, revocation, the floor.
    pub(super) trust_config: Option<PathBuf>,
    /// Which `[[webhook]]` takes the group's orders.
    pub(super) webhook: Option<String>,
}

/// `[[webhook]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WebhookTable {
    pub(super) name: String,
    pub(super) url: String,
    /// Holds `whsec_` and base64, as in Standard Webhooks.
    pub(super) secret_file: PathBuf,
}

impl ConfigFile {
    /// Reads the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        strict_toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })
    }
}
