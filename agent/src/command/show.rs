//! `congruent show`: explain a manifest.

use std::io::{self, BufWriter, Write};

use anyhow::{Context, bail};

use super::{Outcome, open_to_read, show_mtree};
use crate::cli::{PageFormat, Show};
use crate::output::manifest as page;
use crate::sweep::Root;

pub(super) fn run(args: &Show) -> anyhow::Result<Outcome> {
    if args.root.is_some() && args.format != PageFormat::Mtree {
        bail!("--root is for the digests of a spec; give --format mtree with it");
    }
    let (manifest, file, was_checked) = open_to_read(&args.manifest, &args.signers)?;
    let entries = args.entries.then(|| manifest.entries(&file)).transpose()?;
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        PageFormat::Text => page::text(&mut out, &manifest, was_checked, entries)?,
        PageFormat::Json => page::json(&mut out, &manifest, entries)?,
        PageFormat::Mtree => {
            let root = args.root.as_deref().map(|path| Root::open(Some(path))).transpose()?;
            show_mtree::print(&mut out, &manifest, &file, root.as_ref())?;
        }
    }
    out.flush().context("cannot write the manifest's page")?;
    Ok(Outcome::Clean)
}
