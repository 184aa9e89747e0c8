//! The collector's configuration: one validated type, with every secret, key
//! and manifest loaded. What cannot be used is refused here, not later.

mod accepted;
mod blobs;
mod database;
mod description;
mod error;
mod file;
mod group;
mod groups;
mod identity;
mod load;
mod nodes;
mod retention;
mod secrets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::store::Database;

pub(crate) use accepted::{AcceptError, Accepted};
pub(crate) use description::{GroupDescription, ManifestRef, TrustDescription};
pub(crate) use error::ConfigError;
pub(crate) use group::{Group, Mode};
pub(crate) use groups::Groups;
pub(crate) use identity::{IdentitySettings, host_name};
pub(crate) use load::check_name;
pub(crate) use nodes::{Node, Nodes, Standing};
pub(crate) use retention::Retention;
pub(crate) use secrets::{SecretError, TokenHash, WebhookSecret, read_secret};

use crate::blobs::BlobSettings;

/// The longest name of a node, group, environment or webhook.
const MAX_NAME_CHARS: usize = 200;

/// Everything the collector runs with.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where to listen for operators and enrolment; loopback where without TLS.
    pub(crate) listen: SocketAddr,
    /// Who nodes are, and how they join.
    pub(crate) identity: IdentitySettings,
    /// Where the store lies.
    pub(crate) database: Database,
    /// The operators' token.
    pub(crate) operator: TokenHash,
    /// After how long without a sign of life a node is silent.
    pub(crate) silent_after: SignedDuration,
    /// How often nodes are looked at; as they are configured themselves where not
    /// given.
    pub(crate) interval: Option<Duration>,
    /// How often nodes give a sign of life.
    pub(crate) heartbeat_interval: Duration,
    /// The largest report taken.
    pub(crate) max_body_bytes: usize,
    /// A folder that replaces the embedded policy.
    pub(crate) policy: Option<PathBuf>,
    /// How long after the order, and then after each failed delivery, the next
    /// is tried.
    pub(crate) retry_schedule: Vec<Duration>,
    /// Where the manifests lie that were imported.
    pub(crate) blobs: BlobSettings,
    /// For how long requests are still taken after the collector was told to stop.
    pub(crate) drain_delay: Duration,
    /// How long records are kept.
    pub(crate) retention: Retention,
    /// As declared here and in the store; they change while the collector runs.
    pub(crate) groups: Groups,
    /// Those that are enrolled; they come and go while the collector runs.
    pub(crate) nodes: Nodes,
    /// By name.
    pub(crate) webhooks: BTreeMap<String, Webhook>,
}

/// How operators on the collector's own machine reach it.
#[derive(Debug)]
pub(crate) struct ClientDefaults {
    /// Its address.
    pub(crate) url: String,
    /// The file of the operators' token.
    pub(crate) token_file: PathBuf,
    /// The certificate of its authority, where it speaks TLS.
    pub(crate) authority: Option<PathBuf>,
}

/// A target for orders.
#[derive(Debug)]
pub(crate) struct Webhook {
    /// Where orders are posted.
    pub(crate) url: reqwest::Url,
    /// What signs them.
    pub(crate) secret: WebhookSecret,
}

impl Config {
    /// Reads and checks the configuration at `path`, and all that it names.
    /// Relative paths are taken from the file's directory.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        load::config(path)
    }

    /// The database that the configuration at `path` names. Loads no secrets but its
    /// password, so that those may read evidence who may not read tokens.
    pub(crate) fn database_of(path: &Path) -> Result<Database, ConfigError> {
        let file = file::ConfigFile::read(path)?;
        database::database(&file, &|relative| load::beside(path, relative))
    }

    /// Where the configuration at `path` has the store and the blobs. Loads no
    /// secrets but those that reach them.
    pub(crate) fn places_of(path: &Path) -> Result<(Database, BlobSettings), ConfigError> {
        let file = file::ConfigFile::read(path)?;
        let beside = |relative: &Path| load::beside(path, relative);
        let blobs = blobs::settings(&file, &database::folder(&file, &beside), &beside)?;
        Ok((database::database(&file, &beside)?, blobs))
    }

    /// The database at an address, or in a file, that stands in no configuration.
    pub(crate) fn database_at(
        stated: &str,
        password: Option<&Path>,
        authority: Option<&Path>,
    ) -> Result<Database, ConfigError> {
        database::at(stated, password, authority, &|path| path.to_owned())
    }

    /// How the collector of the configuration at `path` is reached. Loads no
    /// secrets.
    pub(crate) fn client_defaults(path: &Path) -> Result<ClientDefaults, ConfigError> {
        let file = file::ConfigFile::read(path)?;
        let beside = |relative: &Path| load::beside(path, relative);
        let identity = identity::settings(&file, &database::folder(&file, &beside), &beside)?;
        let listen = identity::listen(&file.listen, identity.tls)?;
        Ok(ClientDefaults {
            url: identity.url_of_operators(listen),
            token_file: beside(&file.operator_token_file),
            authority: identity.tls.then_some(identity.authority.certificate),
        })
    }

    /// The group of an enrolled node.
    pub(crate) fn group_of(&self, node: &str) -> Option<Arc<Group>> {
        self.groups.get(&self.nodes.get(node)?.group)
    }
}
