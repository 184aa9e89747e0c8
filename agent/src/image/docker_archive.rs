//! What `docker save`, `podman save` and skopeo's `docker-archive:` write: one tar
//! file with `manifest.json`, configurations and layers.
//!
//! Nothing there tells the digest of a packed layer; the diff_id in the configuration holds all of
//! its content.

use std::sync::Arc;

use super::digest::BlobDigest;
use super::document::{ArchivedImage, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES};
use super::error::ImageError;
use super::files::{Archive, Files};
use super::source::{Place, Source, Stored, check_digest};
use super::{Image, Layer, Options, choose, layout};

const MANIFEST: &str = "manifest.json";

/// The image of an archive that has `tag`, or its only one.
pub(super) fn open(archive: Archive, tag: Option<&str>, options: &Options) -> Result<Vec<Image>, ImageError> {
    let Some(bytes) = archive.document(MANIFEST, MAX_MANIFEST_BYTES)? else {
        return layout::open(archive, tag, options);
    };
    let images = ArchivedImage::parse(&bytes).map_err(ImageError::document(MANIFEST))?;
    let chosen = with_tag(&images, tag)?;
    let config = archive.document(&chosen.config, MAX_CONFIG_BYTES)?;
    let config = config.ok_or_else(|| ImageError::Missing { what: chosen.config.clone() })?;
    check_name(chosen, &config)?;
    let layers =
        chosen.layers().iter().map(|name| Layer { place: Place::Member(name.clone()), packing: None });
    let layers = layers.collect();
    let source: Arc<dyn Source> = Arc::new(Stored(archive));
    let image = Image::new(&source, None, BlobDigest::of(&config), &config, layers, options)?;
    choose::platform(vec![image], options)
}

/// A configuration is named by its digest, where its name looks like one.
fn check_name(image: &ArchivedImage, config: &[u8]) -> Result<(), ImageError> {
    let name = image.config.rsplit('/').next().unwrap_or_default();
    let name = name.strip_suffix(".json").unwrap_or(name);
    match format!("sha256:{name}").parse::<BlobDigest>() {
        Ok(stated) => check_digest(config, stated, &format!("the configuration {}", image.config)),
        Err(_) => Ok(()),
    }
}

fn with_tag<'a>(images: &'a [ArchivedImage], tag: Option<&str>) -> Result<&'a ArchivedImage, ImageError> {
    let tags = || images.iter().flat_map(ArchivedImage::tags).cloned().collect();
    let Some(tag) = tag else {
        return match images {
            [] => Err(ImageError::NoImage),
            [image] => Ok(image),
            _ => Err(ImageError::Ambiguous { tags: tags() }),
        };
    };
    let by_name = |image: &&ArchivedImage| image.tags().iter().any(|name| familiar(name) == familiar(tag));
    let by_tag = |image: &&ArchivedImage| {
        image.tags().iter().any(|name| name.rsplit_once(':').is_some_and(|(_, is)| is == tag))
    };
    if let Some(image) = images.iter().find(by_name) {
        return Ok(image);
    }
    let mut found = images.iter().filter(by_tag);
    match (found.next(), found.next()) {
        (Some(image), None) => Ok(image),
        (Some(_), Some(_)) => Err(ImageError::Ambiguous { tags: tags() }),
        (None, _) => Err(ImageError::NoTag { tag: tag.to_owned(), tags: tags() }),
    }
}

/// A name as people write it: without Docker Hub's, and with a tag.
fn familiar(name: &str) -> String {
    let short = ["docker.io/library/", "docker.io/"].iter().find_map(|hub| name.strip_prefix(hub));
    let short = short.unwrap_or(name);
    let last = short.rsplit('/').next().unwrap_or(short);
    if last.contains(':') { short.to_owned() } else { format!("{short}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_a_tag_chooses() {
        let images = br#"[{"Config":"a","RepoTags":["web:1","web:latest"]},
            {"Config":"b","RepoTags":["docker.io/library/db:1"]},
            {"Config":"c","RepoTags":["localhost:5000/x:3"]}]"#;
        let images = ArchivedImage::parse(images).expect("images");
        let check = |tag: &str, expected: Result<&str, &str>| match (with_tag(&images, Some(tag)), expected) {
            (Ok(image), Ok(config)) => assert_eq!(image.config, config, "{tag}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (chosen, expected) => panic!("{chosen:?} for {expected:?} with {tag}"),
        };
        check("web:1", Ok("a"));
        check("web", Ok("a"));
        check("docker.io/library/web", Ok("a"));
        check("db:1", Ok("b"));
        check("localhost:5000/x:3", Ok("c"));
        check("3", Ok("c"));
        check("1", Err("several"));
        check("db", Err("there are: web:1, web:latest, docker.io/library/db:1"));
        assert!(matches!(with_tag(&images, None), Err(ImageError::Ambiguous { .. })));
        assert!(with_tag(&images[1..2], None).is_ok());
    }
}
