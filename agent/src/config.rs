//! The agent's configuration: read once, validated, then only used.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use congruent_protocol::digest::Digest;
use congruent_protocol::manifest::STATE_DIRECTORY;
use congruent_protocol::strict_toml::{self, TomlError};
use congruent_protocol::trust::Trust;
use jiff::SignedDuration;
use serde::Deserialize;

use crate::cli::parse_rate;
use crate::enrolment::{Enrolment, EnrolmentFiles, StateError};
use crate::fetched;
use crate::sweep::MAX_THREADS;
use crate::trust::{self, ReadTrustError};

const DEFAULT_INTERVAL: Duration = Duration::from_mins(15);
/// A longer one than this is no interval any more.
pub(crate) const MAX_INTERVAL: Duration = Duration::from_hours(24 * 31);
/// A shorter interval than this is a slip of the pen, not a wish.
pub(crate) const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Months of clean sweeps, and a few of the largest sets of findings.
const DEFAULT_SPOOL_BYTES: u64 = 256 << 20;
const MIN_SPOOL_BYTES: u64 = 1 << 16;

/// Everything that the agent needs to know.
pub(crate) struct Config {
    pub(crate) node: String,
    pub(crate) manifest: PathBuf,
    /// The root by which the manifest is taken from the collector, where it is.
    pub(crate) manifest_root: Option<Digest>,
    pub(crate) add_ons: Vec<PathBuf>,
    pub(crate) trust: Trust,
    /// None for the root as PID 1 sees it.
    pub(crate) root: Option<PathBuf>,
    pub(crate) state_directory: PathBuf,
    pub(crate) interval: Duration,
    pub(crate) sweep: Sweep,
    /// How many bytes of reports may wait.
    pub(crate) spool_bytes: u64,
    /// How the containers of the host are looked at; none where they are not.
    pub(crate) containers: Option<Containers>,
    /// Where reports go: none for a node that is not enrolled.
    pub(crate) collector: Option<Enrolment>,
}

/// How the node is swept.
pub(crate) struct Sweep {
    pub(crate) threads: Option<usize>,
    pub(crate) max_bytes_per_second: Option<NonZeroU64>,
    /// Whether everything else on the machine goes first.
    pub(crate) idle: bool,
    /// Whether full sweeps read past the page cache.
    pub(crate) direct: bool,
    /// How often there is a quick sweep between full ones; none for never.
    pub(crate) quick_interval: Option<Duration>,
}

