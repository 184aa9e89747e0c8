//! One look at the node, as the agent takes it: what it is held to, how it is
//! swept, and what is kept for the next one.

use std::path::{Path, PathBuf};
use std::{env, fs};

use congruent_protocol::digest::ContentKey;
use congruent_protocol::ledger::LedgerError;
use congruent_protocol::verification::{SweepMode, Verification};
use jiff::Timestamp;
use tracing::{info, warn};

use super::unwatched;
use crate::config::{Config, Sweep};
use crate::findings::{Findings, FindingsWriter};
use crate::identity;
use crate::sweep::cache::{Cache, Memory};
use crate::sweep::{self, Counters, Means, Root};
use crate::target::{Sources, Target, open_manifest};

/// What the state directory is called where it is refused.
const STATE_DIRECTORY: &str = "state-directory";
/// In the state directory: what the last full sweep saw.
const CACHE_FILE: &str = "sweep-cache";
/// In the state directory: the first values that the collector recorded.
pub(in crate::command) const LEDGER_FILE: &str = "ledger.json";

/// What a look comes to.
pub(in crate::command) struct Looking {
    pub(in crate::command) verification: Verification<Findings>,
    /// How many first values the node was held to.
    pub(in crate::command) first_values: u64,
}

/// Looks at the node. A quick look becomes a full one where there is nothing to
/// recall; what comes of it says which it was.
///
/// The outer error says that there is no usable manifest, the inner one that the
/// look itself failed.
pub(in crate::command) fn look(config: &Config, mode: SweepMode) -> anyhow::Result<anyhow::Result<Looking>> {
    let content_key = match identity::content_key(config) {
        Ok(key) => key,
        Err(error) => return Ok(Err(error)),
    };
    let target = open_target(config, &content_key)?;
    let first_values = target.ledger.first_values().len() as u64;
    let looked = sweep_once(config, mode, &target);
    Ok(looked.map(|verification| Looking { verification, first_values }))
}

/// What the node is held to, with the first values that the collector recorded.
fn open_target(config: &Config, content_key: &ContentKey) -> anyhow::Result<Target> {
    let open = |ledger: Option<&Path>| {
        let sources = Sources {
            manifest: &config.manifest,
            add_ons: &config.add_ons,
            trust: Some(&config.trust),
            ledger,
            content_key: content_key.clone(),
        };
        Target::open(sources, Timestamp::now())
    };
    let ledger = config.state_directory.join(LEDGER_FILE);
    if config.collector.is_none() || !ledger.exists() {
        return open(None);
    }
    match open(Some(&ledger)) {
        // It is of an image that ran before, or damaged; the collector has the one for now.
        Err(error) if error.chain().any(<dyn std::error::Error>::is::<LedgerError>) => open(None),
        opened => opened,
    }
}

fn sweep_once(config: &Config, mode: SweepMode, target: &Target) -> anyhow::Result<Verification<Findings>> {
    let root = Root::open(config.root.as_deref())?;
    let means = means(&config.sweep, mode);
    let mut memory = memory(config, &root, target, mode, &means)?;
    let counters = Counters::default();
    let findings = FindingsWriter::spilling_to(&spill_directory(config));
    let looked = sweep::verify(&root, target, &means, &mut memory, findings, &counters, Timestamp::now)?;
    if let Err(error) = memory.keep() {
        warn!("nothing is kept for quick sweeps: {:#}", anyhow::Error::new(error));
    }
    Ok(looked)
}

/// What this thread's looks may take of the machine.
pub(in crate::command) fn means(sweep: &Sweep, mode: SweepMode) -> Means {
    let Sweep { threads, max_bytes_per_second, idle, direct, .. } = *sweep;
    if idle && let Err(error) = sweep::stand_back() {
        warn!("cannot stand back from the rest of the machine: {error}");
    }
    // A quick sweep reads little, and nothing that it could find beneath the cache.
    Means::new(threads, max_bytes_per_second, direct && mode == SweepMode::Full)
}

/// Where findings go that memory is not to hold. An agent that keeps no state
/// need have no directory for it.
pub(in crate::command) fn spill_directory(config: &Config) -> PathBuf {
    if config.keeps_state() { config.state_directory.clone() } else { env::temp_dir() }
}

/// What the state directory recalls for the sweep, and keeps of it. Rather than
/// no sweep, there is one without; only state in the tree that is watched is refused.
fn memory(
    config: &Config,
    root: &Root,
    target: &Target,
    mode: SweepMode,
    means: &Means,
) -> anyhow::Result<Memory> {
    if !config.keeps_state() {
        return Ok(Memory::default());
    }
    let directory = &config.state_directory;
    unwatched::check(STATE_DIRECTORY, directory, root, target.stack.reserved())?;
    if let Err(error) = fs::create_dir_all(directory) {
        warn!("cannot make the state directory {}: {error}", directory.display());
    }
    let cache = Cache::open(&directory.join(CACHE_FILE), root, &target.stack);
    let (memory, unusable) = match cache.and_then(|cache| cache.recall(mode, means, Timestamp::now())) {
        Ok(recalled) => recalled,
        Err(error) => {
            warn!("this sweep recalls nothing, and nothing is kept of it: {:#}", anyhow::Error::new(error));
            return Ok(Memory::default());
        }
    };
    if let Some(unusable) = unusable {
        info!("no quick sweep, but a full one: the cache is of no use: {:#}", anyhow::Error::new(unusable));
    }
    if let Some(began) = memory.resumed_from() {
        info!("going on with the sweep that began at {began}");
    }
    Ok(memory)
}

/// Checks the state directory before it is made, where there is a manifest to
/// check it by; each look does so again.
pub(in crate::command) fn refuse_watched_state(config: &Config) -> anyhow::Result<()> {
    let manifest = open_manifest(&config.manifest, Some(&config.trust), Timestamp::now());
    match (manifest, Root::open(config.root.as_deref())) {
        (Ok((manifest, _)), Ok(root)) => {
            let reserved = &manifest.predicate().reserved;
            unwatched::check(STATE_DIRECTORY, &config.state_directory, &root, reserved)
        }
        _ => Ok(()),
    }
}
