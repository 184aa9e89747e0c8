//! The collector's configuration: one validated type, with every secret, key
//! and manifest loaded. What cannot be used is refused here, not later.

mod accepted;
mod description;
mod error;
mod file;
mod group;
mod groups;
mod load;
mod secrets;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

pub(crate) use accepted::{AcceptError, Accepted};
pub(crate) use description::{GroupDescription, ManifestRef, TrustDescription};
pub(crate) use error::ConfigError;
pub(crate) use group::{Group, Mode};
pub(crate) use groups::Groups;
pub(crate) use load::check_name;
pub(crate) use secrets::{SecretError, TokenHash, WebhookSecret, read_secret};

/// The longest name of a node, group, environment or webhook.
const MAX_NAME_CHARS: usize = 200;

/// Everything the collector runs with.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where to listen; loopback.
    pub(crate) listen: SocketAddr,
    /// The SQLite database.
    pub(crate) database: PathBuf,
    /// The operators' token.
    pub(crate) operator: TokenHash,
    /// After how long without a report a node is silent.
    pub(crate) silent_after: SignedDuration,
    /// The largest report taken.
    pub(crate) max_body_bytes: usize,
    /// A folder that replaces the embedded policy.
    pub(crate) policy: Option<PathBuf>,
    /// How long after the order, and then after each failed delivery, the next
    /// is tried.
    pub(crate) retry_schedule: Vec<Duration>,
    /// The folder of the manifests that were imported.
    pub(crate) manifests: PathBuf,
    /// As declared here and in the store; they change while the collector runs.
    pub(crate) groups: Groups,
    /// By id.
    pub(crate) nodes: BTreeMap<String, Node>,
    /// By name.
    pub(crate) webhooks: BTreeMap<String, Webhook>,
    /// Which node a token belongs to.
    tokens: HashMap<TokenHash, String>,
}

/// A node that may report.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its id, as in its reports.
    pub(crate) id: String,
    /// The group it is in.
    pub(crate) group: String,
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

    /// The database that the configuration at `path` names. Loads no secrets,
    /// so that those may read evidence who may not read tokens.
    pub(crate) fn database_of(path: &Path) -> Result<PathBuf, ConfigError> {
        let file = file::ConfigFile::read(path)?;
        Ok(load::beside(path, &file.database))
    }

    /// Where the collector of the configuration at `path` listens, and the file
    /// of its operators' token.
    pub(crate) fn client_defaults(path: &Path) -> Result<(SocketAddr, PathBuf), ConfigError> {
        let file = file::ConfigFile::read(path)?;
        Ok((load::listen(&file.listen)?, load::beside(path, &file.operator_token_file)))
    }

    /// The node that a bearer token belongs to.
    pub(crate) fn node_of(&self, token: &TokenHash) -> Option<&Node> {
        self.nodes.get(self.tokens.get(token)?)
    }

    /// The group of a configured node.
    pub(crate) fn group_of(&self, node: &str) -> Option<Arc<Group>> {
        self.groups.get(&self.nodes.get(node)?.group)
    }

    /// Holds the nodes to the groups, once those of the store are known too.
    pub(crate) fn check_nodes(&self) -> Result<(), ConfigError> {
        let groups = self.groups.all();
        match self.nodes.values().find(|node| !groups.contains_key(&node.group)) {
            None => Ok(()),
            Some(Node { id, group }) => Err(ConfigError::UnknownGroup {
                node: id.clone(),
                group: group.clone(),
                known: groups.keys().cloned().collect(),
            }),
        }
    }
}