/// How containers are looked at.
pub(crate) struct Containers {
    /// Where manifests of their images lie on the node.
    pub(crate) manifests: Option<PathBuf>,
    /// Data roots of runtimes at places of their own.
    pub(crate) data_roots: Vec<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    node: Option<String>,
    manifest: Option<PathBuf>,
    manifest_root: Option<Digest>,
    #[serde(default)]
    add_ons: Vec<PathBuf>,
    #[serde(default)]
    trust: Vec<PathBuf>,
    trust_config: Option<PathBuf>,
    root: Option<PathBuf>,
    state_directory: Option<PathBuf>,
    interval: Option<SignedDuration>,
    #[serde(default)]
    sweep: FileSweep,
    /// Such as `"64M"`.
    spool_bytes: Option<String>,
    #[serde(default)]
    containers: FileContainers,
    /// How nodes were told of their collector before they enrolled.
    collector: Option<toml::Table>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct FileSweep {
    threads: Option<usize>,
    max_bytes_per_second: Option<String>,
    idle: Option<bool>,
    direct: bool,
    quick_interval: Option<SignedDuration>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct FileContainers {
    enabled: Option<bool>,
    manifests: Option<PathBuf>,
    data_roots: Vec<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the configuration {} is not valid", .path.display())]
    Toml {
        path: PathBuf,
        #[source]
        source: TomlError,
    },
    #[error("the configuration {} cannot be used", .path.display())]
    Trust {
        path: PathBuf,
        #[source]
        source: ReadTrustError,
    },
    #[error("cannot use the node's enrolment")]
    Enrolment(#[source] StateError),
    #[error("the configuration {} is not valid: {what}", .path.display())]
    Invalid { path: PathBuf, what: String },
}

/// What a configuration is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Agent,
    /// To say how things stand, whatever is missing yet.
    Status,
}

impl Config {
    /// Reads and checks the file at `path`. Relative paths in it are taken from
    /// its directory.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_as(path, Use::Agent)
    }

    /// The same, also before the node has enrolled as the file asks for.
    pub(crate) fn load_for_status(path: &Path) -> Result<Self, ConfigError> {
        Self::load_as(path, Use::Status)
    }

    fn load_as(path: &Path, wanted_for: Use) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let file: File = strict_toml::from_str(&text)
            .map_err(|source| ConfigError::Toml { path: path.to_owned(), source })?;
        let invalid = |what: String| ConfigError::Invalid { path: path.to_owned(), what };
        let directory = path.parent().unwrap_or(Path::new(""));
        let state_directory =
            directory.join(file.state_directory.unwrap_or_else(|| PathBuf::from(STATE_DIRECTORY)));
        if file.collector.is_some() {
            let mend = "take `[collector]` out, and enrol the node with `congruent enroll`";
            return Err(invalid(format!("nodes report by a certificate, not by a token; {mend}")));
        }
        let enrolment = EnrolmentFiles::new(&state_directory).read().map_err(ConfigError::Enrolment)?;
        let node = named(file.node, enrolment.as_ref()).map_err(invalid)?;
        if node.is_empty() || node.len() > 200 {
            return Err(invalid(
                "`node` (by default the host's name) must be 1 to 200 bytes long".to_owned(),
            ));
        }
        let at = |part: &PathBuf| directory.join(part);
        let trust = match (&file.trust_config, &file.trust[..]) {
            (Some(_), [_, ..]) => {
                return Err(invalid("`trust` and `trust-config` are both given; keep one".to_owned()));
            }
            (Some(path), []) => trust::of_file(&at(path)),
            (None, []) => {
                let mend = "name the keys that sign manifests, such as trust = [\"signer.pub.pem\"]";
                return Err(invalid(format!("`trust` is empty; {mend}")));
            }
            (None, keys) => trust::of_keys(&keys.iter().map(at).collect::<Vec<_>>()),
        };
        let trust = trust.map_err(|source| ConfigError::Trust { path: path.to_owned(), source })?;
        let interval = file.interval.map(|interval| check_interval("interval", interval)).transpose();
        let interval = interval.map_err(invalid)?.unwrap_or(DEFAULT_INTERVAL);
        let manifest = match (&file.manifest, &file.manifest_root) {
            (Some(path), None) => directory.join(path),
            (None, Some(root)) if enrolment.is_some() || wanted_for == Use::Status => {
                fetched::path_of(&state_directory, root)
            }
            (None, Some(_)) => {
                let mend = "run `congruent enroll`, or name a file with `manifest`";
                return Err(invalid(format!("`manifest-root` is for enrolled nodes; {mend}")));
            }
            (Some(_), Some(_)) => {
                return Err(invalid("`manifest` and `manifest-root` are both given; keep one".to_owned()));
            }
            (None, None) => {
                let mend = "write manifest = \"web.manifest\", or manifest-root = \"blake3:…\"";
                return Err(invalid(format!("it names no manifest; {mend}")));
            }
        };
        Ok(Self {
            node,
            manifest,
            manifest_root: file.manifest_root,
            add_ons: file.add_ons.iter().map(at).collect(),
            trust,
            root: file.root.map(|root| directory.join(root)),
            state_directory,
            sweep: check_sweep(&file.sweep, interval).map_err(invalid)?,
            interval,
            spool_bytes: spool_bytes(file.spool_bytes.as_deref()).map_err(invalid)?,
            containers: containers(file.containers, directory).map_err(invalid)?,
            collector: enrolment,
        })
    }
}

fn check_interval(name: &str, interval: SignedDuration) -> Result<Duration, String> {
    let interval = Duration::try_from(interval).unwrap_or_default();
    let bounds = || format!("`{name}` must be at least 100ms, and at most 31 days");
    (MIN_INTERVAL..=MAX_INTERVAL).contains(&interval).then_some(interval).ok_or_else(bounds)
}

