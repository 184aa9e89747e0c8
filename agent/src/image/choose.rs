//! From what an index names to the images for each platform.

use std::sync::Arc;

use super::document::{
    Descriptor, Document, ImageManifest, MAX_CONFIG_BYTES, MAX_IMAGES, MAX_MANIFEST_BYTES,
};
use super::error::ImageError;
use super::media::{self, Packing};
use super::platform::Platform;
use super::source::{Place, Source, read_document};
use super::{Image, Layer, Options};

/// How deep indexes may name each other.
const MAX_DEPTH: usize = 4;

/// The images that `roots` lead to, one for each platform that is asked for.
pub(super) fn images(
    source: &Arc<dyn Source>,
    roots: Vec<Descriptor>,
    options: &Options,
) -> Result<Vec<Image>, ImageError> {
    let mut level = roots;
    let mut images: Vec<Image> = Vec::new();
    let mut passed_over = Vec::new();
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for descriptor in std::mem::take(&mut level) {
            // What is for another platform need not be fetched to know so.
            if let Some(platform) = &descriptor.platform
                && options.platform.as_ref().is_some_and(|wanted| !platform.fits(wanted))
            {
                passed_over.push(platform.clone());
                continue;
            }
            match read(source, &descriptor)? {
                Document::Index(index) => {
                    next.extend(index.manifests.into_iter().filter(|named| !named.is_beside()));
                }
                Document::Manifest(manifest) => images.push(image(source, descriptor, &manifest, options)?),
            }
            if images.len() + next.len() > MAX_IMAGES {
                return Err(ImageError::TooDeep(MAX_IMAGES));
            }
        }
        level = next;
    }
    if !level.is_empty() {
        return Err(ImageError::TooDeep(MAX_IMAGES));
    }
    match (platform(images, options), &options.platform) {
        (Err(ImageError::NoImage), Some(wanted)) if !passed_over.is_empty() => {
            Err(ImageError::NoPlatform { wanted: wanted.clone(), there: passed_over })
        }
        (chosen, _) => chosen,
    }
}

/// Those of `images` that are asked for; no two of them are for the same platform.
pub(super) fn platform(images: Vec<Image>, options: &Options) -> Result<Vec<Image>, ImageError> {
    let there: Vec<Platform> = images.iter().map(|image| image.platform.clone()).collect();
    let mut chosen: Vec<Image> = Vec::new();
    for image in images {
        if options.platform.as_ref().is_some_and(|wanted| !image.platform.fits(wanted)) {
            continue;
        }
        match chosen.iter().find(|earlier| earlier.platform.is_same(&image.platform)) {
            None => chosen.push(image),
            Some(earlier) if earlier.config_digest == image.config_digest => {}
            Some(_) => return Err(ImageError::SamePlatform(image.platform)),
        }
    }
    match (&options.platform, chosen.is_empty(), there.is_empty()) {
        (_, false, _) => Ok(chosen),
        (Some(wanted), true, false) => Err(ImageError::NoPlatform { wanted: wanted.clone(), there }),
        _ => Err(ImageError::NoImage),
    }
}

fn read(source: &Arc<dyn Source>, descriptor: &Descriptor) -> Result<Document, ImageError> {
    let what = format!("the manifest {}", descriptor.digest);
    let bytes = read_document(source.manifest(descriptor)?, descriptor, &what, MAX_MANIFEST_BYTES)?;
    Document::parse(&bytes, Some(&descriptor.media_type)).map_err(ImageError::document(what))
}

fn image(
    source: &Arc<dyn Source>,
    descriptor: Descriptor,
    manifest: &ImageManifest,
    options: &Options,
) -> Result<Image, ImageError> {
    let named = &manifest.config;
    if !media::is_image_config(&named.media_type) {
        return Err(ImageError::Refused {
            what: format!("the manifest {}", descriptor.digest),
            why: format!("it is of no image, but of an artifact of type {:?}", named.media_type),
        });
    }
    let what = format!("the configuration {}", named.digest);
    let config = read_document(source.blob(&Place::Blob(named.clone()))?, named, &what, MAX_CONFIG_BYTES)?;
    let layers = manifest.layers.iter().enumerate().map(|(index, layer)| {
        let packing = Packing::of(&layer.media_type).map_err(|unreadable| ImageError::Refused {
            what: format!("layer {} of media type {:?}", index + 1, layer.media_type),
            why: unreadable.reason().to_owned(),
        });
        Ok(Layer { place: Place::Blob(layer.clone()), packing: Some(packing?) })
    });
    let layers = layers.collect::<Result<_, ImageError>>()?;
    Image::new(source, Some(descriptor), named.digest, &config, layers, options)
}
