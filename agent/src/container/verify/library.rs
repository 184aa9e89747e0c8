//! The manifests that containers are held to, found by what their images are.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use congruent_protocol::digest::Digest;
use congruent_protocol::manifest::{
    EntriesError, ImageLayer, LayerReader, ListedEntry, Manifest, ManifestError,
};
use congruent_protocol::trust::Trust;
use jiff::Timestamp;

use crate::container::Container;
use crate::container::store::chain_of;
use crate::regular::{self, Positioned};
use crate::sweep::open_file_limit;

/// The most manifests that are looked at.
const MAX_MANIFESTS: usize = 10_000;
/// How many files are open beside them at least.
const OTHER_FILES: usize = 64;

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
    #[error(
        "the directory of manifests {} has {count}, and this process may have {limit} files open: raise its limit \
         (`ulimit -Hn`, `LimitNOFILE=`)",
        .directory.display()
    )]
    OpenFiles { directory: PathBuf, count: usize, limit: usize },
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

/// A manifest of a container image.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) manifest: Manifest,
    file: Arc<File>,
}

impl Known {
    /// What it says that is in the image.
    pub(crate) fn entries(
        &self,
    ) -> Result<impl Iterator<Item = Result<ListedEntry, EntriesError>> + Send, EntriesError> {
        self.manifest.checked_entries(Positioned::new(&self.file))
    }
}

/// What a container may be held to. Nothing may be concluded from it before it is
/// proven.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'l> {
    pub(crate) known: &'l Known,
    kept: &'l Kept,
}

impl Candidate<'_> {
    /// Whether the entries of its tree are those that it states. Where they are not, it is
    /// not found again.
    pub(crate) fn is_proven(&self) -> bool {
        self.kept.proven().is_ok()
    }

    /// Takes it for proven, since a container was found to be it in every entry.
    pub(crate) fn was_found(&self) {
        // Whoever has proven it before found the same.
        let _ = self.kept.proven.set(Ok(self.known.clone()));
    }
}

/// What a manifest lists of a layer. Nothing may be concluded from it before it is
/// proven.
#[derive(Clone, Copy)]
pub(crate) struct Listing<'l> {
    kept: &'l Kept,
    at: usize,
}

impl<'l> Listing<'l> {
    /// What the statement says of the layer.
    pub(crate) fn stated(&self) -> &'l ImageLayer {
        &self.kept.stated.manifest.predicate().layers[self.at]
    }

    /// What is listed.
    pub(crate) fn entries(&self) -> Result<LayerReader<impl Read + use<'l>>, EntriesError> {
        let Known { manifest, file } = &self.kept.stated;
        manifest.layer(self.at, Positioned::new(file))
    }

    /// Whether what is listed is what is stated. Where it is not, it is not found again.
    pub(crate) fn is_proven(&self) -> bool {
        let Kept { stated: Known { manifest, file }, layers, .. } = self.kept;
        layers[self.at].get_or_init(|| manifest.check_layer(self.at, &mut Positioned::new(file))).is_ok()
    }
}

/// A manifest of which the statement was checked. To go through its entries costs more
/// than all else, so that is done where a container is held to them, and not twice where
/// one is found to be them.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    stated: Known,
    /// It, once the entries of its tree were found to be those that it states.
    proven: OnceLock<Result<Known, ManifestError>>,
    /// Of each layer, whether what is listed is what is stated.
    layers: Vec<OnceLock<Result<(), ManifestError>>>,
}

/// Manifests of images.
#[derive(Debug, Default)]
pub(crate) struct Library {
    images: Vec<Kept>,
    /// Which manifests have a layer, and which of their layers it is.
    layers: HashMap<Digest, Vec<(usize, usize)>>,
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
        // Each stays open, and more are taken than a process mostly may have open.
        let (count, limit) = (paths.len(), open_file_limit());
        if count + OTHER_FILES > limit {
            return Err(LibraryError::OpenFiles { directory: directory.to_owned(), count, limit });
        }
        paths.sort();
        let (mut library, mut refused) = (Self::default(), Vec::new());
        for path in paths {
            match Kept::open(&path, trust, now) {
                Ok(kept) => library.add(kept),
                Err(why) => refused.push(Refused { path, why }),
            }
        }
        Ok((library, refused))
    }

    /// Takes another's manifests as well.
    pub(crate) fn take(&mut self, other: Self) {
        other.images.into_iter().for_each(|kept| self.add(kept));
    }

    fn add(&mut self, kept: Kept) {
        let index = self.images.len();
        for (at, layer) in kept.stated.manifest.predicate().layers.iter().enumerate() {
            self.layers.entry(layer.diff_id).or_default().push((index, at));
        }
        self.images.push(kept);
    }

    /// What a container's image is held to: the manifest of its configuration and of
    /// each of its layers, in their order; of several the one that was baked last and
    /// whose entries are those that it states.
    pub(crate) fn of(&self, container: &Container) -> Option<&Known> {
        while let Some(candidate) = self.candidate(container) {
            if candidate.is_proven() {
                return Some(candidate.known);
            }
        }
        None
    }

    /// The first that it may be held to, of those that were not found not to list what
    /// they state.
    pub(crate) fn candidate(&self, container: &Container) -> Option<Candidate<'_>> {
        let mut fitting: Vec<&Kept> = self.images.iter().filter(|kept| kept.fits(container)).collect();
        fitting.sort_by_key(|kept| kept.stated.manifest.predicate().baked.at);
        fitting.into_iter().rev().find_map(|kept| Some(Candidate { known: kept.known()?, kept }))
    }

    /// What a manifest lists of this layer.
    pub(crate) fn layer(&self, diff_id: Digest) -> Option<Listing<'_>> {
        let listings = self.layers.get(&diff_id)?.iter().map(|&(image, at)| (&self.images[image], at));
        let usable = |&(kept, at): &(&Kept, usize)| !kept.layers[at].get().is_some_and(Result::is_err);
        listings.into_iter().find(usable).map(|(kept, at)| Listing { kept, at })
    }

    /// How many manifests there are.
    pub(crate) fn len(&self) -> usize {
        self.images.len()
    }

    /// The manifests of which it was found since they were opened that they do not list
    /// what they state, and in what.
    pub(crate) fn broken(&self) -> impl Iterator<Item = (&Path, String)> {
        self.images.iter().flat_map(|kept| {
            let tree = kept.proven.get().and_then(|proven| proven.as_ref().err());
            let layers = kept.layers.iter().filter_map(|layer| layer.get()?.as_ref().err());
            tree.into_iter().chain(layers).map(|why| (&*kept.path, chain_of(why)))
        })
    }
}

