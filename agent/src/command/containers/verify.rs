//! `congruent containers verify`: whether containers still are their images.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::{self, Path};
use std::thread;

use anyhow::{Context, bail};
use congruent_protocol::path::escape;
use congruent_protocol::verification::{State, SweepMode};
use jiff::Timestamp;

use super::chosen;
use crate::cli::{ContainersVerify, Format};
use crate::command::{Outcome, means, read_trust, unwatched};
use crate::container::verify::{LayerCaches, Library, Refused, SharedBy, Verdict, Verifier, shared_by};
use crate::container::{self, Container};
use crate::output::verdicts as page;
use crate::progress::Progress;
use crate::sweep::Counters;
use crate::target::passing_content_key;

pub(super) fn run(args: &ContainersVerify) -> anyhow::Result<Outcome> {
    // Each is some milliseconds of its own.
    let (library, found) = thread::scope(|scope| {
        let library = scope.spawn(|| library(args));
        let found = container::find(&args.which.data_root);
        (library.join().unwrap_or_else(|panicked| resume_unwind(panicked)), found)
    });
    let (library, found) = (library?, found?);
    let caches = args.cache.as_deref().map(|directory| caches(directory, args.quick, &found.containers));
    let caches = caches.transpose()?;
    let (gaps, shared) = (found.gaps.clone(), shared_by(&found.containers));
    let mut containers = chosen(found, &args.which)?.containers;
    if args.which.containers.is_empty() {
        containers.retain(Container::is_running);
    }
    if containers.is_empty() && args.format == Format::Text {
        writeln!(io::stderr(), "no container runs here")?;
    }
    let (means, counters) = (means(&args.pace, false)?, Counters::default());
    let (scratch, content_key) = (env::temp_dir(), passing_content_key()?);
    let verifier = Verifier {
        library: &library,
        means: &means,
        counters: &counters,
        caches: caches.as_ref(),
        scratch: &scratch,
        clock: Timestamp::now,
        content_key: &content_key,
    };
    let progress = Progress::towards("verifying", 0, &counters);
    let verdicts = progress.watch(|| verifier.verify(&containers));
    match print(args.format, &verdicts, &shared) {
        // Whoever reads may stop when they have seen enough; the verdict stands.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.context("cannot write the outcome")?,
    }
    tell_cache_trouble(&verdicts)?;
    for (manifest, why) in library.broken() {
        tell_of_manifest("not all is used that is listed in", manifest, &why)?;
    }
    for gap in &gaps {
        writeln!(io::stderr(), "congruent: {}", escape(gap.as_bytes()))?;
    }
    Ok(Outcome::Looked(worst(&verdicts, !gaps.is_empty())))
}

/// What is kept of the layers of these containers, and nothing of others.
fn caches(directory: &Path, is_quick: bool, containers: &[Container]) -> anyhow::Result<LayerCaches> {
    // What is not there has nothing in it.
    for shown in containers.iter().flat_map(Container::directories).filter(|shown| shown.exists()) {
        if unwatched::place_in(shown, directory)?.is_some() {
            bail!(
                "--cache {} lies in {}, which a container shows, so that it would be drift itself; give another \
                 directory",
                directory.display(),
                shown.display()
            );
        }
    }
    if let Some(container) = containers.iter().find(|container| shows(container, directory)) {
        bail!(
            "--cache {} lies in the container {}, so that it would be drift itself; give another directory",
            directory.display(),
            escape(container.name.as_deref().unwrap_or(&container.id).as_bytes())
        );
    }
    let mode = if is_quick { SweepMode::Quick } else { SweepMode::Full };
    let caches = LayerCaches::open(directory, mode)?;
    caches.forget_others(containers)?;
    Ok(caches)
}

/// Whether `directory` lies, or would lie, in what a container has mounted as its root.
fn shows(container: &Container, directory: &Path) -> bool {
    let (Some(pid), Some(_)) = (container.pid, container.root_mount) else { return false };
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let there = path::absolute(directory).ok().and_then(|directory| directory.ancestors().find_map(device));
    there.is_some() && there == device(Path::new(&format!("/proc/{pid}/root")))
}

/// Once for each layer, however many containers lie on it.
fn tell_cache_trouble(verdicts: &[Verdict<'_>]) -> io::Result<()> {
    let mut told = HashSet::new();
    let lower = verdicts.iter().flat_map(|verdict| &verdict.lower.layers);
    let lower = lower.map(|layer| (Some(layer.directory.as_path()), layer.cache_trouble.as_deref()));
    let upper = verdicts
        .iter()
        .map(|verdict| (verdict.container.upper.as_deref(), verdict.upper.cache_trouble.as_deref()));
    for (directory, why) in lower.chain(upper) {
        if let (Some(directory), Some(why)) = (directory, why)
            && told.insert(directory)
        {
            let directory = directory.display().to_string();
            writeln!(
                io::stderr(),
                "congruent: the cache of the layer {} is of no use: {}",
                escape(directory.as_bytes()),
                escape(why.as_bytes())
            )?;
        }
    }
    Ok(())
}

fn print(format: Format, verdicts: &[Verdict<'_>], shared: &SharedBy) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match format {
        Format::Text => page::text(&mut out, verdicts, shared)?,
        Format::Json => page::json(&mut out, verdicts, shared)?,
    }
    out.flush()
}

/// The manifests that are given; those that are not accepted are told, and are none.
fn library(args: &ContainersVerify) -> anyhow::Result<Library> {
    let Some(directory) = &args.manifests else { return Ok(Library::default()) };
    let trust = read_trust(&args.trust)?;
    let (library, refused) = Library::open(directory, trust.as_ref(), Timestamp::now())?;
    for Refused { path, why } in refused {
        tell_of_manifest("no container is held to", &path, &format!("{:#}", anyhow::Error::new(why)))?;
    }
    if library.len() == 0 {
        writeln!(io::stderr(), "congruent: no manifest of a container image is in {}", directory.display())?;
    }
    Ok(library)
}

fn tell_of_manifest(what: &str, manifest: &Path, why: &str) -> io::Result<()> {
    let shown = manifest.display().to_string();
    writeln!(io::stderr(), "congruent: {what} {}: {}", escape(shown.as_bytes()), escape(why.as_bytes()))
}

/// What differs anywhere comes first, then what is not known or was not seen.
fn worst(verdicts: &[Verdict<'_>], has_gaps: bool) -> State {
    let has = |state| verdicts.iter().any(|verdict| verdict.state == state);
    if has(State::Divergent) {
        State::Divergent
    } else if has_gaps || has(State::Unknown) || has(State::Incomplete) {
        State::Incomplete
    } else {
        State::Congruent
    }
}
