//! Groups: from what was declared of one, in `server.toml` or through the API,
//! to what its nodes are held to. Both sources come to [`GroupParts`], and one
//! set of rules makes a [`Group`] of them.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use congruent_protocol::digest::Digest;
use congruent_protocol::stack::MAX_ADD_ONS;
use congruent_protocol::trust::Trust;
use congruent_protocol::verification::ManifestId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accepted::{AcceptError, Accepted, Verified};
use super::load::check_name;
use super::{ConfigError, Webhook};

/// How many stacks with add-ons are kept ready for each group.
const MAX_STACKS: usize = 64;

/// Whether a group orders anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = GroupMode)]
pub(crate) enum Mode {
    /// It shows and records what would be ordered.
    #[default]
    ReportOnly,
    /// It orders.
    Replace,
}

/// What was declared of a group, its keys read and its manifests found, but
/// nothing held to anything yet.
#[derive(Debug)]
pub(super) struct GroupParts {
    pub(super) name: String,
    /// Its version in the store; none where the configuration declares it.
    pub(super) version: Option<u64>,
    pub(super) environment: String,
    pub(super) mode: Mode,
    pub(super) manifests: Vec<ManifestFile>,
    pub(super) add_ons: Vec<ManifestFile>,
    /// None where no key was named.
    pub(super) trust: Option<Trust>,
    pub(super) webhook: Option<String>,
}

/// A manifest's file, and what it was called where it was declared.
#[derive(Debug, Clone)]
pub(super) struct ManifestFile {
    pub(super) called: String,
    pub(super) file: ManifestSource,
    /// When it must not have expired.
    pub(super) as_of: Timestamp,
}

/// Where a manifest is read from.
#[derive(Debug, Clone)]
pub(super) enum ManifestSource {
    /// From a file of this machine.
    Path(PathBuf),
    /// From a blob that was held to its name.
    Blob(Arc<File>),
}

/// A base, and the roots of the add-ons on it in their order. Two bases may have one
/// root, under two contracts.
type StackName = (ManifestId, Vec<Digest>);

type Stacks = HashMap<StackName, Arc<Accepted>>;

/// Nodes that are copies of each other.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its name.
    pub(crate) name: String,
    /// Its version in the store; none where the configuration declares it.
    pub(crate) version: Option<u64>,
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
    /// Stacks with add-ons that nodes have reported.
    stacks: Mutex<Stacks>,
    /// Who takes its orders.
    pub(crate) webhook: Option<String>,
}

impl GroupParts {
    /// Holds all of it to the rules.
    pub(super) fn build(self, webhooks: &BTreeMap<String, Webhook>) -> Result<Group, ConfigError> {
        let Self { name, version, environment, mode, manifests, add_ons, trust, webhook } = self;
        let environment = check_name("environment", environment)?;
        check_webhook(&name, mode, webhook.as_ref(), webhooks)?;
        let trust = match trust {
            None if !manifests.is_empty() => return Err(ConfigError::NoTrust(name)),
            trust => trust.unwrap_or_else(|| Trust::any_of(Vec::new())),
        };
        let refused = |file: &ManifestFile| {
            let (group, manifest) = (name.clone(), file.called.clone());
            move |source| ConfigError::Manifest { group, manifest, source: Box::new(source) }
        };
        let open = |files: &[ManifestFile]| {
            let open = |manifest: &ManifestFile| {
                Verified::open(&manifest.file, &trust, manifest.as_of).map_err(refused(manifest))
            };
            files.iter().map(open).collect::<Result<Vec<_>, _>>()
        };
        let (bases, given) = (open(&manifests)?, open(&add_ons)?);
        for (add_on, file) in given.iter().zip(&add_ons) {
            add_on.check_add_on().map_err(refused(file))?;
        }
        check_versions(&name, bases.iter().chain(&given))?;
        let stack = |(base, file): (&Verified, &ManifestFile)| {
            Accepted::new(base.clone(), Vec::new()).map_err(refused(file))
        };
        let accepted = bases.iter().zip(&manifests).map(stack).collect::<Result<_, _>>()?;
        Ok(Group {
            name: name.clone(),
            version,
            environment,
            mode,
            manifests: accepted,
            add_ons: given,
            bases,
            stacks: Mutex::default(),
            webhook,
        })
    }
}

