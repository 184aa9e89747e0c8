//! The configuration file as people write it, before anything is checked.

use std::path::{Path, PathBuf};

use congruent_protocol::strict_toml;
use jiff::SignedDuration;
use serde::Deserialize;

use super::{ConfigError, Mode};

/// `server.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ConfigFile {
    pub(super) listen: String,
    pub(super) database: PathBuf,
    pub(super) operator_token_file: PathBuf,
    pub(super) silent_after: SignedDuration,
    pub(super) max_body_bytes: Option<u64>,
    pub(super) policy: Option<PathBuf>,
    pub(super) retry_schedule: Option<Vec<SignedDuration>>,
    #[serde(default)]
    pub(super) group: Vec<GroupTable>,
    #[serde(default)]
    pub(super) node: Vec<NodeTable>,
    #[serde(default)]
    pub(super) webhook: Vec<WebhookTable>,
}

/// `[[group]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct GroupTable {
    pub(super) name: String,
    pub(super) environment: String,
    #[serde(default)]
    pub(super) mode: Mode,
    #[serde(default)]
    pub(super) manifests: Vec<PathBuf>,
    #[serde(default)]
    pub(super) trust: Vec<PathBuf>,
    pub(super) webhook: Option<String>,
}

/// `[[node]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NodeTable {
    pub(super) id: String,
    pub(super) group: String,
    pub(super) token_file: PathBuf,
}

/// `[[webhook]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WebhookTable {
    pub(super) name: String,
    pub(super) url: String,
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
