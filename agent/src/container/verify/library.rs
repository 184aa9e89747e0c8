//! The manifests that containers are held to, found by what their images are.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use congruent_protocol::digest::Digest;
use congruent_protocol::manifest::{Manifest, ManifestError};
use congruent_protocol::trust::Trust;
use jiff::Timestamp;

use crate::container::Container;
use crate::regular;

/// The most manifests that are looked at.
const MAX_MANIFESTS: usize = 10_000;

/// Why manifests could not be looked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LibraryError {
    #[error("cannot read the directory of manifests {}", .directory.display())]
    List {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the directory of manifests {} has over {MAX_MANIFESTS} entries", .0.display())]
    TooMany(PathBuf),
}

/// A manifest that is not used, and why.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) path: PathBuf,
    pub(crate) why: RefusedBecause,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RefusedBecause {
    #[error("it cannot be opened")]
    Open(#[source] io::Error),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("it is not of a container image; bake the image with its layers")]
    NoImage,
}

/// A manifest of a container image, checked, and its open file.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) manifest: Manifest,
    pub(crate) file: File,
}

/// Manifests of images.
#[derive(Debug, Default)]
pub(crate) struct Library {
    images: Vec<Known>,
    /// Which manifest has a layer, and which of its layers it is.
    layers: HashMap<Digest, (usize, usize)>,
}

impl Library {
    /// All accepted manifests in a directory, and those that are not. Without `trust`,
    /// whoever wrote them is believed.
    pub(crate) fn open(
        directory: &Path,
        trust: Option<&Trust>,
        now: Timestamp,
    ) -> Result<(Self, Vec<Refused>), LibraryError> {
        let list = |source| LibraryError::List { directory: directory.to_owned(), source };
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory).map_err(list)? {
            let path = entry.map_err(list)?.path();
            if path.extension().is_some_and(|extension| extension == "manifest") {
                paths.push(path);
            }
            if paths.len() > MAX_MANIFESTS {
                return Err(LibraryError::TooMany(directory.to_owned()));
            }
        }
        paths.sort();
        let (mut library, mut refused) = (Self::default(), Vec::new());
        for path in paths {
            match open(&path, trust, now) {
                Ok(known) => library.add(known),
                Err(why) => refused.push(Refused { path, why }),
            }
        }
        Ok((library, refused))
    }

    /// Takes another's manifests as well.
    pub(crate) fn take(&mut self, other: Self) {
        other.images.into_iter().for_each(|known| self.add(known));
    }

    fn add(&mut self, known: Known) {
        let index = self.images.len();
        for (at, layer) in known.manifest.predicate().layers.iter().enumerate() {
            self.layers.entry(layer.diff_id).or_insert((index, at));
        }
        self.images.push(known);
    }

    /// What a container's image is held to: the manifest of its configuration and of
    /// each of its layers, in their order; of several the one that was baked last.
    pub(crate) fn of(&self, container: &Container) -> Option<&Known> {
        let fitting = self.images.iter().filter(|known| {
            let image = known.manifest.predicate().origin.image.as_ref();
            image.is_some_and(|image| {
                let has_layers = container.layers.len() == image.diff_ids.len()
                    && container
                        .layers
                        .iter()
                        .zip(&image.diff_ids)
                        .all(|(on_disk, baked)| on_disk.diff_id.is_none_or(|diff_id| diff_id == *baked));
                // What is known of the image by one of both must not contradict the other.
                let all_known = container.layers.iter().all(|layer| layer.diff_id.is_some());
                match container.config_digest {
                    Some(config) => config == image.config_digest && has_layers,
                    None => all_known && has_layers && !image.diff_ids.is_empty(),
                }
            })
        });
        fitting.max_by_key(|known| known.manifest.predicate().baked.at)
    }

    /// A manifest that has this layer, and which of its layers it is.
    pub(crate) fn layer(&self, diff_id: Digest) -> Option<(&Known, usize)> {
        let &(image, at) = self.layers.get(&diff_id)?;
        Some((&self.images[image], at))
    }

    /// How many manifests there are.
    pub(crate) fn len(&self) -> usize {
        self.images.len()
    }
}

fn open(path: &Path, trust: Option<&Trust>, now: Timestamp) -> Result<Known, RefusedBecause> {
    let mut file = regular::open(path).map_err(RefusedBecause::Open)?;
    let manifest = match trust {
        Some(trust) => Manifest::verify(&mut file, trust, now)?,
        None => Manifest::read_unchecked(&mut file)?,
    };
    if manifest.predicate().layers.is_empty() && manifest.predicate().origin.image.is_none() {
        return Err(RefusedBecause::NoImage);
    }
    Ok(Known { manifest, file })
}