fn containers(file: FileContainers, directory: &Path) -> Result<Option<Containers>, String> {
    let FileContainers { enabled, manifests, data_roots } = file;
    if enabled.is_none() && (manifests.is_some() || !data_roots.is_empty()) {
        return Err("`[containers]` does not say whether to look; write `enabled = true`".to_owned());
    }
    let at = |path: PathBuf| directory.join(path);
    let data_roots = data_roots.into_iter().map(at).collect();
    Ok(enabled.unwrap_or(false).then(|| Containers { manifests: manifests.map(at), data_roots }))
}

fn spool_bytes(text: Option<&str>) -> Result<u64, String> {
    let Some(text) = text else { return Ok(DEFAULT_SPOOL_BYTES) };
    let bytes = parse_rate(text).map_err(|mend| format!("`spool-bytes`: {mend}"))?.get();
    if bytes < MIN_SPOOL_BYTES {
        return Err(format!("`spool-bytes` must be at least {MIN_SPOOL_BYTES}, or no report fits"));
    }
    Ok(bytes)
}

fn check_sweep(file: &FileSweep, interval: Duration) -> Result<Sweep, String> {
    if file.threads.is_some_and(|threads| !(1..=MAX_THREADS).contains(&threads)) {
        return Err(format!("`sweep.threads` must be from 1 to {MAX_THREADS}"));
    }
    let rate = file.max_bytes_per_second.as_deref().map(parse_rate).transpose();
    let quick = file.quick_interval.map(|quick| check_interval("sweep.quick-interval", quick)).transpose()?;
    if quick.is_some_and(|quick| quick >= interval) {
        return Err(
            "`sweep.quick-interval` must be shorter than `interval`, which full sweeps keep".to_owned()
        );
    }
    Ok(Sweep {
        threads: file.threads,
        max_bytes_per_second: rate.map_err(|mend| format!("`sweep.max-bytes-per-second`: {mend}"))?,
        idle: file.idle.unwrap_or(true),
        direct: file.direct,
        quick_interval: quick,
    })
}

/// What enrolment needs to know of a configuration that may need an enrolment itself.
pub(crate) struct Place {
    pub(crate) state_directory: PathBuf,
    pub(crate) node: Option<String>,
}

impl Config {
    /// Where the configuration at `path` has the node's state, and what it calls it.
    pub(crate) fn place(path: &Path) -> Result<Place, ConfigError> {
        let file: File = strict_toml::from_str(&read(path)?)
            .map_err(|source| ConfigError::Toml { path: path.to_owned(), source })?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let state = file.state_directory.unwrap_or_else(|| PathBuf::from(STATE_DIRECTORY));
        Ok(Place { state_directory: directory.join(state), node: file.node })
    }

    /// Whether an agent that runs can take this configuration for the other.
    pub(crate) fn is_same_node(&self, other: &Self) -> bool {
        self.node == other.node
            && self.state_directory == other.state_directory
            && self.collector.is_some() == other.collector.is_some()
    }

    /// Whether the agent writes to its state directory at all.
    pub(crate) fn keeps_state(&self) -> bool {
        self.collector.is_some() || self.sweep.quick_interval.is_some()
    }
}

/// The node's name: as it is enrolled, as it is configured, or the host's.
fn named(configured: Option<String>, enrolment: Option<&Enrolment>) -> Result<String, String> {
    match (configured, enrolment) {
        (Some(configured), Some(enrolment)) if configured != enrolment.node => Err(format!(
            "`node` is {configured:?}, and this node is enrolled as {:?}; take `node` out",
            enrolment.node
        )),
        (_, Some(enrolment)) => Ok(enrolment.node.clone()),
        (configured, None) => Ok(configured.unwrap_or_else(host_name)),
    }
}

