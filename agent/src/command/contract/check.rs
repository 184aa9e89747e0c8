//! `congruent contract check`: hold a contract beside what was baked.

use std::io::{self, BufWriter, Write};

use anyhow::Context;
use congruent_protocol::contract::Floor;

use crate::cli::{ContractCheck, Format};
use crate::command::bake::read_contracts;
use crate::command::{Outcome, open_to_read};
use crate::contract_check::Check;
use crate::output::contract_check::{self as page, Page};
use crate::trust;

pub(super) fn run(args: &ContractCheck) -> anyhow::Result<Outcome> {
    let files: Vec<_> = [&args.contract].into_iter().chain(&args.with).cloned().collect();
    let contract = read_contracts(&files)?;
    let floor = match &args.trust_config {
        Some(path) => trust::of_file(path)?.floor().clone(),
        None => Floor::default(),
    };
    let loosenings = floor.loosenings(&contract);
    let mut check = Check::new(&contract);
    let mut manifests = Vec::new();
    for path in &args.manifests {
        let (manifest, file) = open_to_read(path, None)?;
        let unusable = || format!("cannot use the manifest {}", path.display());
        let mut entries = manifest.entries(&file).with_context(unusable)?;
        let predicate = manifest.predicate();
        let classified =
            check.classify(predicate.kind, args.entries, |into| entries.read(into)).with_context(unusable)?;
        manifests.push((predicate.clone(), classified));
    }
    let page = Page {
        contract: &contract,
        uses: &check.into_uses(),
        floor: floor.places(),
        loosenings: &loosenings,
        manifests: &manifests,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        Format::Text => page::text(&mut out, &page)?,
        Format::Json => page::json(&mut out, &page)?,
    }
    out.flush().context("cannot write what the check came to")?;
    Ok(if page.is_fine() { Outcome::Clean } else { Outcome::Denied })
}
