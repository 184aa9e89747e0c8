//! `congruent verify`: compare a root with its manifest.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, bail};
use congruent_protocol::trust::Trust;
use congruent_protocol::verification::Verification;
use jiff::Timestamp;

use super::{Outcome, read_trust, verify_mtree};
use crate::cli::{Verify, VerifyFormat};
use crate::findings::{Findings, FindingsWriter};
use crate::output::{self, sarif};
use crate::progress::Progress;
use crate::sweep::{self, Counters, Root, default_threads};
use crate::target::{Sources, Target, passing_content_key, read_content_key};

pub(super) fn run(args: &Verify) -> anyhow::Result<Outcome> {
    let trust = read_trust(&args.trust)?;
    let (root, verification) = match verify_mtree::open(&args.manifest)? {
        Some(spec) => verify_mtree::run(args, &spec)?,
        None => verify_manifest(args, trust.as_ref())?,
    };
    let outcome = Outcome::Looked(verification.state);
    match print(args.format, verification, &root, outcome) {
        // Whoever reads may stop when they have seen enough; the verdict stands.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.context("cannot write the outcome")?,
    }
    Ok(outcome)
}

fn print(
    format: VerifyFormat,
    verification: Verification<Findings>,
    root: &Root,
    outcome: Outcome,
) -> io::Result<()> {
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

fn verify_manifest(args: &Verify, trust: Option<&Trust>) -> anyhow::Result<(Root, Verification<Findings>)> {
    let content_key = args.content_key.as_deref().map_or_else(passing_content_key, read_content_key)?;
    let sources = Sources {
        manifest: &args.manifest,
        add_ons: &args.add_on,
        trust,
        ledger: args.ledger.as_deref(),
        content_key,
    };
    let target = Target::open(sources, Timestamp::now())?;
    if args.content_key.is_none() && target.ledger.needs_content_key() {
        bail!(
            "the ledger has first values of sensitive content, which can only be held to under the key that they \
             were told under; give it with --content-key FILE"
        );
    }
    let root = Root::open(args.root.as_deref())?;
    let counters = Counters::default();
    let progress = Progress::towards("verifying", target.stack.content_bytes(), &counters);
    let findings = FindingsWriter::spilling_to(&env::temp_dir());
    let verification = progress
        .watch(|| sweep::verify(&root, &target, default_threads(), findings, &counters, Timestamp::now))?;
    Ok((root, verification))
}
