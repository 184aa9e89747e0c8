//! OCI image layouts, in a directory or a tar file:
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>.

use std::sync::Arc;

use serde::Deserialize;

use super::choose;
use super::document::{Descriptor, DocumentError, Index, MAX_MANIFEST_BYTES, NAME_ANNOTATION};
use super::error::ImageError;
use super::files::Files;
use super::source::Stored;
use super::{Image, Options};

const MARKER: &str = "oci-layout";
const INDEX: &str = "index.json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// The images of a layout that has `tag`, or of its only one.
pub(super) fn open(
    files: impl Files + 'static,
    tag: Option<&str>,
    options: &Options,
) -> Result<Vec<Image>, ImageError> {
    check_marker(&files)?;
    let bytes = files.document(INDEX, MAX_MANIFEST_BYTES)?;
    let bytes = bytes.ok_or(ImageError::Missing { what: INDEX.to_owned() })?;
    let index = Index::parse(&bytes).map_err(ImageError::document(INDEX))?;
    let roots = with_tag(index.manifests, tag)?;
    choose::images(&(Arc::new(Stored(files)) as _), roots, options)
}

fn check_marker(files: &impl Files) -> Result<(), ImageError> {
    let bytes = files.document(MARKER, MAX_MANIFEST_BYTES)?.ok_or_else(|| ImageError::Refused {
        what: "this".to_owned(),
        why: format!("it is no OCI image layout: {MARKER} is not there"),
    })?;
    let marker: Result<Marker, _> = serde_json::from_slice(&bytes);
    let marker = marker.map_err(|error| ImageError::document(MARKER)(DocumentError::Json(error)))?;
    if marker.image_layout_version.starts_with("1.") {
        return Ok(());
    }
    let why = format!("it is of version {:?}, expected 1", marker.image_layout_version);
    Err(ImageError::Refused { what: MARKER.to_owned(), why })
}

/// What has the tag. Without one, what there is, where that is one image.
fn with_tag(manifests: Vec<Descriptor>, tag: Option<&str>) -> Result<Vec<Descriptor>, ImageError> {
    let images: Vec<Descriptor> = manifests.into_iter().filter(|named| !named.is_beside()).collect();
    let mut tags: Vec<String> = images.iter().filter_map(Descriptor::tag).map(str::to_owned).collect();
    tags.sort_unstable();
    tags.dedup();
    if let Some(tag) = tag {
        let has_tag = |named: &Descriptor| {
            named.tag() == Some(tag) || named.annotations.get(NAME_ANNOTATION).is_some_and(|name| name == tag)
        };
        let chosen: Vec<Descriptor> = images.into_iter().filter(has_tag).collect();
        if chosen.is_empty() {
            return Err(ImageError::NoTag { tag: tag.to_owned(), tags });
        }
        return Ok(chosen);
    }
    // Several tags of one image are no reason to ask, nor are several platforms under one tag or none.
    let is_one_image = images.windows(2).all(|pair| pair[0].digest == pair[1].digest);
    let is_one_tag = images.windows(2).all(|pair| pair[0].tag() == pair[1].tag());
    if is_one_image || is_one_tag { Ok(images) } else { Err(ImageError::Ambiguous { tags }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::document::TAG_ANNOTATION;
    use crate::image::media::OCI_MANIFEST;

    fn named(content: &str, tag: &str) -> Descriptor {
        let mut descriptor = Descriptor::of(OCI_MANIFEST, content.as_bytes());
        if !tag.is_empty() {
            descriptor.annotations.insert(TAG_ANNOTATION.to_owned(), tag.to_owned());
        }
        descriptor
    }

    #[test]
    fn a_tag_chooses_and_is_asked_for_where_there_are_several() {
        let check = |named: &[Descriptor], tag: Option<&str>, expected: Result<usize, &str>| match (
            with_tag(named.to_vec(), tag),
            expected,
        ) {
            (Ok(chosen), Ok(count)) => assert_eq!(chosen.len(), count),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (chosen, expected) => panic!("{chosen:?} for {expected:?}"),
        };
        let two = [named("a", "1"), named("b", "2")];
        check(&two, None, Err("1, 2"));
        check(&two, Some("2"), Ok(1));
        check(&two, Some("3"), Err("\"3\""));
        check(&two[..1], None, Ok(1));
        check(&[named("a", "1"), named("a", "2")], None, Ok(2));
        check(&[named("a", ""), named("b", "")], None, Ok(2));
        check(&[named("a", "1"), named("b", "")], None, Err("several"));
        let mut beside = named("s", "");
        beside.artifact_type = Some("application/vnd.example.signature".to_owned());
        check(&[named("a", "1"), beside], None, Ok(1));
        check(&[], None, Ok(0));
    }
}
