//! `congruent verify`: compare a root with its manifest.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, bail};
use congruent_protocol::manifest::Manifest;
use congruent_protocol::verification::Verification;
use jiff::Timestamp;

use super::{Outcome, open_manifest, read_trusted};
use crate::cli::{Verify, VerifyFormat};
use crate::output::{self, sarif};
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
    let outcome = Outcome::Looked(verification.state);
    match print(args.format, verification, &root, outcome) {
        // Whoever reads may stop when they have seen enough; the verdict stands.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.context("cannot write the outcome")?,
    }
    Ok(outcome)
}

fn print(format: VerifyFormat, verification: Verification, root: &Root, outcome: Outcome) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        VerifyFormat::Text => output::text::verification(&mut out, &verification),
        VerifyFormat::Json => output::json(&mut out, &verification),
        VerifyFormat::Ndjson => output::ndjson::verification(&mut out, verification),
        VerifyFormat::Junit => output::junit::verification(&mut out, &verification),
        VerifyFormat::Sarif => {
            // PID 1's root is a link to what PID 1 calls `/`.
            let place = fs::canonicalize(&root.path)?;
            let run = sarif::Execution { root: place.as_os_str().as_bytes(), exit_code: outcome.exit_code() };
            sarif::verification(&mut out, verification, &run)
        }
    }?;
    out.flush()
}