impl Kept {
    fn open(path: &Path, trust: Option<&Trust>, now: Timestamp) -> Result<Self, RefusedBecause> {
        let mut file = regular::open(path).map_err(RefusedBecause::Open)?;
        let statement = match trust {
            Some(trust) => Manifest::verify_statement(&mut file, trust, now)?,
            None => Manifest::read_statement(&mut file)?,
        };
        let predicate = statement.predicate();
        if predicate.layers.is_empty() && predicate.origin.image.is_none() {
            return Err(RefusedBecause::NoImage);
        }
        let layers = predicate.layers.iter().map(|_| OnceLock::new()).collect();
        let stated = Known { manifest: statement, file: Arc::new(file) };
        Ok(Self { path: path.to_owned(), stated, proven: OnceLock::new(), layers })
    }

    fn fits(&self, container: &Container) -> bool {
        let image = self.stated.manifest.predicate().origin.image.as_ref();
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
    }

    /// It, as far as it can be known before it is proven; none where it was found not to
    /// list what it states.
    fn known(&self) -> Option<&Known> {
        match self.proven.get() {
            Some(proven) => proven.as_ref().ok(),
            // A look needs the sizes beforehand.
            None if self.stated.manifest.has_append_only() => self.proven().as_ref().ok(),
            None => Some(&self.stated),
        }
    }

    fn proven(&self) -> &Result<Known, ManifestError> {
        self.proven.get_or_init(|| {
            let Known { manifest, file } = self.stated.clone();
            let manifest = manifest.tree_proven_by(&mut Positioned::new(&file))?;
            Ok(Known { manifest, file })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use congruent_protocol::contract::Contract;

    use super::*;
    use crate::container::{LayerOnDisk, Runtime};
    use crate::layer::testing;

    /// A manifest's bytes with one altered in the middle of a section: the tree's, or
    /// its only layer's.
    fn altered(manifest: &Manifest, bytes: &[u8], is_tree: bool) -> Vec<u8> {
        let layer = manifest.section_bytes() - manifest.section(Cursor::new(bytes)).unwrap().bytes;
        let end = if is_tree { bytes.len() as u64 - layer - 8 } else { bytes.len() as u64 };
        let section = if is_tree { manifest.section_bytes() - layer } else { layer };
        let mut altered = bytes.to_vec();
        altered[usize::try_from(end - section / 2).unwrap()] ^= 1;
        altered
    }

    #[test]
    fn a_manifest_that_does_not_list_what_it_states_is_no_container_s() {
        let (manifest, bytes) = testing::manifest(&Contract::empty());
        let image = manifest.predicate().origin.image.clone().unwrap();
        let diff_id = image.diff_ids[0];
        let container = Container {
            config_digest: Some(image.config_digest),
            layers: vec![LayerOnDisk {
                diff_id: Some(diff_id),
                chain_id: None,
                directory: PathBuf::new(),
                tar_split: None,
            }],
            ..Container::new(Runtime::Docker, "1")
        };
        let (tree, layer) = (altered(&manifest, &bytes, true), altered(&manifest, &bytes, false));
        let check = |what: &str, files: &[&[u8]], is_known: bool, has_layer: bool, broken: usize| {
            let folder = tempfile::tempdir().unwrap();
            for (at, file) in files.iter().enumerate() {
                fs::write(folder.path().join(format!("{at}.manifest")), file).unwrap();
            }
            let (library, refused) = Library::open(folder.path(), None, Timestamp::UNIX_EPOCH).unwrap();
            assert!(refused.is_empty(), "{what}: {refused:?}");
            assert_eq!(library.of(&container).is_some(), is_known, "{what}");
            let proven = std::iter::from_fn(|| library.layer(diff_id)).find(Listing::is_proven);
            assert_eq!(proven.is_some(), has_layer, "{what}");
            assert_eq!(library.broken().count(), broken, "{what}");
        };
        check("as it was baked", &[&bytes], true, true, 0);
        check("another tree", &[&tree], false, true, 1);
        check("another layer", &[&layer], true, false, 1);
        check("one that is good before", &[&bytes, &tree, &layer], true, true, 0);
        check("one that is good behind", &[&layer, &bytes, &tree], true, true, 2);
    }
}
