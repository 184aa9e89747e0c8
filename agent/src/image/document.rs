//! The documents of images: indexes, manifests, configurations, and what `docker save`
//! writes of its own. Bytes in, values out; whoever reads them bounds and checks the bytes.
//!
//! Formats: <https://github.com/opencontainers/image-spec>, Docker's image manifest version 2,
//! schema 2, and Docker's image specification v1.2 for `manifest.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::BlobDigest;
#[cfg(test)]
use super::media::OCI_INDEX;
use super::media::{self, Kind};
use super::platform::Platform;

/// The largest index or manifest taken: what registries take.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 4 << 20;
/// The largest configuration taken.
pub(crate) const MAX_CONFIG_BYTES: u64 = 8 << 20;
/// The most layers of an image: as many as a manifest of ours records.
pub(crate) const MAX_LAYERS: usize = 1000;
/// The most images of an index or archive.
pub(crate) const MAX_IMAGES: usize = 1000;
/// The annotation by which a layout tells its images apart.
pub(crate) const TAG_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// The annotation by which containerd and `docker save` do, with the whole name.
pub(crate) const NAME_ANNOTATION: &str = "io.containerd.image.name";
/// What BuildKit writes beside an entry of an index that is no image.
const ATTESTATION_ANNOTATION: &str = "vnd.docker.reference.type";

/// Why bytes are not a document of an image.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON of this shape.
    #[error("it is malformed")]
    Json(#[source] serde_json::Error),
    /// Docker's first manifests.
    #[error(
        "it is a manifest of Docker's schema 1, which does not tell its layers' digests; push the image anew"
    )]
    Schema1,
    /// Of a version that is not known.
    #[error("its schemaVersion is {0}, expected 2")]
    SchemaVersion(u32),
    /// It could be read as two things, which is how one is passed off as the other.
    #[error("it is an index and a manifest at once")]
    Ambiguous,
    /// It is not what it was said to be.
    #[error("it is of the media type {found:?}, which is not what was to be there: {expected:?}")]
    MediaType {
        /// As it says of itself.
        found: String,
        /// As was said of it.
        expected: String,
    },
    /// It is no manifest.
    #[error("it is of the media type {0:?}, and no image's index or manifest")]
    NoManifest(String),
    /// There is more of something than is taken.
    #[error("it has {found} {what}; {limit} are taken")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are taken.
        limit: usize,
    },
    /// Any other contradiction.
    #[error("{0}")]
    Unacceptable(String),
}

/// What names a document or blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: BlobDigest,
    /// Its length in bytes.
    pub size: u64,
    /// Of an index's entry: what it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Of an index's entry: what artifact it is, where it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Words beside it.
    #[serde(default, deserialize_with = "annotations", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Some tools write null for none.
fn annotations<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Descriptor {
    /// What names these bytes.
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: BlobDigest::of(bytes),
            size: bytes.len() as u64,
            platform: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The tag that a layout gives it.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.annotations.get(TAG_ANNOTATION).map(String::as_str)
    }

    /// Whether an index names it beside its images: an attestation, a signature, a manifest of ours.
    pub(crate) fn is_beside(&self) -> bool {
        self.annotations.contains_key(ATTESTATION_ANNOTATION)
            || self.platform.as_ref().is_some_and(Platform::is_unknown)
            || self.artifact_type.as_deref().is_some_and(|kind| !media::is_image_config(kind))
    }
}

/// The documents that name others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// Names manifests, by platform.
    Index(Index),
    /// Names a configuration and layers.
    Manifest(Box<ImageManifest>),
}

/// An OCI index, or Docker's manifest list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2.
    pub schema_version: u32,
    /// What it is; older tools leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What it names.
    pub manifests: Vec<Descriptor>,
    /// Words beside it.
    #[serde(default, deserialize_with = "annotations", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An OCI index of these.
    #[cfg(test)]
    pub(crate) fn new(manifests: Vec<Descriptor>) -> Self {
        let media_type = Some(OCI_INDEX.to_owned());
        Self { schema_version: 2, media_type, manifests, annotations: BTreeMap::new() }
    }
}

