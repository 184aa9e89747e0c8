//! `congruent verify`: compare a root with its manifest.

use std::io::{self, Write};

use anyhow::Context;
use jiff::Timestamp;

use super::{Outcome, read_trust};
use crate::cli::{Format, Verify};
use crate::output;
use crate::progress::Progress;
use crate::sweep::{self, Counters, Root, default_threads};
use crate::target::{Sources, Target, passing_content_key, read_content_key};

pub(super) fn run(args: &Verify) -> anyhow::Result<Outcome> {
    let trust = read_trust(&args.trust)?;
    let content_key = args.content_key.as_deref().map_or_else(passing_content_key, read_content_key)?;
    let sources = Sources {
        manifest: &args.manifest,
        add_ons: &args.add_on,
        trust: trust.as_ref(),
        ledger: args.ledger.as_deref(),
        content_key,
    };
    let target = Target::open(sources, Timestamp::now())?;
    let root = Root::open(args.root.as_deref())?;
    let counters = Counters::default();
    let progress = Progress::towards("verifying", target.stack.content_bytes(), &counters);
    let verification =
        progress.watch(|| sweep::verify(&root, &target, default_threads(), &counters, Timestamp::now))?;
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
