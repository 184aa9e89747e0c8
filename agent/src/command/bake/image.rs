//! `congruent bake` of a container image: one manifest for each platform, with the
//! tree that its layers come to, and each layer.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use congruent_protocol::digest::Digest;
use congruent_protocol::manifest::{
    EntriesSummary, ImageOrigin, LintReport, ManifestKind, Origin, Predicate, write_manifest,
};
use congruent_protocol::path::escape;

use super::{Order, loosening, origin, read_allowances, tell, tell_loosening, who_baked};
use crate::atomic::{self, directory_of};
use crate::cli::Bake;
use crate::command::Outcome;
use crate::image::reference::ReferenceError;
use crate::image::{self, BlobDigest, Image, ImageError, Platform, Reference};
use crate::layer::{BakedImage, ImageBaking, LayerError, Limits, Reading};
use crate::lint::Collector;
use crate::output::{counted, lint as page};
use crate::progress::Progress;
use crate::sweep::Counters;

/// Why a layer could not be read: its bytes, or what they say.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// The image that is to be baked; none where a directory is.
pub(super) fn reference(args: &Bake) -> anyhow::Result<Option<Reference>> {
    let Some(text) = args.source.as_ref().and_then(|source| source.to_str()) else { return Ok(None) };
    if Reference::is_meant(text) {
        return Ok(Some(text.parse()?));
    }
    // What begins so can only be a path, and is told as one.
    let is_path = text.starts_with(['/', '.']);
    if !is_path && Path::new(text).symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
    {
        return Err(ReferenceError::of_no_place(text).into());
    }
    Ok(None)
}

/// Of a directory, nothing is chosen that only images have.
pub(super) fn refuse_choices(args: &Bake) -> anyhow::Result<()> {
    if args.image.platform.is_some() || args.image.registry.is_given() {
        bail!(
            "--platform, --auth-file, --ca and --plain-http are for container images, and {} is a directory",
            args.source.as_deref().unwrap_or("/".as_ref()).display()
        );
    }
    Ok(())
}

pub(super) fn run(args: &Bake, reference: &Reference) -> anyhow::Result<Outcome> {
    if args.add_on || args.origin.image_config_digest.is_some() {
        bail!(
            "--add-on, --image-config-digest and --diff-id are for directories: an image says itself what it is"
        );
    }
    let order = Order::of(args)?;
    atomic::check_output("--output", &args.output)?;
    let options = image::Options {
        platform: args.image.platform.clone(),
        registry: args.image.registry.clone().into(),
        ..image::Options::default()
    };
    let images = image::open(reference, &options).with_context(|| format!("cannot bake {reference}"))?;
    let is_alone = images.len() == 1;
    let outputs: Vec<PathBuf> = images
        .iter()
        .map(|image| if is_alone { args.output.clone() } else { output_for(args, &image.platform) })
        .collect();
    outputs.iter().try_for_each(|output| atomic::check_output("--output", output))?;
    // Of several platforms all are written or none.
    let mut all = Vec::new();
    for (image, output) in images.iter().zip(outputs) {
        let baked = bake(args, &order, image)
            .with_context(|| format!("cannot bake {reference} for {}", image.platform))?;
        match write(args, &order, image, baked, output)? {
            Some(written) => all.push(written),
            None => return Ok(Outcome::Denied),
        }
    }
    for written in all {
        written.file.put_in_place()?;
        tell_written(args, &order, &written.told)?;
    }
    Ok(Outcome::Clean)
}

