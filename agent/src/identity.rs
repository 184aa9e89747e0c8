//! What a node keeps of itself in its state directory.

use anyhow::Context;
use congruent_protocol::digest::{ContentKey, DIGEST_BYTES};

use crate::atomic;
use crate::config::Config;
use crate::target::{passing_content_key, read_content_key};

/// The key under which sensitive content is reported, in the state directory.
const CONTENT_KEY: &str = "content.key";

/// The node's own key, made where it is not there yet. Without a collector nothing
/// is kept and nothing leaves the node, so that a passing key does.
pub(crate) fn content_key(config: &Config) -> anyhow::Result<ContentKey> {
    if config.collector.is_none() {
        return passing_content_key();
    }
    let path = config.state_directory.join(CONTENT_KEY);
    if !path.exists() {
        // Whole or not at all: half a key would be in the way for ever.
        let mut bytes = [0; DIGEST_BYTES];
        getrandom::fill(&mut bytes).context("cannot get random bytes")?;
        atomic::create_private(&path, &bytes).with_context(|| format!("cannot make {}", path.display()))?;
    }
    read_content_key(&path)
}
