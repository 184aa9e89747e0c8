//! `congruent-server group`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use congruent_protocol::key::PublicKey;
use congruent_protocol::trust::TrustFile;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connection::{Connection, Content};
use super::{ConnectionArgs, ReasonArgs, output, with_connection};
use crate::config::{Mode, TrustDescription};

/// Says what the nodes of a group may be held to, whom it trusts, and whether it
/// orders anything.
///
/// Every version is kept. A change holds from the next report on; no restart is
/// needed. Groups that the collector's configuration declares are changed there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  congruent-server group create web --environment prod --trust release.pub.pem --reason 'the web fleet'
  congruent-server group edit web --accept blake3:… --reason 'release 1.4.2'
  congruent-server group edit web --mode replace --webhook platform --reason 'observed for a week'
  congruent-server group delete web --reason 'the web fleet is gone'")]
pub(crate) struct GroupArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    Create(CreateArgs),
    Edit(EditArgs),
    /// Deletes a group that no node is in and no join token leads to. Its history
    /// stays; the name may be used again.
    Delete {
        /// The group's name.
        name: String,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Lists every group as it stands.
    List,
    /// Shows a group as it stands.
    Show {
        /// The group's name.
        name: String,
    },
    /// Lists a group's versions, the newest first: who made each, when and why.
    History {
        /// The group's name.
        name: String,
        /// How many at most, to 1000.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
}

/// Makes a new group.
#[derive(Debug, Args)]
struct CreateArgs {
    /// The group's name.
    name: String,
    /// Such as prod: what the policy is strict about.
    #[arg(long, value_name = "NAME")]
    environment: String,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Changes a group; what no flag names stays as it is.
///
/// It is refused when somebody else changed the group at the same time.
#[derive(Debug, Args)]
struct EditArgs {
    /// The group's name.
    name: String,
    /// Such as prod: what the policy is strict about.
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// What a group is to be.
#[derive(Debug, Args)]
struct Changes {
    /// Whether the group orders anything.
    #[arg(long, value_name = "MODE", value_enum)]
    mode: Option<Mode>,
    /// Accept an imported manifest, by its root or its file's digest. May be given
    /// several times.
    #[arg(long, value_name = "ROOT")]
    accept: Vec<String>,
    /// Accept a manifest no longer. May be given several times.
    #[arg(long, value_name = "ROOT")]
    drop: Vec<String>,
    /// Accept an imported add-on beside the manifests. May be given several times.
    #[arg(long, value_name = "ROOT")]
    accept_add_on: Vec<String>,
    /// Accept an add-on no longer. May be given several times.
    #[arg(long, value_name = "ROOT")]
    drop_add_on: Vec<String>,
    /// Trust these public keys and no others. May be given several times.
    #[arg(long, value_name = "FILE", conflicts_with = "trust_config")]
    trust: Vec<PathBuf>,
    /// Trust what this configuration says: names, thresholds, revocation, the floor.
    /// The keys that it names are sent with it.
    #[arg(long, value_name = "FILE")]
    trust_config: Option<PathBuf>,
    /// Send orders to this webhook of the collector's configuration.
    #[arg(long, value_name = "NAME", conflicts_with = "no_webhook")]
    webhook: Option<String>,
    /// Send orders nowhere.
    #[arg(long)]
    no_webhook: bool,
}

/// A group, as the API takes it.
#[derive(Debug, Serialize)]
struct Wanted {
    version: u64,
    environment: String,
    mode: Mode,
    manifests: Vec<String>,
    add_ons: Vec<String>,
    trust: TrustDescription,
    webhook: Option<String>,
}

/// A group, as the API gives it; further members are of no use here.
#[derive(Debug, Default, Deserialize)]
struct Standing {
    environment: String,
    mode: Mode,
    manifests: Vec<Accepted>,
    add_ons: Vec<Accepted>,
    webhook: Option<String>,
    trust: Option<TrustDescription>,
    version: Option<u64>,
}

/// A manifest that a group accepts.
#[derive(Debug, Deserialize)]
struct Accepted {
    root: String,
    digest: Option<String>,
}

/// What to do where there are none.
const EMPTY: &str = "no group yet; `congruent-server group create NAME --environment … --reason …` makes one";

/// Runs the command that was asked for.
pub(crate) fn run(args: &GroupArgs) -> anyhow::Result<()> {
    with_connection(&args.connection, async |connection| match &args.command {
        GroupCommand::Create(args) => create(&connection, args).await,
        GroupCommand::Edit(args) => edit(&connection, args).await,
        GroupCommand::Delete { name, reason } => {
            let path = ["groups", name];
            let answer = connection.change(Method::DELETE, &path, &reason.reason, Content::Nothing).await?;
            output::one(connection.format, &answer)
        }
        GroupCommand::List => {
            let answer = connection.get(&["groups"], &[]).await?;
            let columns = [
                ("name", "NAME"),
                ("version", "VERSION"),
                ("environment", "ENVIRONMENT"),
                ("mode", "MODE"),
                ("nodes", "NODES"),
                ("manifests", "ACCEPTS"),
                ("declared_in", "DECLARED IN"),
            ];
            output::list(connection.format, &answer, "groups", &columns, EMPTY)
        }
        GroupCommand::Show { name } => {
            output::one(connection.format, &connection.get(&["groups", name], &[]).await?)
        }
        GroupCommand::History { name, limit } => {
            let query = [("limit", limit.to_string())];
            let answer = connection.get(&["groups", name, "history"], &query).await?;
            let columns = [
                ("version", "VERSION"),
                ("at", "AT"),
                ("operator", "OPERATOR"),
                ("environment", "ENVIRONMENT"),
                ("mode", "MODE"),
                ("manifests", "ACCEPTS"),
                ("deleted", "DELETED"),
                ("reason", "REASON"),
            ];
            output::list(connection.format, &answer, "versions", &columns, EMPTY)
        }
    })
}

async fn create(connection: &Connection, args: &CreateArgs) -> anyhow::Result<()> {
    let CreateArgs { name, environment, changes, reason } = args;
    let new = Standing { version: Some(0), ..Standing::default() };
    put(connection, name, changes.apply(new, Some(environment))?, reason).await
}

async fn edit(connection: &Connection, args: &EditArgs) -> anyhow::Result<()> {
    let EditArgs { name, environment, changes, reason } = args;
    let answer = connection.get(&["groups", name], &[]).await?;
    let standing: Standing = serde_json::from_value(answer).context("the collector is of another version")?;
    put(connection, name, changes.apply(standing, environment.as_ref())?, reason).await
}

async fn put(connection: &Connection, name: &str, wanted: Wanted, reason: &ReasonArgs) -> anyhow::Result<()> {
    let wanted: Value = serde_json::to_value(wanted)?;
    let path = ["groups", name];
    let answer = connection.change(Method::PUT, &path, &reason.reason, Content::Json(wanted)).await?;
    output::one(connection.format, &answer)
}

impl Changes {
    /// The group that comes of a standing one.
    fn apply(&self, standing: Standing, environment: Option<&String>) -> anyhow::Result<Wanted> {
        let webhook = if self.no_webhook { None } else { self.webhook.clone().or(standing.webhook) };
        Ok(Wanted {
            // A group of the configuration has none; the collector says so.
            version: standing.version.unwrap_or_default(),
            environment: environment.cloned().unwrap_or(standing.environment),
            mode: self.mode.unwrap_or(standing.mode),
            manifests: accept(&standing.manifests, &self.accept, &self.drop)?,
            add_ons: accept(&standing.add_ons, &self.accept_add_on, &self.drop_add_on)?,
            trust: self.trust()?.or(standing.trust).unwrap_or_default(),
            webhook,
        })
    }

    /// Whom to trust, where flags say so.
    fn trust(&self) -> anyhow::Result<Option<TrustDescription>> {
        if let Some(path) = &self.trust_config {
            return read_trust_config(path).map(Some);
        }
        let mut keys = BTreeMap::new();
        for path in &self.trust {
            let (name, pem) = (name_of(path), read_key(path)?);
            if keys.insert(name.clone(), pem).is_some() {
                bail!("two keys are called {name}; give each a name of its own");
            }
        }
        Ok((!keys.is_empty()).then_some(TrustDescription { keys, config: None }))
    }
}

/// What stays accepted of `standing`, and what is accepted besides.
fn accept(standing: &[Accepted], accept: &[String], drop: &[String]) -> anyhow::Result<Vec<String>> {
    let is = |one: &Accepted, id: &String| one.root == *id || one.digest.as_ref() == Some(id);
    for id in drop {
        ensure!(standing.iter().any(|one| is(one, id)), "the group does not accept {id}");
    }
    let stays = standing.iter().filter(|one| !drop.iter().any(|id| is(one, id)));
    let mut ids: Vec<String> = stays.map(|one| one.digest.as_ref().unwrap_or(&one.root).clone()).collect();
    let is_new = |id: &&String| !standing.iter().any(|one| is(one, id));
    ids.extend(accept.iter().filter(is_new).cloned());
    Ok(ids)
}

/// A trust configuration with the keys that it names, by the names that it has
/// for them.
fn read_trust_config(path: &Path) -> anyhow::Result<TrustDescription> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let invalid = || format!("the trust configuration {} is not valid", path.display());
    let keys = RefCell::new(BTreeMap::new());
    let loaded = TrustFile::parse(&text).with_context(invalid)?.load(|name| {
        let pem = read_key(&path.with_file_name("").join(name)).map_err(KeyError)?;
        let key = PublicKey::from_pem(&pem).map_err(|error| KeyError(error.into()))?;
        keys.borrow_mut().insert(name.to_owned(), pem);
        Ok::<_, KeyError>(key)
    });
    loaded.with_context(invalid)?;
    Ok(TrustDescription { keys: keys.into_inner(), config: Some(text) })
}

/// Why a key that a trust configuration names cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct KeyError(anyhow::Error);

fn read_key(path: &Path) -> anyhow::Result<String> {
    let pem = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    PublicKey::from_pem(&pem).with_context(|| format!("{} is no key", path.display()))?;
    Ok(pem)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(root: &str, digest: &str) -> Accepted {
        Accepted { root: root.to_owned(), digest: Some(digest.to_owned()) }
    }

    fn check(accepted: &[&str], dropped: &[&str]) -> Result<Vec<String>, String> {
        let own = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
        let standing = [one("r1", "d1"), one("r2", "d2")];
        accept(&standing, &own(accepted), &own(dropped)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_accepted_comes_and_goes() {
        let ids = |ids: &[&str]| Ok(ids.iter().map(|&id| id.to_owned()).collect());
        assert_eq!(check(&[], &[]), ids(&["d1", "d2"]));
        assert_eq!(check(&["r3"], &["r1"]), ids(&["d2", "r3"]));
        assert_eq!(check(&["r1", "d2"], &[]), ids(&["d1", "d2"]), "what is accepted is accepted once");
        assert_eq!(check(&[], &["d1", "r2"]), ids(&[]));
        assert_eq!(check(&[], &["r9"]), Err("the group does not accept r9".to_owned()));
    }
}
