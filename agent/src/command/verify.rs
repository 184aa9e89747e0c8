//! `congruent verify`: compare a root with its manifest.

use std::io::{self, Write};

use anyhow::{Context, bail};
use congruent_protocol::manifest::Manifest;
use jiff::Timestamp;

use super::{Outcome, open_manifest, read_trusted};
use crate::cli::{Format, Verify};
use crate::output;
use crate::progress::Progress;
use crate::sweep::{self, Counters, Root, default_threads};

pub(super) fn run(args: &Verify) -> anyhow::Result<Outcome> {
    if args.trust.trust.is_empty() && !args.trust.insecure_unsigned {
        bail!(
            "no trusted key was given: name the signer's public key with --trust PUB.pem, \
             or take an unsigned manifest's word with --insecure-unsigned"
        );
    }
    let trusted = read_trusted(&args.trust.trust)?;
    let trusted = (!args.trust.insecure_unsigned).then_some(&trusted[..]);
    let mut file = open_manifest(&args.manifest)?;
    let manifest = Manifest::verify(&mut file, trusted)
        .with_context(|| format!("cannot use the manifest {}", args.manifest.display()))?;
    let root = Root::open(args.root.as_deref())?;
    let counters = Counters::default();
    let progress = Progress::towards("verifying", manifest.predicate().entries.content_bytes, &counters);
    let verification = progress
        .watch(|| sweep::verify(&root, &manifest, &file, default_threads(), &counters, Timestamp::now))?;
    let mut out = io::stdout().lock();
    match args.format {
        Format::Text => output::text::verification(&mut out, &verification),
        Format::Json => output::json(&mut out, &verification),
    }
    .and_then(|()| out.flush())
    // Whoever reads may stop when they have seen enough; the verdict stands.
    .or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
    .context("cannot write the outcome")?;
    Ok(Outcome::Looked(verification.state))
}