/// One image serves many nodes, so its configuration need not name them.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use congruent_protocol::key::SecretKey;

    fn load(text: &str) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("k.pem"), SecretKey::from_seed([1; 32]).public().to_pem())
            .unwrap();
        std::fs::write(directory.path().join("token"), "secret\n").unwrap();
        let path = directory.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|error| format!("{:#}", anyhow::Error::new(error)))
    }

    #[test]
    fn a_whole_configuration_is_read() {
        let text = "node = 'a'\nmanifest = 'm'\ntrust = ['k.pem']\ninterval = '2m 30s'\nroot = '/r'\n\
                    spool-bytes = '2M'";
        let config = load(text).unwrap();
        assert_eq!(config.interval, Duration::from_secs(150));
        assert_eq!(config.root.as_deref(), Some(Path::new("/r")));
        assert_eq!((config.collector, config.spool_bytes), (None, 2_000_000));
        assert!(config.manifest.is_absolute());
        assert!(config.sweep.idle && config.sweep.quick_interval.is_none());
        let text = "manifest = 'm'\ntrust = ['k.pem']\n[sweep]\nthreads = 3\nidle = false\n\
                    max-bytes-per-second = '1.5M'\nquick-interval = '30s'\ndirect = true";
        let sweep = load(text).unwrap().sweep;
        assert_eq!((sweep.threads, sweep.idle, sweep.direct), (Some(3), false, true));
        assert_eq!(sweep.max_bytes_per_second.unwrap().get(), 1_500_000);
        assert_eq!(sweep.quick_interval, Some(Duration::from_secs(30)));
        let text = "manifest = 'm'\ntrust = ['k.pem']\n[containers]\nenabled = true\nmanifests = 'images'\n\
                    data-roots = ['/srv/docker']";
        let containers = load(text).unwrap().containers.unwrap();
        assert!(containers.manifests.unwrap().ends_with("images"));
        assert_eq!(containers.data_roots, [Path::new("/srv/docker")]);
        let text = "manifest = 'm'\ntrust = ['k.pem']\n[containers]\nenabled = false\nmanifests = 'm'";
        assert!(load(text).unwrap().containers.is_none());
    }

    #[test]
    fn mistakes_are_named_with_their_mend() {
        let base = "node = 'a'\nmanifest = 'm'\n";
        let root = format!("blake3:{}", "0".repeat(64));
        for (text, says) in [
            (format!("{base}trust = []"), "`trust` is empty; name the keys"),
            (format!("{base}trust = ['k.pem']\ntrust-config = 't'"), "both given; keep one"),
            (format!("{base}trust-config = 'token'"), "the trust configuration"),
            (format!("{base}trust = ['none.pem']"), "none.pem"),
            (format!("{base}trust = ['token']"), "not an Ed25519 public key"),
            (format!("{base}trust = ['k.pem']\nintervall = '1m'"), "did you mean `interval`?"),
            (format!("{base}trust = ['k.pem']\ninterval = '0s'"), "`interval` must be at least"),
            (format!("{base}trust = ['k.pem']\ninterval = '99999h'"), "at most 31 days"),
            (format!("{base}trust = ['k.pem']\ninterval = 'soon'"), "line 4, column 12"),
            (
                format!("{base}trust = ['k.pem']\n[sweep]\nthreads = 0"),
                "`sweep.threads` must be from 1 to 16",
            ),
            (format!("{base}trust = ['k.pem']\n[sweep]\nmax-bytes-per-second = 'x'"), "such as 1500, 50M"),
            (
                format!("{base}trust = ['k.pem']\n[sweep]\nquick-interval = '15m'"),
                "must be shorter than `interval`",
            ),
            (format!("{base}trust = ['k.pem']\n[sweep]\nquick = '1m'"), "`quick`"),
            (format!("{base}trust = ['k.pem']\nspool-bytes = '1K'"), "must be at least 65536"),
            (format!("{base}trust = ['k.pem']\n[containers]\nmanifest = 'm'"), "did you mean `manifests`?"),
            (format!("{base}trust = ['k.pem']\n[containers]\nmanifests = 'm'"), "write `enabled = true`"),
            (format!("{base}trust = ['k.pem']\n[collector]\nurl = 'http://x'"), "`congruent enroll`"),
            ("node = 'a'\ntrust = ['k.pem']".to_owned(), "it names no manifest"),
            (format!("{base}trust = ['k.pem']\nmanifest-root = '{root}'"), "both given; keep one"),
            (format!("trust = ['k.pem']\nmanifest-root = '{root}'"), "is for enrolled nodes"),
            ("trust = ['k.pem']\nmanifest-root = 'x'".to_owned(), "is not a digest"),
        ] {
            let error = load(&text).err().unwrap();
            assert!(error.contains(says), "{error}");
        }
    }
}
