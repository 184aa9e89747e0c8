//! Manifests that are named by their roots: taken from the collector once, kept in the
//! state directory, and held to the node's own trust. The collector is not believed: a
//! file that does not verify is not kept.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use congruent_protocol::digest::Digest;
use congruent_protocol::manifest::Manifest;
use congruent_protocol::trust::Trust;
use jiff::Timestamp;
use tempfile::NamedTempFile;
use tracing::info;

use crate::atomic::directory_of;
use crate::client::Client;
use crate::config::Config;
use crate::regular;

/// The largest manifest taken.
const MAX_MANIFEST_BYTES: u64 = 1 << 30;
/// What a manifest is called that is not there whole.
const PARTIAL: (&str, &str) = (".manifest-", ".partial");

/// Where the manifest with this root is kept.
pub(crate) fn path_of(state_directory: &Path, root: &Digest) -> PathBuf {
    state_directory.join(format!("{}-{}.manifest", root.algorithm().name(), root.to_hex()))
}

/// Sees that the manifest is there, where the configuration names it by its root.
/// One that is accepted no longer is asked for again: the same tree may have been
/// signed anew.
pub(crate) async fn ensure_manifest(config: &Config, client: &Client) -> anyhow::Result<()> {
    let Some(root) = config.manifest_root else { return Ok(()) };
    if is_accepted(&config.manifest, &config.trust) {
        return Ok(());
    }
    let place = Place { path: config.manifest.clone(), trust: config.trust.clone(), image: None };
    take(client, &root, place).await
}

/// Where a manifest goes, and what it has to be to go there.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) trust: Trust,
    /// The digest of the configuration of the container image that it is of, where it has
    /// to be of one.
    pub(crate) image: Option<Digest>,
}

/// Takes the manifest with this root from the collector, in the place of what is there.
pub(crate) async fn take(client: &Client, root: &Digest, place: Place) -> anyhow::Result<()> {
    let failed = || format!("cannot take the manifest with the root {root} from the collector");
    let directory = directory_of(&place.path);
    clear(directory).with_context(failed)?;
    let mut file = partial(directory).with_context(failed)?;
    let mut bytes = 0;
    let taken = client.manifest(root, |piece| {
        bytes += piece.len() as u64;
        ensure!(bytes <= MAX_MANIFEST_BYTES, "it is over {MAX_MANIFEST_BYTES} bytes");
        file.write_all(piece).context("cannot keep it")
    });
    taken.await.with_context(failed)?;
    let wanted = *root;
    let keeping = tokio::task::spawn_blocking(move || keep(file, &wanted, &place));
    keeping.await.context("keeping it broke off").flatten().with_context(failed)?;
    info!(%root, bytes, "took the manifest from the collector");
    Ok(())
}

/// Whether what is kept would be accepted now, but for its entries, which each
/// look proves.
fn is_accepted(path: &Path, trust: &Trust) -> bool {
    let opened = regular::open(path).ok();
    opened.is_some_and(|mut file| Manifest::verify_statement(&mut file, trust, Timestamp::now()).is_ok())
}

fn partial(directory: &Path) -> std::io::Result<NamedTempFile> {
    fs::create_dir_all(directory)?;
    tempfile::Builder::new().prefix(PARTIAL.0).suffix(PARTIAL.1).tempfile_in(directory)
}

/// Removes what an agent left that was killed while it took a manifest.
fn clear(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PARTIAL.0) && name.ends_with(PARTIAL.1)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Puts a file in its place that verifies whole, has the root, and is of the image.
fn keep(mut file: NamedTempFile, root: &Digest, place: &Place) -> anyhow::Result<()> {
    let manifest = Manifest::verify(file.as_file_mut(), &place.trust, Timestamp::now())?;
    let predicate = manifest.predicate();
    ensure!(predicate.root == *root, "what came has the root {}", predicate.root);
    let image = predicate.origin.image.as_ref().map(|image| image.config_digest);
    if let Some(wanted) = place.image {
        ensure!(image == Some(wanted), "what came is not of the image with the configuration {wanted}");
    }
    file.as_file().sync_all().context("cannot keep it")?;
    file.persist(&place.path).context("cannot keep it")?;
    let directory = directory_of(&place.path);
    File::open(directory).and_then(|directory| directory.sync_all()).context("cannot keep it")
}
