//! Manifests of container images that the collector has, kept in the state directory: one
//! for each image, named by the digest of its configuration.
//!
//! While the collector is away, what is kept serves. What is of no container any more
//! goes after a time, and there is never more than so much.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use congruent_protocol::digest::Digest;
use congruent_protocol::manifest::{Manifest, ManifestError};
use congruent_protocol::trust::Trust;
use congruent_protocol::verification::SweepMode;
use jiff::Timestamp;
use tokio::time::timeout;
use tracing::warn;

use crate::client::Client;
use crate::fetched::{self, Place};
use crate::regular;

/// In the state directory.
const IMAGES_DIRECTORY: &str = "images";
const SUFFIX: &str = "manifest";
/// How long the manifest of an image is kept of which no container is seen.
const UNSEEN_FOR: Duration = Duration::from_hours(24 * 30);
/// The most manifests kept, and the most bytes of all of them; then those go whose images
/// were not seen for longest.
const MAX_KEPT: usize = 1_000;
const MAX_KEPT_BYTES: u64 = 8 << 30;
/// How long the collector may take to answer, and to give all manifests.
const PATIENCE_FOR_ANSWER: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_mins(10);
/// How many of an image's manifests are tried.
const MAX_ROOTS: usize = 16;

/// What is kept of the collector's manifests, and what it was asked for.
pub(crate) struct Images {
    directory: PathBuf,
    /// Images that were asked for since the last full look.
    asked: HashSet<Digest>,
    /// Roots of manifests that were taken and are not accepted here.
    refused: HashSet<Digest>,
}

impl Images {
    pub(crate) fn new(state_directory: &Path) -> Self {
        let (asked, refused) = Default::default();
        Self { directory: state_directory.join(IMAGES_DIRECTORY), asked, refused }
    }

    /// Where they are kept.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Asks the collector for manifests of `images`, whose configurations have these
    /// digests: of each once from one full look to the next. Whatever goes wrong, and
    /// however long it would take, what is kept stays.
    pub(crate) async fn refresh(
        &mut self,
        images: &[Digest],
        mode: SweepMode,
        client: &Client,
        trust: &Trust,
    ) {
        if mode == SweepMode::Full {
            self.asked.clear();
        }
        let unasked: Vec<Digest> = images.iter().copied().filter(|image| self.asked.insert(*image)).collect();
        match timeout(PATIENCE, self.take_all(&unasked, client, trust)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("the manifests of images that are kept serve: {error:#}"),
            Err(_) => warn!("not all manifests of images came in {PATIENCE:?}"),
        }
    }

    async fn take_all(&mut self, images: &[Digest], client: &Client, trust: &Trust) -> anyhow::Result<()> {
        for image in images {
            // Who does not answer would not do so for the others.
            let roots = timeout(PATIENCE_FOR_ANSWER, client.image_manifests(image)).await;
            let roots = roots.with_context(|| format!("{} does not answer", client.url())).flatten()?;
            self.take_first(image, &roots, client, trust).await;
        }
        Ok(())
    }

    /// Takes the first of an image's manifests that is accepted here.
    async fn take_first(&mut self, image: &Digest, roots: &[Digest], client: &Client, trust: &Trust) {
        let path = path_of(&self.directory, image);
        for root in roots.iter().take(MAX_ROOTS) {
            if self.refused.contains(root) {
                continue;
            }
            if is_kept(&path, root, trust) {
                return;
            }
            let place = Place { path: path.clone(), trust: trust.clone(), image: Some(*image) };
            match fetched::take(client, root, place).await {
                Ok(()) => return,
                Err(error) => {
                    warn!(%image, "{error:#}");
                    let is_refused = error.chain().any(<dyn std::error::Error>::is::<ManifestError>);
                    self.refused.extend(is_refused.then_some(*root));
                }
            }
        }
    }

