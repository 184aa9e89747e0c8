//! `congruent bake`: record a root file system, or a container image, in a manifest.

mod image;

use std::fs;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use congruent_protocol::contract::{Contract, ContractFile, Floor, Loosening};
use congruent_protocol::digest::Digest;
use congruent_protocol::key::SecretKey;
use congruent_protocol::manifest::{
    Baked, EntriesSummary, ImageOrigin, ManifestKind, Origin, PackedSection, Predicate, check_name,
    write_manifest,
};
use congruent_protocol::path::{TreePath, escape};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::{Outcome, means, read_secret_key};
use crate::atomic::{self, directory_of};
use crate::cli::{Bake, LintChoice, OriginArgs};
use crate::lint::{Allowance, Collector};
use crate::output::{counted, lint as page};
use crate::packages::{self, Found};
use crate::progress::Progress;
use crate::regular;
use crate::sweep::{self, Counters, Purpose, Root, Scope};

pub(super) fn run(args: &Bake) -> anyhow::Result<Outcome> {
    check_name("--name", &args.name)?;
    check_name("--version", &args.image_version)?;
    match image::reference(args)? {
        Some(reference) => image::run(args, &reference),
        None => run_on_root(args),
    }
}

/// What a manifest is to say beside what is baked.
struct Order {
    contract: Contract,
    keys: Vec<SecretKey>,
    expires: Option<Timestamp>,
}

impl Order {
    fn of(args: &Bake) -> anyhow::Result<Self> {
        let contract = if args.add_on { Contract::empty() } else { read_contracts(&args.contract)? };
        let keys = args.key.iter().map(|key| read_secret_key(key)).collect::<Result<_, _>>()?;
        let expires = args.expires.as_deref().map(read_expiry).transpose()?;
        Ok(Self { contract, keys, expires })
    }
}

fn run_on_root(args: &Bake) -> anyhow::Result<Outcome> {
    image::refuse_choices(args)?;
    let Order { contract, keys, expires } = Order::of(args)?;
    let reserved = Predicate::reserved_for(&args.name)
        .with_context(|| format!("--name {:?} cannot be part of a file name", args.name))?;
    // Only the base's agent keeps state.
    let reserved = if args.add_on { reserved[..1].to_vec() } else { reserved.to_vec() };
    let root = Root::open(if args.live { None } else { args.source.as_deref() })?;
    check_output(&root, &args.output, &reserved[0])?;

    let directory = directory_of(&args.output);
    let section = tempfile::tempfile_in(directory)
        .with_context(|| format!("cannot write to the directory {}", directory.display()))?;
    let means = means(&args.pace, false)?;
    let scope = Scope {
        contract: &contract,
        reserved: &reserved,
        algorithm: args.digest.into(),
        purpose: Purpose::Bake { lint: !args.lint.no_lint },
        means: &means,
    };
    let Found { packages, owners } = if args.no_packages { Found::default() } else { read_packages(&root)? };
    let counters = Counters::default();
    let progress = Progress::counting_first("baking", &root.path, &counters);
    let mut lint = Collector::new(read_allowances(&args.lint)?);
    let (mut section, baked) =
        progress.watch(|| sweep::bake(&root, &scope, &counters, section, &owners, &mut lint))?;
    let lint = (!args.lint.no_lint).then(|| lint.finish());
    if let Some(report) = &lint
        && page::denied(&mut io::stderr(), report, &args.lint.deny)?
    {
        return Ok(Outcome::Denied);
    }

    let installed = reserved[0].clone();
    let loosening = loosening(&contract);
    let predicate = Predicate {
        name: args.name.clone(),
        version: args.image_version.clone(),
        kind: if args.add_on { ManifestKind::AddOn } else { ManifestKind::Base },
        root: baked.root,
        entries: baked.entries.clone(),
        layers: Vec::new(),
        contract,
        reserved,
        baked: who_baked(),
        expires,
        origin: origin(&args.origin),
        packages,
        lint: lint.clone(),
    };
    atomic::write(&args.output, |out| {
        let section_bytes = section.stream_position()?;
        section.rewind()?;
        Ok(write_manifest(out, predicate, &keys, vec![PackedSection::new(&mut section, section_bytes)])?)
    })?;
    tell(args, baked.root, &baked.entries, &keys)?;
    writeln!(io::stderr(), "  in the image its place is {installed}, which is outside the tree")?;
    tell_loosening(loosening.as_ref())?;
    if !args.add_on && !root.path.join("etc/congruent").is_dir() {
        let advice =
            "  but /etc/congruent is not in the image, so it would be drift: make it, and bake again";
        writeln!(io::stderr(), "{advice}")?;
    }
    if let Some(report) = &lint {
        page::told(&mut io::stderr(), report)?;
    }
    Ok(Outcome::Clean)
}

