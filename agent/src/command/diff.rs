//! `congruent diff`: what changed between two images.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context;

use super::{Outcome, open_to_read, read_signatures};
use crate::cli;
use crate::diff::Diff;
use crate::diff::allow::{Allow, Judgement};
use crate::output::counted;
use crate::output::diff::{self as page, Page, Side};
use crate::regular;
use crate::target::passing_content_key;

pub(super) fn run(args: &cli::Diff) -> anyhow::Result<Outcome> {
    let allow = args.allow.as_deref().map(read_allow).transpose()?;
    let trust = read_signatures(&args.signatures)?;
    let (old, old_file) = open_to_read(&args.old, trust.as_ref())?;
    let (new, new_file) = open_to_read(&args.new, trust.as_ref())?;
    let diff = Diff::between((&old, &old_file), (&new, &new_file), &passing_content_key()?)
        .with_context(|| format!("cannot compare {} with {}", args.old.display(), args.new.display()))?;
    let judgement = allow.map(|allow| allow.judge(&diff));
    let page = Page {
        old: Side { manifest: &old, was_checked: trust.is_some() },
        new: Side { manifest: &new, was_checked: trust.is_some() },
        diff: &diff,
        judgement: judgement.as_ref(),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        cli::DiffFormat::Text => page::text(&mut out, &page)?,
        cli::DiffFormat::Json => page::json(&mut out, &page)?,
        cli::DiffFormat::Markdown => page::markdown(&mut out, &page)?,
    }
    out.flush().context("cannot write the diff")?;
    conclude(judgement.as_ref())
}

fn read_allow(path: &Path) -> anyhow::Result<Allow> {
    let text = regular::read_text(path)
        .with_context(|| format!("cannot read what is declared from {}", path.display()))?;
    Allow::from_toml(&text).with_context(|| format!("the declarations in {} are not valid", path.display()))
}

fn conclude(judgement: Option<&Judgement>) -> anyhow::Result<Outcome> {
    let undeclared = judgement.map_or(0, |judgement| judgement.undeclared.len());
    if undeclared == 0 {
        return Ok(Outcome::Clean);
    }
    let changes = counted(undeclared as u64, "change", "changes");
    writeln!(io::stderr(), "congruent: undeclared: {changes}")?;
    Ok(Outcome::Denied)
}
