//! `congruent show --format mtree`: a manifest's entries as a spec that NetBSD's
//! mtree verifies.
//!
//! A spec that is not whole is never printed: everything is written to a
//! nameless file first.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};

use anyhow::{Context, bail};
use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::entry::Node;
use congruent_protocol::manifest::{ListedEntry, Manifest};
use congruent_protocol::path::TreePath;

use crate::beneath::{self, Sha2Size};
use crate::mtree::{SpecWriter, Survey};
use crate::sweep::Root;

/// Writes the entries of `manifest`, whose file is `file`, with the SHA-256 of
/// what lies beneath `root`, if one is given.
pub(super) fn print(
    out: &mut impl Write,
    manifest: &Manifest,
    file: &File,
    root: Option<&Root>,
) -> anyhow::Result<()> {
    let mut survey = Survey::default();
    for listed in manifest.entries(file)? {
        let ListedEntry { path, entry } = listed?;
        survey.take(&path, &entry);
    }
    let mut spec = write(manifest, file, root, &survey)?;
    spec.rewind().context("cannot read the spec back")?;
    io::copy(&mut spec, out).and_then(|_| out.flush()).context("cannot print the spec")?;
    tell(manifest, root.is_some() || is_sha256(&manifest.predicate().root), &survey)
}

fn write(manifest: &Manifest, file: &File, root: Option<&Root>, survey: &Survey) -> anyhow::Result<File> {
    let cannot = "cannot write the spec to a temporary file";
    let predicate = manifest.predicate();
    let about = format!("{} {}, {}", predicate.name, predicate.version, predicate.root);
    let out = BufWriter::new(tempfile::tempfile().context(cannot)?);
    let mut writer = SpecWriter::new(out, survey, &about).context(cannot)?;
    for listed in manifest.entries(file)? {
        let ListedEntry { path, entry } = listed?;
        let sha256 = match (&entry.node, root) {
            (Node::File { content: Some(baked), .. }, Some(root)) => Some(sha256(root, &path, baked)?),
            (Node::File { content: Some(baked), .. }, None) => is_sha256(baked).then(|| *baked.as_bytes()),
            _ => None,
        };
        writer.push(&path, &entry, sha256).context(cannot)?;
    }
    Ok(writer.finish().context(cannot)?.into_inner().map_err(io::IntoInnerError::into_error)?)
}

/// Whether mtree knows the digest as it is.
fn is_sha256(digest: &Digest) -> bool {
    digest.algorithm() == Algorithm::Sha256
}

/// The SHA-256 of a file that is still the baked one.
fn sha256(root: &Root, path: &TreePath, baked: &Digest) -> anyhow::Result<[u8; 32]> {
    let shown = || format!("{path} beneath {}", root.path.display());
    let mut file =
        beneath::open(&root.directory, path).with_context(|| format!("cannot open {}", shown()))?;
    let (found, sha256) = beneath::digests(&mut file, baked.algorithm(), Sha2Size::Bits256)
        .with_context(|| format!("cannot read {}", shown()))?;
    if found != *baked {
        bail!(
            "{} is not what was baked: it has {found}, baked was {baked}; give the tree as it was baked",
            shown()
        );
    }
    Ok(sha256[..].try_into().expect("SHA-256 has 32 bytes"))
}

/// Says what the spec does not hold.
fn tell(manifest: &Manifest, has_digests: bool, survey: &Survey) -> anyhow::Result<()> {
    let mut err = io::stderr();
    if !has_digests {
        let algorithm = manifest.predicate().root.algorithm().name();
        writeln!(
            err,
            "congruent: the spec has no digests, since mtree knows no {algorithm}; give the baked tree with --root DIR"
        )?;
    }
    if survey.xattrs_left_out() > 0 {
        let count = survey.xattrs_left_out();
        writeln!(err, "congruent: {count} extended attributes are left out: mtree has no keyword for them")?;
    }
    Ok(())
}
