//! `congruent contract suggest`: rules for what several boots of one image
//! changed, to be reviewed. Never for the machine that it runs on.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail};
use congruent_protocol::contract::Floor;

use crate::cli::{ContractSuggest, Format};
use crate::command::ledger::read_verification;
use crate::command::{Outcome, open_to_read, read_signatures};
use crate::output::suggestion::{self as page, Page};
use crate::suggestion::{Basis, suggest};

/// Where a machine's own manifests are.
const INSTALLED: &str = "/etc/congruent";

pub(super) fn run(args: &ContractSuggest) -> anyhow::Result<Outcome> {
    refuse_installed(&args.manifest)?;
    let trust = read_signatures(&args.signatures)?;
    let (manifest, file) = open_to_read(&args.manifest, trust.as_ref())?;
    let paths = manifest.entries(&file)?.map(|listed| listed.map(|listed| listed.path));
    let baked: Vec<_> = paths.collect::<Result<_, _>>()?;
    let (mut files, mut outcomes) = (Vec::new(), Vec::new());
    for path in &args.outcomes {
        files.push(path.display().to_string());
        outcomes.push(read_verification(path)?);
    }
    let predicate = manifest.predicate();
    let floor = trust.as_ref().map_or_else(Floor::default, |trust| trust.floor().clone());
    let basis = Basis { root: predicate.root, contract: &predicate.contract, baked: &baked, floor: &floor };
    let suggestion = suggest(basis, &outcomes).with_context(|| {
        let numbered = files.iter().enumerate().map(|(at, file)| format!("{}: {file}", at + 1));
        format!("no rules can be suggested from these outcomes ({})", numbered.collect::<Vec<_>>().join(", "))
    })?;
    let outcomes: Vec<_> = files.into_iter().zip(outcomes).collect();
    let page = Page { predicate, outcomes: &outcomes, suggestion: &suggestion };
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        Format::Text => page::toml(&mut out, &page)?,
        Format::Json => page::json(&mut out, &page)?,
    }
    out.flush().context("cannot write the suggestion")?;
    Ok(Outcome::Clean)
}

/// A node that loosens its own contract would learn its own drift.
fn refuse_installed(manifest: &Path) -> anyhow::Result<()> {
    match fs::canonicalize(manifest) {
        Ok(real) if real.starts_with(INSTALLED) => bail!(
            "{} is what this machine is held to: contracts are suggested in CI, from what several boots of an image \
             came to, never on a node",
            manifest.display()
        ),
        // What cannot be resolved cannot be opened, which says more.
        _ => Ok(()),
    }
}
