//! The manifest that the configuration names by its root: taken from the collector
//! once, kept in the state directory, and held to the node's own trust. The
//! collector is not believed: a file that does not verify is not kept.

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
    let failed = || format!("cannot take the manifest with the root {root} from the collector");
    clear(&config.state_directory).with_context(failed)?;
    let mut file = partial(&config.state_directory).with_context(failed)?;
    let mut bytes = 0;
    let taken = client.manifest(&root, |piece| {
        bytes += piece.len() as u64;
        ensure!(bytes <= MAX_MANIFEST_BYTES, "it is over {MAX_MANIFEST_BYTES} bytes");
        file.write_all(piece).context("cannot keep it")
    });
    taken.await.with_context(failed)?;
    let (trust, path) = (config.trust.clone(), config.manifest.clone());
    let keeping = tokio::task::spawn_blocking(move || keep(file, &root, &trust, &path));
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

/// Puts a file in its place that verifies whole, and has the root.
fn keep(mut file: NamedTempFile, root: &Digest, trust: &Trust, path: &Path) -> anyhow::Result<()> {
    let manifest = Manifest::verify(file.as_file_mut(), trust, Timestamp::now())?;
    let found = manifest.predicate().root;
    ensure!(found == *root, "what came has the root {found}");
    file.as_file().sync_all().context("cannot keep it")?;
    file.persist(path).context("cannot keep it")?;
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).context("cannot keep it")
}
