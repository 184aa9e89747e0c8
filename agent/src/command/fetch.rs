//! `congruent fetch`: take the manifest that is attached to a container image.
//!
//! The registry is not believed: what is written is trusted, and says itself that
//! it is of this image.

use std::io::{self, Seek, Write};

use anyhow::{Context, bail, ensure};
use congruent_protocol::manifest::Manifest;
use congruent_protocol::path::escape;
use congruent_protocol::trust::Trust;
use jiff::Timestamp;

use super::attach::{in_registry, subject};
use super::{Outcome, read_trust};
use crate::atomic;
use crate::cli::Fetch;
use crate::image::registry::{Access, Attached, Repository};
use crate::image::{self, Image};

pub(super) fn run(args: &Fetch) -> anyhow::Result<Outcome> {
    let reference = in_registry(&args.image)?;
    let trust = read_trust(&args.trust)?;
    atomic::check_output("--output", &args.output)?;
    let registry = args.registry.clone().into();
    let repository = Repository::open(reference, Access::Pull, &registry)?;
    let platform = args.platform.clone();
    let images = repository.images(&image::Options { platform, registry, ..image::Options::default() })?;
    let image = only(&images)?;
    let attached = repository.attached(subject(image)?)?;
    if attached.is_empty() {
        bail!("no manifest is attached to {}", reference.at(subject(image)?.digest));
    }
    for attached in &attached {
        match take(args, &repository, attached, image, trust.as_ref()) {
            Ok(said) => {
                writeln!(io::stderr(), "wrote {said} to {}", args.output.display())?;
                return Ok(Outcome::Clean);
            }
            Err(error) => {
                let why = format!("{error:#}");
                writeln!(
                    io::stderr(),
                    "passed over {}: {}",
                    attached.artifact.digest,
                    escape(why.as_bytes())
                )?;
            }
        }
    }
    bail!("none of what is attached can be used")
}

/// Writes one of the manifests that are attached, where it is trusted and of this image.
fn take(
    args: &Fetch,
    repository: &Repository,
    attached: &Attached,
    image: &Image,
    trust: Option<&Trust>,
) -> anyhow::Result<String> {
    let mut file =
        tempfile::tempfile_in(atomic::directory_of(&args.output)).context("cannot write beside --output")?;
    repository.read(attached, &mut file)?;
    let manifest = match trust {
        Some(trust) => Manifest::verify(&mut file, trust, Timestamp::now())?,
        None => Manifest::read_unchecked(&mut file)?,
    };
    let predicate = manifest.predicate();
    let origin = predicate.origin.image.as_ref().context("it does not say of which image it is")?;
    ensure!(
        origin.config_digest == image.config_digest && origin.diff_ids == image.diff_ids,
        "it is of the image with the configuration {}, and this one has {}",
        origin.config_digest,
        image.config_digest
    );
    file.rewind()?;
    atomic::write(&args.output, |out| Ok(io::copy(&mut file, out).map(drop)?))?;
    Ok(format!("the manifest of {} {}", predicate.name, predicate.version))
}

/// A manifest is of one platform's image.
fn only(images: &[Image]) -> anyhow::Result<&Image> {
    match images {
        [image] => Ok(image),
        _ => {
            let there: Vec<String> = images.iter().map(|image| image.platform.to_string()).collect();
            bail!("the image is for several platforms; say which one with --platform: {}", there.join(", "))
        }
    }
}
