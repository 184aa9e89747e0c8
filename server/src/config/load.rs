//! From the file as written to the configuration as used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use congruent_protocol::key::PublicKey;
use congruent_protocol::path::plain;
use congruent_protocol::report::MAX_REPORT_BYTES;
use congruent_protocol::trust::{Trust, TrustError, TrustFile};
use jiff::{SignedDuration, Timestamp};

use super::file::{ConfigFile, GroupTable, WebhookTable};
use super::group::{GroupParts, ManifestFile, ManifestSource};
use super::secrets::{TokenHash, WebhookSecret};
use super::{Config, ConfigError, Group, Groups, MAX_NAME_CHARS, Nodes, Webhook, blobs, database, identity};
use crate::dispatch::STANDARD_SCHEDULE;

/// The range that makes sense: a small report is some KiB, and one of over a
/// gigabyte would not fit into memory several times.
const MAX_BODY_RANGE: std::ops::RangeInclusive<u64> = 1024..=(1 << 30);

/// How often nodes give a sign of life where nothing else is said.
const DEFAULT_HEARTBEAT: Duration = Duration::from_mins(1);
/// With what comes after it, the collector ends within the 25 s that are usual.
const MAX_DRAIN_DELAY: Duration = Duration::from_secs(10);
/// What nodes may be told to do again and again: from not too often to never.
const PACES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(31 * 24);

pub(super) fn config(path: &Path) -> Result<Config, ConfigError> {
    let file = ConfigFile::read(path)?;
    if file.node.is_some() {
        return Err(ConfigError::NodeTable);
    }
    let beside = |relative: &Path| beside(path, relative);
    let database = database::database(&file, &beside)?;
    let folder = database::folder(&file, &beside);
    let identity = identity::settings(&file, &folder, &beside)?;
    let blobs = blobs::settings(&file, &folder, &beside)?;
    let webhooks = by_name("webhook", file.webhook, |table| table.name.clone(), |t| webhook(t, &beside))?;
    let groups = by_name("group", file.group, |table| table.name.clone(), |t| group(t, &webhooks, &beside))?;
    let operator = token("the operators' token", "operator-token-file", &beside(&file.operator_token_file))?;
    Ok(Config {
        listen: identity::listen(&file.listen, identity.tls)?,
        identity,
        database,
        operator,
        silent_after: silent_after(file.silent_after)?,
        interval: file.interval.map(|interval| pace("interval", interval)).transpose()?,
        heartbeat_interval: file
            .heartbeat_interval
            .map_or(Ok(DEFAULT_HEARTBEAT), |interval| pace("heartbeat-interval", interval))?,
        max_body_bytes: max_body_bytes(file.max_body_bytes.unwrap_or(MAX_REPORT_BYTES))?,
        policy: file.policy.as_deref().map(beside),
        retry_schedule: retry_schedule(file.retry_schedule)?,
        blobs,
        drain_delay: drain_delay(file.drain_delay.unwrap_or_default())?,
        retention: file.retention.check()?,
        groups: Groups::declared(groups),
        nodes: Nodes::default(),
        webhooks,
    })
}

/// A path in the file at `config`, taken from its directory.
pub(super) fn beside(config: &Path, relative: &Path) -> PathBuf {
    config.parent().unwrap_or(Path::new("")).join(relative)
}

fn silent_after(duration: SignedDuration) -> Result<SignedDuration, ConfigError> {
    if duration.is_positive() {
        return Ok(duration);
    }
    let mend = "write how long a node may be without a report, such as \"15m\"";
    Err(ConfigError::Value { key: "silent-after", value: format!("{duration:#}"), mend })
}

/// What nodes are told to keep to, which is at least a second.
fn pace(key: &'static str, interval: SignedDuration) -> Result<Duration, ConfigError> {
    match Duration::try_from(interval) {
        Ok(interval) if PACES.contains(&interval) => Ok(interval),
        _ => {
            let mend = "write a time from a second to 31 days, such as \"15m\"";
            Err(ConfigError::Value { key, value: format!("{interval:#}"), mend })
        }
    }
}

fn drain_delay(delay: SignedDuration) -> Result<Duration, ConfigError> {
    match Duration::try_from(delay) {
        Ok(delay) if delay <= MAX_DRAIN_DELAY => Ok(delay),
        _ => {
            let mend = "write a time up to 10 seconds, such as \"5s\"";
            Err(ConfigError::Value { key: "drain-delay", value: format!("{delay:#}"), mend })
        }
    }
}

fn max_body_bytes(bytes: u64) -> Result<usize, ConfigError> {
    if MAX_BODY_RANGE.contains(&bytes) {
        return Ok(bytes as usize);
    }
    let mend = "write a number of bytes from 1024 to 1073741824";
    Err(ConfigError::Value { key: "max-body-bytes", value: bytes.to_string(), mend })
}

