//! `congruent containers`: list the containers of this host, or verify them.

mod choose;
mod verify;

use std::io::{self, BufWriter, Write};

use anyhow::{Context, bail};

use super::Outcome;
use crate::cli::{Containers, ContainersCommand, Format, WhichContainers};
use crate::container::{self, Found, Runtime};
use crate::output::containers as page;

pub(super) fn run(args: &Containers) -> anyhow::Result<Outcome> {
    match &args.command {
        None => list(args),
        Some(ContainersCommand::Verify(args)) => verify::run(args),
    }
}

fn list(args: &Containers) -> anyhow::Result<Outcome> {
    let found = chosen(container::find(&args.which.data_root)?, &args.which)?;
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        Format::Text if args.which.containers.is_empty() => page::list(&mut out, &found)?,
        Format::Text => page::details(&mut out, &found)?,
        Format::Json => page::json(&mut out, &found)?,
    }
    out.flush().context("cannot write what was found")?;
    let whole = found.gaps.is_empty() && found.containers.iter().all(|container| container.gaps.is_empty());
    Ok(if whole { Outcome::Clean } else { Outcome::Partial })
}

/// Of what was found, the containers of the runtimes that are meant, and those that are
/// meant by id or name; all where none is.
fn chosen(mut found: Found, which: &WhichContainers) -> anyhow::Result<Found> {
    let wanted: Vec<_> = which.runtime.iter().copied().map(Runtime::from).collect();
    found.containers.retain(|container| wanted.is_empty() || wanted.contains(&container.runtime));
    if which.containers.is_empty() {
        return Ok(found);
    }
    match choose::choose(&found.containers, &which.containers) {
        Ok(chosen) => found.containers = chosen,
        // It may be one of those that could not be seen.
        Err(error) if found.gaps.is_empty() => return Err(error.into()),
        Err(error) => bail!("{error}; {}", found.gaps.join("; ")),
    }
    Ok(found)
}
