//! `congruent attach`: put a manifest beside the container image that it is of.
//!
//! The manifest is read whole first, and must say of which image it is: nothing is
//! attached that `congruent fetch` would pass over.

use std::io::{self, Cursor, Write};

use anyhow::{Context, bail};
use congruent_protocol::manifest::{ImageOrigin, Manifest};

use super::Outcome;
use crate::cli::Attach;
use crate::image::document::Descriptor;
use crate::image::reference::RegistryReference;
use crate::image::registry::{Access, Attachment, File, MAX_ATTACHED_BYTES, Repository};
use crate::image::{self, Image, Reference};
use crate::regular;

pub(super) fn run(args: &Attach) -> anyhow::Result<Outcome> {
    let reference = in_registry(&args.image)?;
    let shown = args.manifest.display();
    let bytes = regular::read(&args.manifest, MAX_ATTACHED_BYTES)
        .with_context(|| format!("cannot read the manifest {shown}"))?;
    let manifest = Manifest::read_unchecked(&mut Cursor::new(&bytes))
        .with_context(|| format!("cannot use the manifest {shown}"))?;
    let predicate = manifest.predicate();
    let origin = predicate.origin.image.as_ref().with_context(|| {
        format!("the manifest {shown} does not say of which image it is; bake the image itself, or give --image-config-digest")
    })?;
    let registry = args.registry.clone().into();
    let repository = Repository::open(reference, Access::Push, &registry)?;
    let images = repository.images(&image::Options { registry, ..image::Options::default() })?;
    let image = of_origin(&images, origin)?;
    let subject = subject(image)?;
    let file = File { bytes: &bytes, name: &predicate.name, baked: predicate.baked.at };
    let (attachment, artifact) = repository.attach(subject, &file)?;
    let said = match attachment {
        Attachment::Sent => "attached",
        Attachment::WasThere => "is attached already:",
    };
    let mut err = io::stderr();
    writeln!(
        err,
        "{shown} {said} to {} ({}) as {}",
        reference.at(subject.digest),
        image.platform,
        artifact.digest
    )?;
    if manifest.signed_by().claimed.is_empty() {
        writeln!(err, "  NOT signed: fetch takes it only with --insecure-unsigned")?;
    }
    Ok(Outcome::Clean)
}

/// The image that a manifest is of.
fn of_origin<'a>(images: &'a [Image], origin: &ImageOrigin) -> anyhow::Result<&'a Image> {
    let Some(image) = images.iter().find(|image| image.config_digest == origin.config_digest) else {
        let there: Vec<String> =
            images.iter().map(|image| format!("{} ({})", image.config_digest, image.platform)).collect();
        bail!(
            "the manifest is of the image with the configuration {}, and here is {}",
            origin.config_digest,
            there.join(", ")
        );
    };
    if image.diff_ids != origin.diff_ids {
        bail!("the manifest names other layers than the image {} has", image.config_digest);
    }
    Ok(image)
}

pub(super) fn in_registry(reference: &Reference) -> anyhow::Result<&RegistryReference> {
    match reference {
        Reference::Registry(reference) => Ok(reference),
        other => bail!("{other} is in no registry; name the image as docker://HOST/REPOSITORY:TAG"),
    }
}

/// What names an image's manifest; in a registry there always is one.
pub(super) fn subject(image: &Image) -> anyhow::Result<&Descriptor> {
    image.manifest.as_ref().context("the image has no manifest")
}