fn bake(args: &Bake, order: &Order, image: &Image) -> anyhow::Result<BakedImage> {
    let reading = Reading { algorithm: args.digest.into(), limits: Limits::USUAL, lint: !args.lint.no_lint };
    let scratch = directory_of(&args.output);
    let lint = Collector::new(read_allowances(&args.lint)?);
    let mut baking = ImageBaking::new(&order.contract, reading, lint, scratch)?;
    let counters = Counters::default();
    let progress = Progress::towards("baking", image.packed_bytes().unwrap_or(0), &counters);
    progress.watch(|| -> anyhow::Result<()> {
        for (at, diff_id) in image.diff_ids.iter().enumerate() {
            let in_layer = || format!("layer {} of {} ({diff_id})", at + 1, image.diff_ids.len());
            let layer = image.layer(at, &counters, |archive| baking.read(archive).map_err(ReadError::from));
            let layer = match layer {
                // It names the layer itself.
                Err(ReadError::Image(error)) => return Err(error.into()),
                read => read.with_context(in_layer)?,
            };
            counters.add_entries(layer.entries.len() as u64);
            baking.add(*diff_id, layer).with_context(in_layer)?;
        }
        Ok(())
    })?;
    Ok(baking.finish(scratch)?)
}

/// A manifest that is written and not yet in its place.
struct Written {
    file: atomic::Prepared,
    told: Told,
}

/// What is told of a manifest once it is in its place.
struct Told {
    output: PathBuf,
    image: ImageOrigin,
    root: Digest,
    entries: EntriesSummary,
    layers: usize,
    lint: Option<LintReport>,
}

/// Writes a manifest aside; none where lint found what is denied, which is told.
fn write(
    args: &Bake,
    order: &Order,
    image: &Image,
    mut baked: BakedImage,
    output: PathBuf,
) -> anyhow::Result<Option<Written>> {
    let lint =
        (!args.lint.no_lint).then(|| std::mem::replace(&mut baked.lint, Collector::new(Vec::new())).finish());
    if let Some(report) = &lint
        && page::denied(&mut io::stderr(), report, &args.lint.deny)?
    {
        return Ok(None);
    }
    let image = ImageOrigin {
        config_digest: image.config_digest,
        diff_ids: image.diff_ids.clone(),
        platform: Some(image.platform.to_string()),
        manifest_digest: image.manifest.as_ref().and_then(|manifest| BlobDigest::recorded(&manifest.digest)),
    };
    let predicate = Predicate {
        name: args.name.clone(),
        version: args.image_version.clone(),
        kind: ManifestKind::Base,
        root: baked.root,
        entries: baked.entries.clone(),
        layers: baked.layers.clone(),
        contract: order.contract.clone(),
        // No agent keeps state in a container.
        reserved: Vec::new(),
        baked: who_baked(),
        expires: order.expires,
        origin: Origin { image: Some(image.clone()), ..origin(&args.origin) },
        packages: None,
        lint: lint.clone(),
    };
    let sections = baked.sections().context("cannot read what was kept of the layers")?;
    let file = atomic::prepare(&output, |out| Ok(write_manifest(out, predicate, &order.keys, sections)?))?;
    let (root, layers) = (baked.root, baked.layers.len());
    Ok(Some(Written { file, told: Told { output, image, root, entries: baked.entries, layers, lint } }))
}

fn tell_written(args: &Bake, order: &Order, told: &Told) -> anyhow::Result<()> {
    let Told { output, image, root, entries, layers, lint } = told;
    tell(args, *root, entries, &order.keys)?;
    let mut err = io::stderr();
    let platform = image.platform.as_deref().unwrap_or_default();
    let layers = counted(*layers as u64, "layer", "layers");
    writeln!(err, "  image {}, {}, {layers}", image.config_digest, escape(platform.as_bytes()))?;
    writeln!(err, "  written to {}", escape(output.as_os_str().as_encoded_bytes()))?;
    tell_loosening(loosening(&order.contract).as_ref())?;
    if let Some(report) = lint {
        page::told(&mut err, report)?;
    }
    Ok(())
}

/// Where the manifest of one platform of several goes: `web.manifest` becomes
/// `web.linux-arm64.manifest`.
fn output_for(args: &Bake, platform: &Platform) -> PathBuf {
    let platform = platform.to_string().replace('/', "-");
    let mut name = OsString::from(args.output.file_stem().unwrap_or_default());
    name.push(".");
    name.push(platform);
    if let Some(extension) = args.output.extension() {
        name.push(".");
        name.push(extension);
    }
    args.output.with_file_name(name)
}
