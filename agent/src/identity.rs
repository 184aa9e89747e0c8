//! What a node keeps of itself in its state directory.

use std::io::{ErrorKind, Write};

use anyhow::Context;
use congruent_protocol::digest::{ContentKey, DIGEST_BYTES};

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
        let mut file = tempfile::NamedTempFile::new_in(&config.state_directory)
            .with_context(|| format!("cannot write to {}", config.state_directory.display()))?;
        let mut bytes = [0; DIGEST_BYTES];
        getrandom::fill(&mut bytes).context("cannot get random bytes")?;
        file.write_all(&bytes)
            .and_then(|()| file.as_file().sync_all())
            .with_context(|| format!("cannot write {}", path.display()))?;
        // Of two that make one at once, the first counts.
        match file.persist_noclobber(&path).map_err(|error| error.error) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot make {}", path.display()));
            }
            _ => {}
        }
    }
    read_content_key(&path)
}