/// An image's manifest, of OCI or of Docker's schema 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// 2.
    pub schema_version: u32,
    /// What it is; older tools leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What artifact it is, where it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// What it refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Words beside it.
    #[serde(default, deserialize_with = "annotations", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What is looked at first, to tell what a document is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads an index or manifest of which it was said that it is `expected`, where anything was.
    ///
    /// # Errors
    /// When it is neither, both, or the other one.
    pub fn parse(bytes: &[u8], expected: Option<&str>) -> Result<Self, DocumentError> {
        let head: Head = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        match kind(&head, expected)? {
            Kind::Index => Index::parse(bytes).map(Self::Index),
            Kind::Manifest => ImageManifest::parse(bytes).map(Box::new).map(Self::Manifest),
        }
    }
}

fn kind(head: &Head, expected: Option<&str>) -> Result<Kind, DocumentError> {
    let said = head.media_type.as_deref().or(expected);
    if head.schema_version == 1 || head.fs_layers.is_some() || said.is_some_and(media::is_schema_1) {
        return Err(DocumentError::Schema1);
    }
    if head.schema_version != 2 {
        return Err(DocumentError::SchemaVersion(head.schema_version));
    }
    let shape = match (head.manifests.is_some(), head.config.is_some() || head.layers.is_some()) {
        (true, true) => return Err(DocumentError::Ambiguous),
        (true, false) => Kind::Index,
        _ => Kind::Manifest,
    };
    for named in [expected, head.media_type.as_deref()].into_iter().flatten() {
        match Kind::of(named) {
            None => return Err(DocumentError::NoManifest(named.to_owned())),
            Some(kind) if kind == shape => {}
            Some(_) => {
                let found = head.media_type.clone().unwrap_or_default();
                return Err(DocumentError::MediaType { found, expected: named.to_owned() });
            }
        }
    }
    match (expected, &head.media_type) {
        (Some(expected), Some(found)) if expected != found => {
            Err(DocumentError::MediaType { found: found.clone(), expected: expected.to_owned() })
        }
        _ => Ok(shape),
    }
}

impl Index {
    /// Reads an index, such as the first document of a layout.
    ///
    /// # Errors
    /// When it is none, or names too much.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let index: Self = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        refuse_more("manifests", index.manifests.len(), MAX_IMAGES)?;
        Ok(index)
    }

    /// Its bytes.
    #[cfg(test)]
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an index always serialises")
    }
}

impl ImageManifest {
    fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        refuse_more("layers", manifest.layers.len(), MAX_LAYERS)?;
        Ok(manifest)
    }

    /// Its bytes, as they are pushed.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest always serialises")
    }
}

/// What of an image's configuration concerns its layers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    /// What the image is for.
    #[serde(flatten)]
    pub platform: Platform,
    rootfs: RootFs,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    /// None is written as null, or left out, by some.
    #[serde(default)]
    diff_ids: Option<Vec<BlobDigest>>,
}

impl ImageConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// When it is none, or tells no layers.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let config: Self = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        let unacceptable = |why: String| Err(DocumentError::Unacceptable(why));
        if config.rootfs.kind != "layers" {
            return unacceptable(format!(
                "its rootfs is of type {:?}, expected \"layers\"",
                config.rootfs.kind
            ));
        }
        if !config.platform.is_plain() {
            return unacceptable("it does not say for which os and architecture it is".to_owned());
        }
        refuse_more("diff_ids", config.diff_ids().len(), MAX_LAYERS)?;
        Ok(config)
    }

    /// The digests of its uncompressed layers, lowest first.
    pub fn diff_ids(&self) -> &[BlobDigest] {
        self.rootfs.diff_ids.as_deref().unwrap_or_default()
    }
}

/// One image of an archive that `docker save` wrote.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ArchivedImage {
    /// The configuration's name in the archive.
    pub config: String,
    /// The names that the image has.
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    /// The layers' names in the archive, lowest first.
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl ArchivedImage {
    /// Reads `manifest.json`.
    ///
    /// # Errors
    /// When it is none, or names too much.
    pub fn parse(bytes: &[u8]) -> Result<Vec<Self>, DocumentError> {
        let images: Vec<Self> = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        refuse_more("images", images.len(), MAX_IMAGES)?;
        for image in &images {
            refuse_more("layers", image.layers().len(), MAX_LAYERS)?;
        }
        Ok(images)
    }

    /// The names that the image has.
    pub fn tags(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or_default()
    }

    /// The layers' names in the archive, lowest first.
    pub fn layers(&self) -> &[String] {
        self.layers.as_deref().unwrap_or_default()
    }
}

