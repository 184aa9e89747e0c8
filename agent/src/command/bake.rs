//! `congruent bake`: record a root file system in a manifest.

use std::fs::{self, File, Permissions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use congruent_protocol::contract::Contract;
use congruent_protocol::key::SecretKey;
use congruent_protocol::manifest::{Baked, Predicate, check_name, write_manifest};
use congruent_protocol::path::{TreePath, escape};
use jiff::Timestamp;

use super::Outcome;
use crate::cli::{Bake, LintChoice};
use crate::lint::{Allowance, Collector};
use crate::output::lint as page;
use crate::progress::Progress;
use crate::sweep::{self, Counters, Purpose, Root, Scope, default_threads};

/// Where agents keep their state; outside every tree.
const STATE_DIRECTORY: &str = "/var/lib/congruent";

pub(super) fn run(args: &Bake) -> anyhow::Result<Outcome> {
    let contract = read_contract(args.contract.as_deref())?;
    let key = args.key.as_deref().map(read_key).transpose()?;
    check_name("--name", &args.name)?;
    check_name("--version", &args.image_version)?;
    let installed = TreePath::new(format!("/etc/congruent/{}.manifest", args.name))
        .with_context(|| format!("--name {:?} cannot be part of a file name", args.name))?;
    let reserved = vec![installed.clone(), TreePath::new(STATE_DIRECTORY)?];
    let root = Root::open(Some(&args.dir))?;
    check_output(&root, &args.output, &installed)?;

    let directory = args.output.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let section = tempfile::tempfile_in(directory)
        .with_context(|| format!("cannot write to the directory {}", directory.display()))?;
    let scope = Scope {
        contract: &contract,
        reserved: &reserved,
        purpose: Purpose::Bake { lint: !args.lint.no_lint },
        threads: default_threads(),
    };
    let counters = Counters::default();
    let progress = Progress::counting_first("baking", &root.path, &counters);
    let mut lint = Collector::new(read_allowances(&args.lint)?);
    let (mut section, baked) =
        progress.watch(|| sweep::bake(&root, &scope, &counters, section, &mut lint))?;
    let lint = (!args.lint.no_lint).then(|| lint.finish());
    if let Some(report) = &lint
        && page::denied(&mut io::stderr(), report, &args.lint.deny)?
    {
        return Ok(Outcome::Denied);
    }

    let predicate = Predicate {
        name: args.name.clone(),
        version: args.image_version.clone(),
        root: baked.root,
        entries: baked.entries.clone(),
        contract,
        reserved,
        baked: who_baked(),
        lint: lint.clone(),
    };
    write_atomically(directory, &args.output, |out| {
        let section_bytes = section.stream_position()?;
        section.rewind()?;
        Ok(write_manifest(out, predicate, key.as_slice(), &mut section, section_bytes)?)
    })?;
    tell(args, &baked, key.as_ref(), &installed)?;
    if !root.path.join("etc/congruent").is_dir() {
        let advice =
            "  but /etc/congruent is not in the image, so it would be drift: make it, and bake again";
        writeln!(io::stderr(), "{advice}")?;
    }
    if let Some(report) = &lint {
        page::told(&mut io::stderr(), report)?;
    }
    Ok(Outcome::Clean)
}

fn read_contract(path: Option<&Path>) -> anyhow::Result<Contract> {
    let Some(path) = path else { return Ok(Contract::linux()) };
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read the contract {}", path.display()))?;
    Contract::from_toml(&text).with_context(|| format!("the contract {} is not valid", path.display()))
}

fn read_allowances(choice: &LintChoice) -> anyhow::Result<Vec<Allowance>> {
    let mut allowances = choice.lint_allow.clone();
    for path in &choice.lint_allow_file {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read what lint allows from {}", path.display()))?;
        let read = Allowance::from_lines(&text).map_err(anyhow::Error::msg);
        allowances.extend(read.with_context(|| format!("{} is not valid", path.display()))?);
    }
    Ok(allowances)
}

fn read_key(path: &Path) -> anyhow::Result<SecretKey> {
    let pem = fs::read_to_string(path).with_context(|| format!("cannot read the key {}", path.display()))?;
    SecretKey::from_pem(&pem).with_context(|| format!("cannot use {}", path.display()))
}

/// A manifest inside the tree that it describes would be drift from the start,
/// unless it lies where the tree has its reserved place for it.
fn check_output(root: &Root, output: &Path, installed: &TreePath) -> anyhow::Result<()> {
    if output.as_os_str().as_encoded_bytes().ends_with(b"/") || output.is_dir() {
        bail!("--output {} is a directory; name a file", output.display());
    }
    // What takes an output's place would take a device's or a link's place too.
    if fs::symlink_metadata(output).is_ok_and(|there| !there.is_file()) {
        bail!("--output {} is there and is not a regular file; name another", output.display());
    }
    let directory = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = fs::canonicalize(directory)
        .with_context(|| format!("the directory of --output {} is not there", output.display()))?;
    let top = fs::canonicalize(&root.path).context("cannot resolve the root")?;
    let Ok(inside) = directory.strip_prefix(&top) else { return Ok(()) };
    let name = output.file_name().unwrap_or_default();
    if Path::new("/").join(inside).join(name).as_os_str().as_encoded_bytes() == installed.as_bytes() {
        return Ok(());
    }
    bail!(
        "--output {} lies inside the root that is baked, so it would be drift; write it elsewhere, or to {}{installed}",
        output.display(),
        root.path.display()
    )
}

fn who_baked() -> Baked {
    let by = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let by = by.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
    let on = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Baked {
        at: Timestamp::now(),
        by: escape(by.as_bytes()).into_owned(),
        on: escape(on.as_bytes()).into_owned(),
        with: concat!("congruent ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// Writes a file so that it is there whole or not at all; an earlier one stays
/// until then.
fn write_atomically(
    directory: &Path,
    output: &Path,
    write: impl FnOnce(&mut File) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let failed = || format!("cannot write the manifest {}", output.display());
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(failed)?;
    write(file.as_file_mut()).with_context(failed)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644)).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(output).with_context(failed)?;
    File::open(directory).and_then(|directory| directory.sync_all()).with_context(failed)
}

fn tell(args: &Bake, baked: &sweep::Baked, key: Option<&SecretKey>, installed: &TreePath) -> io::Result<()> {
    let mut err = io::stderr();
    let summary = &baked.entries;
    writeln!(err, "baked {} {}: {}", args.name, args.image_version, baked.root)?;
    writeln!(err, "  {} entries, {} bytes of content", summary.count, summary.content_bytes)?;
    match key {
        Some(key) => writeln!(err, "  signed by {}", key.public().id())?,
        None => writeln!(
            err,
            "  NOT signed: verify accepts it only with --insecure-unsigned; sign with --key KEY.pem"
        )?,
    }
    writeln!(err, "  in the image its place is {installed}, which is outside the tree")
}
