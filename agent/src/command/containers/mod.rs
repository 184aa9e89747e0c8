//! `congruent containers`: list the containers of this host.

mod choose;

use std::io::{self, BufWriter, Write};

use anyhow::{Context, bail};

use super::Outcome;
use crate::cli::{Containers, Format};
use crate::container::{self, Runtime};
use crate::output::containers as page;

pub(super) fn run(args: &Containers) -> anyhow::Result<Outcome> {
    let mut found = container::find(&args.data_root)?;
    let wanted: Vec<_> = args.runtime.iter().copied().map(Runtime::from).collect();
    found.containers.retain(|container| wanted.is_empty() || wanted.contains(&container.runtime));
    if !args.containers.is_empty() {
        match choose::choose(&found.containers, &args.containers) {
            Ok(chosen) => found.containers = chosen,
            // It may be one of those that could not be seen.
            Err(error) if found.gaps.is_empty() => return Err(error.into()),
            Err(error) => bail!("{error}; {}", found.gaps.join("; ")),
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        Format::Text if args.containers.is_empty() => page::list(&mut out, &found)?,
        Format::Text => page::details(&mut out, &found)?,
        Format::Json => page::json(&mut out, &found)?,
    }
    out.flush().context("cannot write what was found")?;
    let whole = found.gaps.is_empty() && found.containers.iter().all(|container| container.gaps.is_empty());
    Ok(if whole { Outcome::Clean } else { Outcome::Partial })
}
