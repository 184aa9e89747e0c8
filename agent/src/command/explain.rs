//! `congruent explain`: what one path is held to, and why.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, bail};
use congruent_protocol::contract::{Class, Floor};
use congruent_protocol::drift::Attributes;
use congruent_protocol::manifest::Manifest;
use congruent_protocol::path::{TreePath, WireBytes};
use congruent_protocol::stack::Stack;

use super::{Outcome, open_to_read, read_signatures};
use crate::cli::{Explain, Format};
use crate::explanation::{BakedThere, explain};
use crate::output::explanation as page;

pub(super) fn run(args: &Explain) -> anyhow::Result<Outcome> {
    let path = wanted(args)?;
    let trust = read_signatures(&args.signatures)?;
    let (base, file) = open_to_read(&args.manifest, trust.as_ref())?;
    let (mut manifests, mut files) = (Vec::new(), vec![file]);
    for add_on in &args.add_on {
        let (manifest, file) = open_to_read(add_on, trust.as_ref())?;
        manifests.push(manifest);
        files.push(file);
    }
    let stack = Stack::assemble(base, manifests, files.iter().collect())
        .context("the manifests do not go together")?;
    let floor = trust.as_ref().map_or_else(Floor::default, |trust| trust.floor().clone());
    let baked = find(&stack, &files, &path)?;
    let explanation = explain(&path, stack.contract(), stack.reserved(), &floor, baked);
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        Format::Text => page::text(&mut out, &explanation)?,
        Format::Json => page::json(&mut out, &explanation)?,
    }
    out.flush().context("cannot write the explanation")?;
    Ok(Outcome::Clean)
}

/// The path that is asked for.
fn wanted(args: &Explain) -> anyhow::Result<TreePath> {
    let bytes = match (&args.path, &args.path_bytes) {
        (Some(path), _) => path.as_bytes().to_vec(),
        (None, Some(encoded)) => WireBytes { text: String::new(), bytes: Some(encoded.clone()) }
            .to_bytes()
            .context("--path-bytes")?,
        (None, None) => bail!("no path is given"),
    };
    TreePath::new(bytes).context("PATH is taken from the image's root, such as /etc/passwd")
}

/// The entry at `path`, from the manifest of the stack that holds it.
fn find(stack: &Stack, files: &[File], path: &TreePath) -> anyhow::Result<Option<BakedThere>> {
    let base = find_in(stack.base(), &files[0], path)?;
    // Beside its own places, an add-on holds no more than the way there.
    if base.is_some() || stack.contract().class_of(path) != Class::AddOn {
        return Ok(base);
    }
    for (add_on, file) in stack.add_ons().iter().zip(&files[1..]) {
        let found = find_in(add_on, file, path)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn find_in(manifest: &Manifest, file: &File, path: &TreePath) -> anyhow::Result<Option<BakedThere>> {
    for listed in manifest.entries(file)? {
        let listed = listed?;
        if listed.path < *path {
            continue;
        }
        if listed.path != *path {
            return Ok(None);
        }
        let predicate = manifest.predicate();
        let package = predicate.packages.as_ref().and_then(|packages| {
            let package = packages.list.get((listed.entry.package as usize).checked_sub(1)?)?;
            Some(format!("{} {}", package.name, package.version))
        });
        return Ok(Some(BakedThere {
            manifest: predicate.name.clone(),
            version: predicate.version.clone(),
            kind: predicate.kind,
            package,
            entry: Attributes::from(&listed.entry),
        }));
    }
    Ok(None)
}