/// The contract that these files make together.
pub(in crate::command) fn read_contracts(paths: &[PathBuf]) -> anyhow::Result<Contract> {
    let read = |path: &PathBuf| {
        let text = regular::read_text(path)
            .with_context(|| format!("cannot read the contract {}", path.display()))?;
        ContractFile::parse(&text).with_context(|| format!("the contract {} is not valid", path.display()))
    };
    let files = paths.iter().map(read).collect::<Result<_, _>>()?;
    Contract::compose(files).map_err(anyhow::Error::msg).context("the contract cannot be used")
}

/// A point in time, or how long from now.
fn read_expiry(text: &str) -> anyhow::Result<Timestamp> {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    if let Ok(at) = text.parse::<Timestamp>() {
        if at <= now.timestamp() {
            bail!("--expires {text:?} is not in the future");
        }
        return Ok(at);
    }
    let span: Result<Span, _> = text.parse();
    let at = span.and_then(|span| now.checked_add(span)).with_context(|| {
        format!("--expires {text:?} is neither a time such as 2027-01-31T00:00:00Z nor a period such as 90d")
    })?;
    if at <= now {
        bail!("--expires {text:?} is not in the future");
    }
    Ok(at.timestamp())
}

/// What the image's package database says. One that cannot be read is told, and
/// is no reason not to bake: the promise is about the tree.
fn read_packages(root: &Root) -> io::Result<Found> {
    packages::read(&root.directory).or_else(|error| {
        let why = format!("{:#}", anyhow::Error::new(error));
        writeln!(io::stderr(), "packages: none are recorded: {}", escape(why.as_bytes()))?;
        Ok(Found::default())
    })
}

fn origin(args: &OriginArgs) -> Origin {
    let OriginArgs { source_revision, pipeline_run, builder, ticket, approver, owner, .. } = args.clone();
    let image = args.image_config_digest.map(|config_digest| ImageOrigin {
        config_digest,
        diff_ids: args.diff_id.clone(),
        platform: None,
        manifest_digest: None,
    });
    Origin { source_revision, pipeline_run, builder, ticket, approver, owner, image }
}

fn read_allowances(choice: &LintChoice) -> anyhow::Result<Vec<Allowance>> {
    let mut allowances = choice.lint_allow.clone();
    for path in &choice.lint_allow_file {
        let text = regular::read_text(path)
            .with_context(|| format!("cannot read what lint allows from {}", path.display()))?;
        let read = Allowance::from_lines(&text).map_err(anyhow::Error::msg);
        allowances.extend(read.with_context(|| format!("{} is not valid", path.display()))?);
    }
    Ok(allowances)
}

/// A manifest inside the tree that it describes would be drift from the start,
/// unless it lies where the tree has its reserved place for it.
fn check_output(root: &Root, output: &Path, installed: &TreePath) -> anyhow::Result<()> {
    atomic::check_output("--output", output)?;
    let directory = fs::canonicalize(directory_of(output))
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
        root.path.display().to_string().trim_end_matches('/')
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

fn loosening(contract: &Contract) -> Option<Loosening> {
    Floor::default().check(contract).err()
}

fn tell(args: &Bake, root: Digest, summary: &EntriesSummary, keys: &[SecretKey]) -> io::Result<()> {
    let mut err = io::stderr();
    writeln!(err, "baked {} {}: {root}", args.name, args.image_version)?;
    let entries = counted(summary.count, "entry", "entries");
    writeln!(err, "  {entries}, {} bytes of content", summary.content_bytes)?;
    for key in keys {
        writeln!(err, "  signed by {}", key.public().id())?;
    }
    if keys.is_empty() {
        writeln!(
            err,
            "  NOT signed: verify accepts it only with --insecure-unsigned; sign it with `congruent sign`"
        )?;
    }
    Ok(())
}

fn tell_loosening(loosening: Option<&Loosening>) -> io::Result<()> {
    let Some(loosening) = loosening else { return Ok(()) };
    writeln!(
        io::stderr(),
        "  but verify refuses it unless its trust configuration sets another floor: {loosening}"
    )
}
