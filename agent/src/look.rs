//! One look at the node, as the agent takes it: what it is held to, how it is
//! swept, and what is kept for the next one.

use std::env;
use std::path::PathBuf;

use anyhow::Context;
use congruent_protocol::digest::ContentKey;
use congruent_protocol::verification::{SweepMode, Verification};
use jiff::Timestamp;
use tracing::{info, warn};

use crate::config::{Config, Sweep};
use crate::findings::{Findings, FindingsWriter};
use crate::sweep::cache::{Cache, CacheError, Memory};
use crate::sweep::{self, Counters, Means, Root};
use crate::target::{Sources, Target, open_manifest};
use crate::{identity, unwatched};

/// What the state directory is called where it is refused.
const STATE_DIRECTORY: &str = "state-directory";
/// In the state directory: what the last full sweep saw.
const CACHE_FILE: &str = "sweep-cache";

/// What a look comes to.
type Looked = Verification<Findings>;

/// Looks at the node. A quick look becomes a full one where there is nothing to
/// recall; what comes of it says which it was.
///
/// The outer error says that there is no usable manifest, the inner one that the
/// look itself failed.
pub(crate) fn look(config: &Config, mode: SweepMode) -> anyhow::Result<anyhow::Result<Looked>> {
    let content_key = match identity::content_key(config) {
        Ok(key) => key,
        Err(error) => return Ok(Err(error)),
    };
    let target = open_target(config, content_key)?;
    Ok(sweep_once(config, mode, &target))
}

/// What the node is held to. First values are the collector's to keep.
fn open_target(config: &Config, content_key: ContentKey) -> anyhow::Result<Target> {
    let sources = Sources {
        manifest: &config.manifest,
        add_ons: &config.add_ons,
        trust: Some(&config.trust),
        ledger: None,
        content_key,
    };
    Target::open(sources, Timestamp::now())
}

fn sweep_once(config: &Config, mode: SweepMode, target: &Target) -> anyhow::Result<Looked> {
    let root = Root::open(config.root.as_deref())?;
    let Sweep { threads, max_bytes_per_second, idle, direct, .. } = config.sweep;
    if idle && let Err(error) = sweep::stand_back() {
        warn!("cannot stand back from the rest of the machine: {error}");
    }
    let cache = open_cache(config, &root, target)?;
    let mut memory = cache
        .as_ref()
        .map_or_else(|| Ok(Memory::default()), |cache| recall(cache, mode, Timestamp::now()))?;
    let means = Means::new(threads, max_bytes_per_second, direct);
    let counters = Counters::default();
    let findings = FindingsWriter::spilling_to(&spill_directory(config));
    let looked = sweep::verify(&root, target, &means, &mut memory, findings, &counters, Timestamp::now)?;
    if let Err(error) = memory.keep() {
        warn!("nothing is kept for quick sweeps: {:#}", anyhow::Error::new(error));
    }
    Ok(looked)
}

/// Where findings go that memory is not to hold. An agent that keeps no state
/// need have no directory for it.
fn spill_directory(config: &Config) -> PathBuf {
    if config.keeps_state() { config.state_directory.clone() } else { env::temp_dir() }
}

/// The cache in the state directory; none for an agent that keeps no state.
fn open_cache(config: &Config, root: &Root, target: &Target) -> anyhow::Result<Option<Cache>> {
    if !config.keeps_state() {
        return Ok(None);
    }
    let directory = &config.state_directory;
    unwatched::check(STATE_DIRECTORY, directory, root, target.stack.reserved())?;
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the state directory {}", directory.display()))?;
    Ok(Some(Cache::open(&directory.join(CACHE_FILE), root, &target.stack)?))
}

fn recall(cache: &Cache, mode: SweepMode, now: Timestamp) -> Result<Memory, CacheError> {
    if mode == SweepMode::Quick {
        match cache.for_quick() {
            Ok(memory) => return Ok(memory),
            Err(unusable) => {
                info!(
                    "no quick sweep, but a full one: the cache is of no use: {:#}",
                    anyhow::Error::new(unusable)
                );
            }
        }
    }
    let memory = cache.for_full(now)?;
    if let Some(began) = memory.resumed_from() {
        info!("going on with the sweep that began at {began}");
    }
    Ok(memory)
}

/// Checks the state directory before it is made, where there is a manifest to
/// check it by; each look does so again.
pub(crate) fn refuse_watched_state(config: &Config) -> anyhow::Result<()> {
    let manifest = open_manifest(&config.manifest, Some(&config.trust), Timestamp::now());
    match (manifest, Root::open(config.root.as_deref())) {
        (Ok((manifest, _)), Ok(root)) => {
            let reserved = &manifest.predicate().reserved;
            unwatched::check(STATE_DIRECTORY, &config.state_directory, &root, reserved)
        }
        _ => Ok(()),
    }
}