fn retry_schedule(delays: Option<Vec<SignedDuration>>) -> Result<Vec<Duration>, ConfigError> {
    let Some(delays) = delays else {
        return Ok(STANDARD_SCHEDULE.to_vec());
    };
    let refused = |value: String| ConfigError::Value {
        key: "retry-schedule",
        value,
        mend: "write one duration per delivery, none negative, such as [\"0s\", \"5s\", \"5m\"]",
    };
    if delays.is_empty() {
        return Err(refused("empty".to_owned()));
    }
    delays.into_iter().map(|delay| delay.try_into().map_err(|_| refused(format!("{delay:#}")))).collect()
}

/// Builds each table's value, by a name that is plain and stands once.
fn by_name<T, V>(
    what: &'static str,
    tables: Vec<T>,
    name_of: impl Fn(&T) -> String,
    mut build: impl FnMut(T) -> Result<V, ConfigError>,
) -> Result<BTreeMap<String, V>, ConfigError> {
    let mut built = BTreeMap::new();
    for table in tables {
        let name = check_name(what, name_of(&table))?;
        if built.contains_key(&name) {
            return Err(ConfigError::Duplicate { what, name });
        }
        built.insert(name, build(table)?);
    }
    Ok(built)
}

/// Holds a name to what a URL's path, a log line and a table cell bear.
pub(crate) fn check_name(what: &'static str, name: String) -> Result<String, ConfigError> {
    let fits = (1..=MAX_NAME_CHARS).contains(&name.chars().count());
    // Dots alone are no component of an address: nobody could ask for it by name.
    let is_component = !name.contains('/') && !matches!(name.as_str(), "." | "..");
    if fits && plain(name.as_bytes()).is_some() && is_component {
        return Ok(name);
    }
    Err(ConfigError::Name { what, name })
}

fn webhook(table: WebhookTable, beside: &impl Fn(&Path) -> PathBuf) -> Result<Webhook, ConfigError> {
    let WebhookTable { name, url, secret_file } = table;
    let parsed = reqwest::Url::parse(&url).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
    });
    let Some(parsed) = parsed else {
        return Err(ConfigError::WebhookUrl { name, url });
    };
    let secret = WebhookSecret::read(&beside(&secret_file)).map_err(|source| ConfigError::Secret {
        what: "webhook",
        name,
        source,
    })?;
    Ok(Webhook { url: parsed, secret })
}

fn group(
    table: GroupTable,
    webhooks: &BTreeMap<String, Webhook>,
    beside: &impl Fn(&Path) -> PathBuf,
) -> Result<Group, ConfigError> {
    let GroupTable { name, environment, mode, manifests, add_ons, trust, trust_config, webhook } = table;
    let trust = trusted(&name, &trust, trust_config.as_deref(), beside)?;
    let as_of = Timestamp::now();
    let file = |path: &PathBuf| {
        let path = beside(path);
        ManifestFile { called: path.display().to_string(), file: ManifestSource::Path(path), as_of }
    };
    let manifests = manifests.iter().map(file).collect();
    let add_ons = add_ons.iter().map(file).collect();
    let parts = GroupParts { name, version: None, environment, mode, manifests, add_ons, trust, webhook };
    parts.build(webhooks)
}

/// Whom a group trusts, by its keys or by its trust configuration.
fn trusted(
    group: &str,
    keys: &[PathBuf],
    config: Option<&Path>,
    beside: &impl Fn(&Path) -> PathBuf,
) -> Result<Option<Trust>, ConfigError> {
    match config {
        Some(_) if !keys.is_empty() => Err(ConfigError::TrustTwice(group.to_owned())),
        Some(path) => trust_config(group, &beside(path)).map(Some),
        None if keys.is_empty() => Ok(None),
        None => {
            let keys = keys.iter().map(|path| public_key(group, beside(path))).collect::<Result<_, _>>()?;
            Ok(Some(Trust::any_of(keys)))
        }
    }
}

fn trust_config(group: &str, path: &Path) -> Result<Trust, ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
    };
    let parse = |source| ConfigError::Parse { path: path.to_owned(), source };
    let file = TrustFile::parse(&text).map_err(parse)?;
    match file.load(|key| public_key(group, path.with_file_name("").join(key))) {
        Ok(trust) => Ok(trust),
        Err(TrustError::Toml(source)) => Err(parse(source)),
        Err(TrustError::Key { source, .. }) => Err(source),
    }
}

fn public_key(group: &str, path: PathBuf) -> Result<PublicKey, ConfigError> {
    let group = group.to_owned();
    match std::fs::read_to_string(&path) {
        Err(source) => Err(ConfigError::KeyFile { group, path, source }),
        Ok(pem) => PublicKey::from_pem(&pem).map_err(|source| ConfigError::Key { group, path, source }),
    }
}

fn token(what: &'static str, name: &str, path: &Path) -> Result<TokenHash, ConfigError> {
    TokenHash::read(path).map_err(|source| ConfigError::Secret { what, name: name.to_owned(), source })
}
