//! The collector's configuration: one validated type, with every secret, key
//! and manifest loaded. What cannot be used is refused here, not later.

mod accepted;
mod error;
mod file;
mod load;
mod secrets;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use congruent_protocol::digest::Digest;
use congruent_protocol::stack::MAX_ADD_ONS;
use congruent_protocol::verification::ManifestId;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

pub(crate) use accepted::{AcceptError, Accepted, Verified};
pub(crate) use error::ConfigError;
pub(crate) use load::check_name;
pub(crate) use secrets::{TokenHash, WebhookSecret};

/// How many stacks with add-ons are kept ready for each group.
const MAX_STACKS: usize = 64;
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
    /// By name.
    pub(crate) groups: BTreeMap<String, Group>,
    /// By id.
    pub(crate) nodes: BTreeMap<String, Node>,
    /// By name.
    pub(crate) webhooks: BTreeMap<String, Webhook>,
    /// Which node a token belongs to.
    tokens: HashMap<TokenHash, String>,
}

/// Nodes that are copies of each other.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its name.
    pub(crate) name: String,
    /// Such as `prod`; for policy.
    pub(crate) environment: String,
    /// Whether it orders anything.
    pub(crate) mode: Mode,
    /// What its nodes may be held to.
    pub(crate) manifests: Vec<Accepted>,
    /// What its nodes may have beside one of these.
    pub(crate) add_ons: Vec<Verified>,
    /// The bases, to make stacks of.
    bases: Vec<Verified>,
    /// Stacks with add-ons that nodes have reported, by their roots.
    stacks: Mutex<HashMap<Vec<Digest>, Arc<Accepted>>>,
    /// Who takes its orders.
    pub(crate) webhook: Option<String>,
}

/// Whether a group orders anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// It shows and records what would be ordered.
    #[default]
    ReportOnly,
    /// It orders.
    Replace,
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

    /// The node that a bearer token belongs to.
    pub(crate) fn node_of(&self, token: &TokenHash) -> Option<&Node> {
        self.nodes.get(self.tokens.get(token)?)
    }

    /// The group of a configured node.
    pub(crate) fn group_of(&self, node: &str) -> Option<&Group> {
        self.groups.get(&self.nodes.get(node)?.group)
    }
}

impl Group {
    /// The accepted manifest with this tree root; of several, the one of this name
    /// and version.
    pub(crate) fn accepted(&self, id: &ManifestId) -> Option<&Accepted> {
        // One tree may be baked under two contracts, and then has one root.
        let is_same =
            |own: &ManifestId| (&own.name, &own.version, own.root) == (&id.name, &id.version, id.root);
        let exact = self.manifests.iter().find(|accepted| is_same(&accepted.id()));
        exact.or_else(|| self.manifests.iter().find(|accepted| accepted.root() == id.root))
    }

    /// The stack of the base with this root and the add-ons with those, if the
    /// group accepts each of them.
    pub(crate) fn accepted_stack(
        &self,
        base: &ManifestId,
        add_ons: &[Digest],
    ) -> Option<Result<Arc<Accepted>, AcceptError>> {
        if add_ons.len() > MAX_ADD_ONS {
            return None;
        }
        let mut add_ons = add_ons.to_vec();
        add_ons.sort();
        let roots: Vec<Digest> = [base.root].into_iter().chain(add_ons.iter().copied()).collect();
        let mut stacks = self.stacks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = stacks.get(&roots) {
            return Some(Ok(known.clone()));
        }
        let base = self.bases.iter().find(|verified| verified.id() == *base)?.clone();
        let find = |root: &Digest| self.add_ons.iter().find(|verified| verified.id().root == *root).cloned();
        let add_ons = add_ons.iter().map(find).collect::<Option<Vec<_>>>()?;
        let made = Accepted::new(base, add_ons).map(Arc::new);
        if let Ok(made) = &made {
            if stacks.len() >= MAX_STACKS {
                stacks.clear();
            }
            stacks.insert(roots, made.clone());
        }
        Some(made)
    }
}
