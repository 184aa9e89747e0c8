//! `congruent show`: explain a manifest.

use std::io::{self, BufWriter, Write};

use anyhow::Context;
use congruent_protocol::manifest::Manifest;
use jiff::Timestamp;

use super::{Outcome, read_trust};
use crate::cli::{self, Format, Show};
use crate::output::manifest as page;
use crate::regular;

pub(super) fn run(args: &Show) -> anyhow::Result<Outcome> {
    let shown = args.manifest.display();
    let mut file =
        regular::open(&args.manifest).with_context(|| format!("cannot open the manifest {shown}"))?;
    let trust = cli::Trust {
        trust: args.trust.clone(),
        trust_config: args.trust_config.clone(),
        insecure_unsigned: args.trust.is_empty() && args.trust_config.is_none(),
    };
    let trust = read_trust(&trust)?;
    let manifest = match &trust {
        Some(trust) => Manifest::verify(&mut file, trust, Timestamp::now()),
        None => Manifest::read_unchecked(&mut file),
    };
    let manifest = manifest.with_context(|| format!("cannot use the manifest {shown}"))?;
    let entries = args.entries.then(|| manifest.entries(&file)).transpose()?;
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        Format::Text => page::text(&mut out, &manifest, trust.is_some(), entries)?,
        Format::Json => page::json(&mut out, &manifest, entries)?,
    }
    out.flush().context("cannot write the manifest's page")?;
    Ok(Outcome::Clean)
}
