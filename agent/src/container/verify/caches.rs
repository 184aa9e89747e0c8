//! What looks saw of lower layers, kept for quick ones: a cache for each, in one directory.
//!
//! Each is as [`crate::sweep::cache`] has it, and proves as much. It is found by all
//! that a look at the layer depends on. The writable layer has none: what is in it is
//! mostly not as baked, and of that nothing is recalled.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use congruent_protocol::manifest::ImageLayer;
use congruent_protocol::verification::SweepMode;
use serde::Serialize;

use super::Verifier;
use super::lower::Key;
use crate::container::Container;
use crate::container::store::chain_of;
use crate::layer::{IdMaps, Notes};
use crate::sweep::Root;
use crate::sweep::cache::{self, Cache, CacheError, Memory};

/// What each cache's name begins with; the digest of its key follows.
const PREFIX: &str = "layer-";

/// The caches of layers, and what looks are to make of them.
pub(crate) struct LayerCaches {
    directory: PathBuf,
    mode: SweepMode,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayerCachesError {
    #[error("cannot make the directory {} for what looks saw of layers", .directory.display())]
    Make {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot list the directory {} of what looks saw of layers", .directory.display())]
    List {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Remove(#[from] CacheError),
}

/// How a layer's directory is seen, as far as what is as listed depends on it.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Way<'a> {
    pub(super) is_lowest: bool,
    pub(super) top_mode: Option<u16>,
    pub(super) ids: &'a IdMaps,
    pub(super) notes: Notes,
}

impl LayerCaches {
    /// Those in `directory`, which is made where it is not there. Where looks are to be
    /// quick, each is full all the same for which nothing can be recalled.
    pub(crate) fn open(directory: &Path, mode: SweepMode) -> Result<Self, LayerCachesError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|source| LayerCachesError::Make { directory: directory.to_owned(), source })?;
        Ok(Self { directory: directory.to_owned(), mode })
    }

    /// Removes what is kept of layers on which none of `containers` lies: of all that
    /// there are, not of those alone that are looked at.
    pub(crate) fn forget_others(&self, containers: &[Container]) -> Result<(), LayerCachesError> {
        let list = |source| LayerCachesError::List { directory: self.directory.clone(), source };
        let wanted: Vec<String> = containers.iter().flat_map(Key::all_of).map(|key| name_of(&key)).collect();
        for entry in fs::read_dir(&self.directory).map_err(list)? {
            let name = entry.map_err(list)?.file_name();
            // What stands beside a cache has its name and more.
            let cache = name.to_str().and_then(|name| name.split('.').next());
            if let Some(cache) = cache.filter(|cache| cache.starts_with(PREFIX))
                && !wanted.iter().any(|wanted| wanted == cache)
            {
                cache::remove(&self.directory.join(cache))?;
            }
        }
        Ok(())
    }

    /// What is recalled of a layer; and why not what was to be, where that is so.
    pub(super) fn recall(
        &self,
        key: &Key,
        root: &Root,
        stated: &ImageLayer,
        way: Way<'_>,
        verifier: &Verifier<'_>,
    ) -> (Memory, Option<String>) {
        let path = self.directory.join(name_of(key));
        let recalled = Cache::of_layer(&path, root, stated, &way)
            .and_then(|cache| cache.recall(self.mode, verifier.means, (verifier.clock)()));
        match recalled {
            Ok((memory, unusable)) => (memory, unusable.map(|unusable| chain_of(&unusable))),
            Err(error) => (Memory::default(), Some(chain_of(&error))),
        }
    }
}

fn name_of(key: &Key) -> String {
    format!("{PREFIX}{}", key.digest().to_hex())
}

#[cfg(test)]
mod tests;