fn check_webhook(
    group: &str,
    mode: Mode,
    webhook: Option<&String>,
    webhooks: &BTreeMap<String, Webhook>,
) -> Result<(), ConfigError> {
    let group = group.to_owned();
    match webhook {
        None if mode == Mode::Replace => Err(ConfigError::ReplaceWithoutWebhook(group)),
        Some(webhook) if !webhooks.contains_key(webhook) => {
            let known = webhooks.keys().cloned().collect();
            Err(ConfigError::UnknownWebhook { group, webhook: webhook.clone(), known })
        }
        _ => Ok(()),
    }
}

/// One name and version has one root, or nobody knows what it means.
fn check_versions<'a>(group: &str, manifests: impl Iterator<Item = &'a Verified>) -> Result<(), ConfigError> {
    let mut known = HashMap::new();
    for id in manifests.map(Verified::id) {
        let (name, version) = (id.name, id.version);
        if let Some(other) = known.insert((name.clone(), version.clone()), id.root) {
            if other == id.root {
                let name = format!("{name} {version}");
                return Err(ConfigError::Duplicate { what: "manifest", name });
            }
            let group = group.to_owned();
            return Err(ConfigError::TwoRoots { group, name, version, roots: Box::new([other, id.root]) });
        }
    }
    Ok(())
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

    /// The roots of the accepted manifests of the container image with this configuration,
    /// that of the newest first.
    pub(crate) fn manifests_of_image(&self, config_digest: &Digest) -> Vec<Digest> {
        let is_of_image = |accepted: &&Accepted| {
            !accepted.layers().is_empty() && accepted.config_digest().as_ref() == Some(config_digest)
        };
        let mut found: Vec<_> = self.manifests.iter().filter(is_of_image).collect();
        found.sort_by_key(|accepted| std::cmp::Reverse(accepted.baked_at()));
        found.into_iter().map(Accepted::root).collect()
    }

    /// The file of the accepted manifest or add-on with this root, as it was verified.
    pub(crate) fn file_of(&self, root: &Digest) -> Option<Arc<File>> {
        let verified = self.bases.iter().chain(&self.add_ons).find(|verified| verified.id().root == *root)?;
        Some(verified.file())
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
        let named = (base.clone(), add_ons);
        if let Some(known) = self.stacks().get(&named) {
            return Some(Ok(known.clone()));
        }
        let base = self.bases.iter().find(|verified| verified.id() == *base)?.clone();
        let find = |root: &Digest| self.add_ons.iter().find(|verified| verified.id().root == *root).cloned();
        let add_ons = named.1.iter().map(find).collect::<Option<Vec<_>>>()?;
        // Not while they are locked: it reads whole manifests, and other reports wait.
        let made = Accepted::new(base, add_ons).map(Arc::new);
        Some(made.map(|made| self.keep_stack(named, made)))
    }

    /// Keeps a stack, unless another report has made the same meanwhile. When there are
    /// too many, any one makes room.
    fn keep_stack(&self, named: StackName, made: Arc<Accepted>) -> Arc<Accepted> {
        let mut stacks = self.stacks();
        if stacks.len() >= MAX_STACKS
            && !stacks.contains_key(&named)
            && let Some(any) = stacks.keys().next().cloned()
        {
            stacks.remove(&any);
        }
        stacks.entry(named).or_insert(made).clone()
    }

    fn stacks(&self) -> MutexGuard<'_, Stacks> {
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use congruent_protocol::digest::Algorithm;

    use super::*;
    use crate::testing::Fixture;

    #[test]
    fn of_too_many_stacks_one_makes_room() {
        let group = Fixture::new("report-only").config().groups.get("web").unwrap();
        let stack = || {
            let stack = Accepted::new(group.bases[0].clone(), Vec::new());
            Arc::new(stack.unwrap())
        };
        let base = group.bases[0].id();
        let named = |number: usize| (base.clone(), vec![Algorithm::Blake3.digest(&number.to_le_bytes())]);
        for number in 0..MAX_STACKS + 3 {
            let made = stack();
            let kept = group.keep_stack(named(number), made.clone());
            assert!(Arc::ptr_eq(&kept, &made), "{number}");
            assert_eq!(group.stacks().len(), MAX_STACKS.min(number + 1));
            // Two reports made it at the same time.
            let again = group.keep_stack(named(number), stack());
            assert!(Arc::ptr_eq(&again, &made), "{number}");
            assert_eq!(group.stacks().len(), MAX_STACKS.min(number + 1));
        }
    }
}
