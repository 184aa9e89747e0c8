//! `congruent show`: explain a manifest.

use std::io::{self, BufWriter, Write};

use anyhow::{Context, bail};
use congruent_protocol::manifest::Manifest;
use jiff::Timestamp;

use super::{Outcome, read_trust, show_mtree};
use crate::cli::{self, PageFormat, Show};
use crate::output::manifest as page;
use crate::regular;
use crate::sweep::Root;

pub(super) fn run(args: &Show) -> anyhow::Result<Outcome> {
    if args.root.is_some() && args.format != PageFormat::Mtree {
        bail!("--root is for the digests of a spec; give --format mtree with it");
    }
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
        PageFormat::Text => page::text(&mut out, &manifest, trust.is_some(), entries)?,
        PageFormat::Json => page::json(&mut out, &manifest, entries)?,
        PageFormat::Mtree => {
            let root = args.root.as_deref().map(|path| Root::open(Some(path))).transpose()?;
            show_mtree::print(&mut out, &manifest, &file, root.as_ref())?;
        }
    }
    out.flush().context("cannot write the manifest's page")?;
    Ok(Outcome::Clean)
}