    /// Notes that there are containers of these images, and removes what is of no use any
    /// more.
    pub(crate) fn tidy(&self, images: &[Digest], now: SystemTime) -> io::Result<()> {
        for image in images {
            match File::open(path_of(&self.directory, image)) {
                Ok(kept) => kept.set_modified(now)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        for path in superfluous(self.kept()?, now) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    fn kept(&self) -> io::Result<Vec<Kept>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let of = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            let metadata = entry.metadata()?;
            Ok(Kept { path: entry.path(), seen_at: metadata.modified()?, bytes: metadata.len() })
        };
        entries.map(of).collect()
    }
}

/// A manifest that is kept, and when a container of its image was seen last.
struct Kept {
    path: PathBuf,
    seen_at: SystemTime,
    bytes: u64,
}

/// What is to go: what was not seen for long, and beyond the limits what was not seen for
/// longest.
fn superfluous(mut kept: Vec<Kept>, now: SystemTime) -> Vec<PathBuf> {
    kept.sort_by_key(|kept| std::cmp::Reverse(kept.seen_at));
    let mut bytes = 0_u64;
    let goes = |(at, kept): (usize, &Kept)| {
        bytes = bytes.saturating_add(kept.bytes);
        // A time to come is that of a clock that was wrong.
        let is_old = now.duration_since(kept.seen_at).is_ok_and(|unseen| unseen > UNSEEN_FOR);
        is_old || at >= MAX_KEPT || bytes > MAX_KEPT_BYTES
    };
    let goes: Vec<bool> = kept.iter().enumerate().map(goes).collect();
    kept.into_iter().zip(goes).filter(|(_, goes)| *goes).map(|(kept, _)| kept.path).collect()
}

fn path_of(directory: &Path, image: &Digest) -> PathBuf {
    directory.join(format!("{}-{}.{SUFFIX}", image.algorithm().name(), image.to_hex()))
}

/// Whether the manifest with this root is there, and would be accepted now.
fn is_kept(path: &Path, root: &Digest, trust: &Trust) -> bool {
    let opened = regular::open(path).ok();
    let verified =
        opened.and_then(|mut file| Manifest::verify_statement(&mut file, trust, Timestamp::now()).ok());
    verified.is_some_and(|manifest| manifest.predicate().root == *root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use congruent_protocol::digest::Algorithm;

    #[test]
    fn what_is_of_no_use_goes() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365);
        let kept = |name: &str, days: u64, bytes: u64| Kept {
            path: name.into(),
            seen_at: now - Duration::from_hours(24 * days),
            bytes,
        };
        let check = |kept: Vec<Kept>, expected: &[&str]| {
            let gone: Vec<_> =
                superfluous(kept, now).into_iter().map(|path| path.display().to_string()).collect();
            assert_eq!(gone, expected);
        };
        check(vec![kept("new", 0, 1), kept("old", 31, 1), kept("seen", 29, 1)], &["old"]);
        check(vec![kept("a", 3, 1), kept("b", 1, MAX_KEPT_BYTES), kept("c", 2, 1)], &["c", "a"]);
        let many = (0..=MAX_KEPT).map(|at| kept(&format!("{at}"), u64::from(at == 7), 1)).collect();
        check(many, &["7"]);
        let later = Kept { seen_at: now + Duration::from_hours(1), ..kept("later", 0, 1) };
        check(vec![later], &[]);
    }

    #[test]
    fn images_that_are_seen_stay() {
        let state = tempfile::tempdir().unwrap();
        let images = Images::new(state.path());
        let now = SystemTime::now();
        images.tidy(&[], now).unwrap();
        fs::create_dir(images.directory()).unwrap();
        let digests = [&b"seen"[..], b"unseen"].map(|name| Algorithm::Sha256.digest(name));
        for digest in &digests {
            let file = File::create(path_of(images.directory(), digest)).unwrap();
            file.set_modified(now - UNSEEN_FOR - Duration::from_mins(1)).unwrap();
        }
        images.tidy(&digests[..1], now).unwrap();
        assert!(path_of(images.directory(), &digests[0]).exists());
        assert!(!path_of(images.directory(), &digests[1]).exists());
    }
}