fn refuse_more(what: &'static str, found: usize, limit: usize) -> Result<(), DocumentError> {
    if found > limit { Err(DocumentError::TooMany { what, found, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::media::{DOCKER_MANIFEST, OCI_MANIFEST};

    const DESCRIPTOR: &str = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,
        "digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}"#;

    fn check(json: &str, expected: Option<&str>, outcome: Result<Kind, &str>) {
        let json = json.replace("DESCRIPTOR", DESCRIPTOR);
        match (Document::parse(json.as_bytes(), expected), outcome) {
            (Ok(Document::Index(_)), Ok(Kind::Index)) | (Ok(Document::Manifest(_)), Ok(Kind::Manifest)) => {}
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error} of {json}"),
            (parsed, outcome) => panic!("{parsed:?} for {outcome:?} of {json}"),
        }
    }

    #[test]
    fn a_document_is_one_thing() {
        let manifest = r#"{"schemaVersion":2,"config":DESCRIPTOR,"layers":[]}"#;
        let typed = r#"{"schemaVersion":2,"mediaType":"TYPE","config":DESCRIPTOR,"layers":[]}"#;
        let docker = typed.replace("TYPE", DOCKER_MANIFEST);
        let index = r#"{"schemaVersion":2,"manifests":[DESCRIPTOR],"annotations":null}"#;
        check(manifest, None, Ok(Kind::Manifest));
        check(manifest, Some(OCI_MANIFEST), Ok(Kind::Manifest));
        check(&docker, Some(DOCKER_MANIFEST), Ok(Kind::Manifest));
        check(index, Some(OCI_INDEX), Ok(Kind::Index));
        check(index, Some(OCI_MANIFEST), Err("media type"));
        check(manifest, Some(OCI_INDEX), Err("media type"));
        check(&docker, Some(OCI_MANIFEST), Err("media type"));
        check(&typed.replace("TYPE", OCI_INDEX), None, Err("media type"));
        check(&typed.replace("TYPE", "text/plain"), None, Err("no image"));
        check(r#"{"schemaVersion":2,"config":DESCRIPTOR,"layers":[],"manifests":[]}"#, None, Err("at once"));
        check(r#"{"schemaVersion":1,"name":"web","fsLayers":[]}"#, None, Err("schema 1"));
        check(r#"{"schemaVersion":3,"config":DESCRIPTOR,"layers":[]}"#, None, Err("schemaVersion"));
        check(r#"{"schemaVersion":2}"#, None, Err("malformed"));
        check(r#"{"schemaVersion":2,"layers":[]}"#, None, Err("malformed"));
        check(
            &manifest.replace("[]", &format!("[{}DESCRIPTOR]", "DESCRIPTOR,".repeat(1000))),
            None,
            Err("1000"),
        );
        check(&manifest.replace("DESCRIPTOR", &DESCRIPTOR.replace("sha256", "md5")), None, Err("malformed"));
        check(&manifest.replace("DESCRIPTOR", &DESCRIPTOR.replace(":2,", ":-2,")), None, Err("malformed"));
    }

    #[test]
    fn a_configuration_tells_platform_and_layers() {
        let check = |json: &str, fits: bool| {
            assert_eq!(ImageConfig::parse(json.as_bytes()).is_ok(), fits, "{json}");
        };
        check(r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#, true);
        check(r#"{"os":"linux","architecture":"arm","variant":"v7","rootfs":{"type":"layers"}}"#, true);
        check(r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":null}}"#, true);
        check(r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["x"]}}"#, false);
        check(r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"other","diff_ids":[]}}"#, false);
        check(r#"{"architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#, false);
        check(r#"{"os":"linux\n","architecture":"amd64","rootfs":{"type":"layers"}}"#, false);
        check("{}", false);
    }

    #[test]
    fn what_docker_saves_is_read() {
        let images = br#"[{"Config":"c.json","RepoTags":["web:1"],"Layers":["l.tar"]},{"Config":"d","RepoTags":null}]"#;
        let images = ArchivedImage::parse(images).expect("images");
        assert_eq!(
            (images[0].tags(), images[0].layers()),
            (&["web:1".to_owned()][..], &["l.tar".to_owned()][..])
        );
        assert!(images[1].tags().is_empty() && images[1].layers().is_empty());
    }
}
