//! A group as the store and the API have it: JSON, with keys as text and
//! manifests by digest. It is held to the same rules as a `[[group]]`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use congruent_protocol::digest::Digest;
use congruent_protocol::key::PublicKey;
use congruent_protocol::trust::{Trust, TrustError, TrustFile};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::group::{GroupParts, ManifestFile, ManifestSource};
use super::{ConfigError, Group, Mode, Webhook};

/// How many manifests, and how many add-ons, a group of the store may accept:
/// each is an open file.
const MAX_MANIFESTS: usize = 64;
/// How many keys a group of the store may trust.
const MAX_KEYS: usize = 100;

/// What is declared of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupDescription {
    /// Such as `prod`; for policy.
    pub(crate) environment: String,
    /// Whether it orders anything.
    pub(crate) mode: Mode,
    /// What its nodes may be held to.
    pub(crate) manifests: Vec<ManifestRef>,
    /// What they may have beside one of these.
    pub(crate) add_ons: Vec<ManifestRef>,
    /// Whose signatures count.
    pub(crate) trust: TrustDescription,
    /// Who takes its orders.
    pub(crate) webhook: Option<String>,
}

/// A manifest of the store. Its root says what the tree is, and the file's
/// digest which contract and signatures it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestRef {
    pub(crate) root: Digest,
    pub(crate) digest: Digest,
    pub(crate) name: String,
    pub(crate) version: String,
    /// Since when the group accepts it. It had not expired then; once it has, each
    /// report says so, and the group can be edited all the same.
    pub(crate) accepted_at: Timestamp,
}

/// Whose signatures count: any of the keys or, where there is a trust
/// configuration, what that says of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustDescription {
    /// Public keys in PEM, by the names that the trust configuration has for them.
    #[serde(default)]
    pub(crate) keys: BTreeMap<String, String>,
    /// A trust configuration, in TOML, as text.
    #[serde(default)]
    pub(crate) config: Option<String>,
}

impl GroupDescription {
    /// The digests of the files that it is built from, unless they are too many.
    pub(crate) fn files(&self, name: &str) -> Result<BTreeSet<Digest>, ConfigError> {
        for (what, count, limit) in [
            ("manifests", self.manifests.len(), MAX_MANIFESTS),
            ("add-ons", self.add_ons.len(), MAX_MANIFESTS),
            ("keys", self.trust.keys.len(), MAX_KEYS),
        ] {
            if count > limit {
                return Err(ConfigError::TooMany { group: name.to_owned(), what, limit });
            }
        }
        Ok(self.manifests.iter().chain(&self.add_ons).map(|of| of.digest).collect())
    }

    /// Holds all of it to the rules. `file_of` gives each of its `files`, held to its
    /// digest.
    pub(crate) fn build(
        &self,
        (name, version): (&str, u64),
        webhooks: &BTreeMap<String, Webhook>,
        file_of: impl Fn(&Digest) -> Arc<File>,
    ) -> Result<Group, ConfigError> {
        let file = |of: &ManifestRef| ManifestFile {
            called: format!("the manifest {} {} with the root {}", of.name, of.version, of.root),
            file: ManifestSource::Blob(file_of(&of.digest)),
            as_of: of.accepted_at,
        };
        let parts = GroupParts {
            name: super::check_name("group", name.to_owned())?,
            version: Some(version),
            environment: self.environment.clone(),
            mode: self.mode,
            manifests: self.manifests.iter().map(file).collect(),
            add_ons: self.add_ons.iter().map(file).collect(),
            trust: self.trust.load(name)?,
            webhook: self.webhook.clone(),
        };
        parts.build(webhooks)
    }
}

impl TrustDescription {
    /// The trust; none where no key is named.
    fn load(&self, group: &str) -> Result<Option<Trust>, ConfigError> {
        let Some(text) = &self.config else {
            let keys = self.keys.iter().map(|(name, pem)| read_key(group, name, pem));
            let keys = keys.collect::<Result<Vec<_>, _>>()?;
            return Ok((!keys.is_empty()).then(|| Trust::any_of(keys)));
        };
        let invalid = |source| ConfigError::TrustText { group: group.to_owned(), source };
        let named = RefCell::new(BTreeSet::new());
        let trust = TrustFile::parse(text).map_err(invalid)?.load(|name| {
            named.borrow_mut().insert(name.to_owned());
            let not_given = || ConfigError::KeyNotGiven { group: group.to_owned(), key: name.to_owned() };
            read_key(group, name, self.keys.get(name).ok_or_else(not_given)?)
        });
        let trust = trust.map_err(|error| match error {
            TrustError::Toml(source) => invalid(source),
            TrustError::Key { source, .. } => source,
        })?;
        let named = named.into_inner();
        let idle: Vec<String> = self.keys.keys().filter(|name| !named.contains(*name)).cloned().collect();
        if idle.is_empty() { Ok(Some(trust)) } else { Err(ConfigError::IdleKeys(group.to_owned(), idle)) }
    }
}

fn read_key(group: &str, name: &str, pem: &str) -> Result<PublicKey, ConfigError> {
    PublicKey::from_pem(pem).map_err(|source| ConfigError::Key {
        group: group.to_owned(),
        path: Path::new(name).to_owned(),
        source,
    })
}
