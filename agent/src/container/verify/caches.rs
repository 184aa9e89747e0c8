//! What looks saw of layers, kept for quick ones: a cache for each, in one directory.
//!
//! Each is as [`crate::sweep::cache`] has it, and proves as much. That of a lower layer
//! is found by all that a look at it depends on, that of a writable one by where it lies.

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use congruent_protocol::digest::Algorithm;
use congruent_protocol::manifest::{ImageLayer, Manifest};
use congruent_protocol::verification::SweepMode;
use serde::Serialize;

use super::Verifier;
use super::lower::Key;
use crate::container::Container;
use crate::container::store::chain_of;
use crate::layer::{IdMaps, Notes};
use crate::sweep::Root;
use crate::sweep::cache::{self, Cache, CacheError, Memory};

/// What each cache's name begins with; a digest follows.
const LOWER: &str = "layer-";
const WRITABLE: &str = "writable-";

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
    #[error(
        "the directory {} for what looks saw of layers is not ours alone: another owns it, or may write to it; give \
         another, or take the right away",
        .0.display()
    )]
    Foreign(PathBuf),
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
        let metadata = made.and_then(|()| fs::metadata(directory));
        let metadata =
            metadata.map_err(|source| LayerCachesError::Make { directory: directory.to_owned(), source })?;
        // Who may write to it could put one cache in another's place.
        if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
            return Err(LayerCachesError::Foreign(directory.to_owned()));
        }
        Ok(Self { directory: directory.to_owned(), mode })
    }

    /// Removes what is kept of layers on which none of `containers` lies: of all that
    /// there are, not of those alone that are looked at.
    pub(crate) fn forget_others(&self, containers: &[Container]) -> Result<(), LayerCachesError> {
        let list = |source| LayerCachesError::List { directory: self.directory.clone(), source };
        let lower = containers.iter().flat_map(Key::all_of).map(|key| name_of(&key));
        let writable =
            containers.iter().filter_map(|container| container.upper.as_deref()).map(name_of_writable);
        let wanted: HashSet<String> = lower.chain(writable).collect();
        for entry in fs::read_dir(&self.directory).map_err(list)? {
            let name = entry.map_err(list)?.file_name();
            // What stands beside a cache has its name and more.
            let cache = name.to_str().and_then(|name| name.split('.').next());
            let is_ours = |cache: &&str| [LOWER, WRITABLE].iter().any(|prefix| cache.starts_with(prefix));
            if let Some(cache) = cache.filter(is_ours)
                && !wanted.contains(cache)
            {
                cache::remove(&self.directory.join(cache))?;
            }
        }
        Ok(())
    }

    /// What is recalled of a lower layer; and why not what was to be, where that is so.
    pub(super) fn recall(
        &self,
        key: &Key,
        root: &Root,
        stated: &ImageLayer,
        way: Way<'_>,
        verifier: &Verifier<'_>,
    ) -> (Memory, Option<String>) {
        let path = self.directory.join(name_of(key));
        self.recall_from(Cache::of_layer(&path, root, stated, &way), verifier)
    }

    /// The same of a writable layer over `image`.
    pub(super) fn recall_writable(
        &self,
        directory: &Path,
        root: &Root,
        image: &Manifest,
        notes: Notes,
        verifier: &Verifier<'_>,
    ) -> (Memory, Option<String>) {
        let path = self.directory.join(name_of_writable(directory));
        self.recall_from(Cache::of_writable(&path, root, image, &notes), verifier)
    }

    fn recall_from(
        &self,
        cache: Result<Cache, CacheError>,
        verifier: &Verifier<'_>,
    ) -> (Memory, Option<String>) {
        match cache.and_then(|cache| cache.recall(self.mode, verifier.means, (verifier.clock)())) {
            Ok((memory, unusable)) => (memory, unusable.map(|unusable| chain_of(&unusable))),
            Err(error) => (Memory::default(), Some(chain_of(&error))),
        }
    }
}

fn name_of(key: &Key) -> String {
    format!("{LOWER}{}", key.digest().to_hex())
}

fn name_of_writable(directory: &Path) -> String {
    let digest = Algorithm::Blake3.digest(directory.as_os_str().as_encoded_bytes());
    format!("{WRITABLE}{}", digest.to_hex())
}

#[cfg(test)]
mod tests;
