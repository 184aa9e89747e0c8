//! `congruent show`: explain a manifest.

use std::io::{self, BufWriter, Write};

use anyhow::Context;
use congruent_protocol::manifest::Manifest;

use super::{Outcome, open_manifest, read_trusted};
use crate::cli::{Format, Show};
use crate::output::manifest as page;

pub(super) fn run(args: &Show) -> anyhow::Result<Outcome> {
    let mut file = open_manifest(&args.manifest)?;
    let trusted = read_trusted(&args.trust)?;
    let trusted = (!trusted.is_empty()).then_some(&trusted[..]);
    let manifest = Manifest::verify(&mut file, trusted)
        .with_context(|| format!("cannot use the manifest {}", args.manifest.display()))?;
    let entries = args.entries.then(|| manifest.entries(&file)).transpose()?;
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        Format::Text => page::text(&mut out, &manifest, trusted.is_some(), entries)?,
        Format::Json => page::json(&mut out, &manifest, entries)?,
    }
    out.flush().context("cannot write the manifest's page")?;
    Ok(Outcome::Clean)
}
