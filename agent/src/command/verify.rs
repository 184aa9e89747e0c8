//! `congruent verify`: compare a root with its manifest.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, bail};
use congruent_protocol::path::escape;
use congruent_protocol::trust::Trust;
use congruent_protocol::verification::{SweepMode, Verification};
use jiff::Timestamp;

use super::{Outcome, means, read_trust, unwatched, verify_mtree};
use crate::atomic;
use crate::cli::{Verify, VerifyFormat};
use crate::findings::{Findings, FindingsWriter};
use crate::output::kept::Kept;
use crate::output::{self, sarif};
use crate::progress::Progress;
use crate::sweep::cache::{Cache, Memory};
use crate::sweep::{self, Counters, Means, Root, VerifyError};
use crate::target::{Sources, Target, passing_content_key, read_content_key, unusable};

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
        VerifyFormat::Json => {
            let (verification, findings) = verification.replace_findings(());
            output::json(&mut out, &verification.replace_findings(Kept(&findings)).0)
        }
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
    let target = Target::open_unproven(sources, Timestamp::now())?;
    if args.content_key.is_none() && target.ledger.needs_content_key() {
        bail!(
            "the ledger has first values of sensitive content, which can only be held to under the key that they \
             were told under; give it with --content-key FILE"
        );
    }
    let root = Root::open(args.root.as_deref())?;
    let means = means(&args.pace, args.direct)?;
    let cache = args.cache.as_deref().map(|path| open_cache(path, &root, &target)).transpose()?;
    let mut memory =
        cache.map_or_else(|| Ok(Memory::default()), |cache| recall(cache, args.quick, &means))?;
    let counters = Counters::default();
    let progress = Progress::towards("verifying", target.stack.content_bytes(), &counters);
    let findings = FindingsWriter::spilling_to(&env::temp_dir());
    let verification = progress.watch(|| {
        let swept = sweep::verify(&root, &target, &means, &mut memory, findings, &counters, Timestamp::now);
        let swept = swept.map_err(|error| match error {
            VerifyError::Entries(error) => unusable(&args.manifest, error),
            error => error.into(),
        })?;
        let is_proven = swept.findings.is_empty() && swept.observed_root == swept.baked_root;
        // Nor need the entries that a full sweep has proven for a quick one.
        if !is_proven && !memory.is_quick() {
            target.prove()?;
        }
        Ok::<_, anyhow::Error>(swept)
    })?;
    if let Err(error) = memory.keep() {
        let why = format!("{:#}", anyhow::Error::new(error));
        writeln!(io::stderr(), "congruent: nothing is kept for a quick sweep: {}", escape(why.as_bytes()))?;
    }
    Ok((root, verification))
}

fn open_cache(path: &Path, root: &Root, target: &Target) -> anyhow::Result<Cache> {
    atomic::check_output("--cache", path)?;
    unwatched::check("--cache", path, root, target.stack.reserved())?;
    Ok(Cache::open(path, root, &target.stack)?)
}

/// What is recalled for a sweep. One that cannot be quick is full, and says why.
fn recall(cache: Cache, is_quick: bool, means: &Means) -> anyhow::Result<Memory> {
    let mode = if is_quick { SweepMode::Quick } else { SweepMode::Full };
    let (memory, unusable) = cache.recall(mode, means, Timestamp::now())?;
    if let Some(unusable) = unusable {
        let why = format!("{:#}", anyhow::Error::new(unusable));
        writeln!(io::stderr(), "congruent: no quick sweep, but a full one: the cache is of no use: {why}")?;
    }
    if let Some(began) = memory.resumed_from() {
        writeln!(io::stderr(), "congruent: going on with the sweep that began at {began}")?;
    }
    Ok(memory)
}
