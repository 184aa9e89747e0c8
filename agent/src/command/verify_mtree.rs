//! `congruent verify` against an mtree spec, which nobody signs.

use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, bail};
use congruent_protocol::path::escape;
use congruent_protocol::verification::{Unchecked, Verification};
use jiff::Timestamp;

use crate::cli::Verify;
use crate::findings::{Findings, FindingsWriter};
use crate::progress::Progress;
use crate::sweep::{Counters, Root};
use crate::{mtree, regular};

/// How every manifest begins, whatever its version.
const MAGIC: &[u8] = b"congruent-manifest ";
/// The longest spec taken.
const MAX_SPEC_BYTES: u64 = 1 << 30;

/// Opens what does not begin as a manifest does. An empty file is a manifest
/// that was cut.
pub(super) fn open(path: &Path) -> anyhow::Result<Option<File>> {
    let shown = || format!("cannot open the manifest {}", path.display());
    let file = regular::open(path).with_context(shown)?;
    let mut head = [0; MAGIC.len()];
    let length = file.read_at(&mut head, 0).with_context(|| format!("cannot read {}", path.display()))?;
    Ok((!MAGIC.starts_with(&head[..length])).then_some(file))
}

/// Sweeps the root and holds it to the spec in `file`.
pub(super) fn run(args: &Verify, file: &File) -> anyhow::Result<(Root, Verification<Findings>)> {
    refuse_what_needs_a_manifest(args)?;
    let spec = read(&args.manifest, file)?;
    let name = args.manifest.file_name().unwrap_or(args.manifest.as_os_str());
    let name = escape(name.as_bytes());
    let root = Root::open(args.root.as_deref())?;
    let means = super::means(&args.pace, args.direct)?;
    let counters = Counters::default();
    let progress = Progress::counting_first("verifying", &root.path, &counters);
    let findings = FindingsWriter::spilling_to(&env::temp_dir());
    let verify = || mtree::verify(&root, spec, &name, &means, findings, &counters, Timestamp::now);
    let verification = progress.watch(verify)?;
    for Unchecked { what, reason, entries, .. } in &verification.coverage.unchecked {
        writeln!(io::stderr(), "congruent: not checked: {what} ({entries} times): {reason}")?;
    }
    Ok((root, verification))
}

fn refuse_what_needs_a_manifest(args: &Verify) -> anyhow::Result<()> {
    let path = args.manifest.display();
    if !args.trust.insecure_unsigned {
        bail!(
            "cannot use the manifest {path}: this is not a congruent manifest; if it is an mtree spec, no key can \
             vouch for it, and --insecure-unsigned takes its word"
        );
    }
    let given = [
        ("--add-on", !args.add_on.is_empty()),
        ("--ledger", args.ledger.is_some()),
        ("--content-key", args.content_key.is_some()),
        ("--cache", args.cache.is_some()),
    ];
    if let Some((option, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
        bail!(
            "cannot use {option} with {path}: this is not a congruent manifest, and an mtree spec has no contract \
             that {option} could serve; leave it out"
        );
    }
    Ok(())
}

fn read(path: &Path, file: &File) -> anyhow::Result<mtree::Spec> {
    let path = path.display();
    let mut text = Vec::new();
    let read = file.take(MAX_SPEC_BYTES + 1).read_to_end(&mut text);
    read.with_context(|| format!("cannot read the spec {path}"))?;
    if text.len() as u64 > MAX_SPEC_BYTES {
        bail!("cannot use the spec {path}: it is over {MAX_SPEC_BYTES} bytes");
    }
    mtree::parse(&text).with_context(|| {
        format!("cannot use {path}: not a congruent manifest, and as an mtree spec it fails")
    })
}
