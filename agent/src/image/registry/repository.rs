//! Manifests of ours beside the images that they are of: attached as OCI artifacts
//! whose subject is the image's manifest.

use std::io::{self, Write};
use std::sync::Arc;

use jiff::Timestamp;

use super::client::{Access, Client};
use super::{Options, RegistryError, blob, images, manifest, push, referrers};
use crate::image::document::{Descriptor, Document, ImageManifest};
use crate::image::error::ImageError;
use crate::image::media::OCI_MANIFEST;
use crate::image::reference::RegistryReference;
use crate::image::source::check;
use crate::image::{self, Image};

/// What our artifacts are, and the file in them.
const ARTIFACT_TYPE: &str = "application/vnd.congruent.manifest.v2";
/// The configuration of what has none, and all of it.
const EMPTY: (&str, &[u8]) = ("application/vnd.oci.empty.v1+json", b"{}");
/// When an artifact was made; here, when its manifest was baked.
const CREATED: &str = "org.opencontainers.image.created";
/// The file's name for tools that pull artifacts.
const TITLE: &str = "org.opencontainers.image.title";
/// The largest manifest of ours taken.
pub(crate) const MAX_ATTACHED_BYTES: u64 = 1 << 30;

/// A repository of a registry.
pub(crate) struct Repository {
    client: Arc<Client>,
}

/// A manifest of ours that is attached to an image.
#[derive(Debug)]
pub(crate) struct Attached {
    /// The artifact's manifest.
    pub(crate) artifact: Descriptor,
    /// The file.
    file: Descriptor,
    /// When it says that it was baked.
    created: Option<Timestamp>,
}

/// What is attached.
pub(crate) struct File<'a> {
    pub(crate) bytes: &'a [u8],
    /// What the image is called; part of the file's name.
    pub(crate) name: &'a str,
    pub(crate) baked: Timestamp,
}

/// What attaching came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// It was there.
    WasThere,
    /// It was sent.
    Sent,
}

impl Repository {
    pub(crate) fn open(
        reference: &RegistryReference,
        access: Access,
        options: &Options,
    ) -> Result<Self, RegistryError> {
        Ok(Self { client: Arc::new(Client::new(reference, access, options)?) })
    }

    /// The images that its reference names.
    pub(crate) fn images(&self, options: &image::Options) -> Result<Vec<Image>, ImageError> {
        images(Arc::clone(&self.client), options)
    }

    /// Attaches a manifest of ours to the image whose manifest `subject` is. The same bytes make the
    /// same artifact, however often.
    pub(crate) fn attach(
        &self,
        subject: &Descriptor,
        file: &File<'_>,
    ) -> Result<(Attachment, Descriptor), ImageError> {
        let config = Descriptor::of(EMPTY.0, EMPTY.1);
        let mut layer = Descriptor::of(ARTIFACT_TYPE, file.bytes);
        layer.annotations.insert(TITLE.to_owned(), format!("{}.manifest", file.name));
        let subject = plain(subject);
        let bytes = ImageManifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            artifact_type: Some(ARTIFACT_TYPE.to_owned()),
            config: config.clone(),
            layers: vec![layer.clone()],
            subject: Some(subject.clone()),
            annotations: [(CREATED.to_owned(), file.baked.to_string())].into(),
        }
        .to_json();
        let mut artifact = Descriptor::of(OCI_MANIFEST, &bytes);
        artifact.artifact_type = Some(ARTIFACT_TYPE.to_owned());
        artifact.annotations = [(CREATED.to_owned(), file.baked.to_string())].into();
        let there = referrers::list(&self.client, subject.digest)?;
        if there.iter().any(|there| there.digest == artifact.digest) {
            return Ok((Attachment::WasThere, artifact));
        }
        push::blob(&self.client, &config, EMPTY.1)?;
        push::blob(&self.client, &layer, file.bytes)?;
        let is_kept = push::manifest(&self.client, &artifact.digest.to_string(), OCI_MANIFEST, bytes)?;
        if !is_kept {
            referrers::add(&self.client, subject.digest, &artifact)?;
        }
        Ok((Attachment::Sent, artifact))
    }

    /// The manifests of ours that are attached to the image whose manifest `subject` is, the latest
    /// first. Nothing of what they say is checked.
    pub(crate) fn attached(&self, subject: &Descriptor) -> Result<Vec<Attached>, ImageError> {
        let mut found = Vec::new();
        for artifact in referrers::list(&self.client, subject.digest)? {
            if artifact.artifact_type.as_deref() == Some(ARTIFACT_TYPE) {
                found.extend(self.attached_by(artifact, subject)?);
            }
        }
        found.sort_by(|one, other| {
            (other.created, other.artifact.digest).cmp(&(one.created, one.artifact.digest))
        });
        Ok(found)
    }

    fn attached_by(
        &self,
        artifact: Descriptor,
        subject: &Descriptor,
    ) -> Result<Option<Attached>, ImageError> {
        let what = format!("the artifact {}", artifact.digest);
        let (bytes, _) = manifest(&self.client, &artifact.digest.to_string())?;
        check(&bytes, &artifact, &what)?;
        let Document::Manifest(manifest) =
            Document::parse(&bytes, Some(&artifact.media_type)).map_err(ImageError::document(what))?
        else {
            return Ok(None);
        };
        // An index may be anyone's word; what the artifact itself refers to counts.
        let refers = manifest.subject.is_some_and(|named| named.digest == subject.digest);
        let created = manifest.annotations.get(CREATED).and_then(|created| created.parse().ok());
        let mut files = manifest.layers.into_iter().filter(|file| file.media_type == ARTIFACT_TYPE);
        match (files.next(), files.next()) {
            (Some(file), None) if refers => Ok(Some(Attached { artifact, file, created })),
            _ => Ok(None),
        }
    }

    /// Writes an attached manifest to `out`, and checks that it is the one that was attached.
    pub(crate) fn read(&self, attached: &Attached, out: &mut impl Write) -> Result<(), ImageError> {
        let Descriptor { digest, size, .. } = attached.file;
        let what = || format!("the manifest {digest} that is attached");
        if size > MAX_ATTACHED_BYTES {
            return Err(ImageError::TooLong { what: what(), limit: MAX_ATTACHED_BYTES });
        }
        let mut blob = Hashed { from: blob::open(&self.client, &attached.file)?, hasher: digest.hasher() };
        let found = io::copy(&mut blob, out).map_err(ImageError::read(what()))?;
        if found != size {
            return Err(ImageError::Size { what: what(), stated: size, found });
        }
        match blob.hasher.finish() {
            found if found == digest => Ok(()),
            found => Err(ImageError::digest(what(), digest, found)),
        }
    }
}

/// What a subject is named by, and nothing of what an index says beside it.
fn plain(subject: &Descriptor) -> Descriptor {
    Descriptor {
        media_type: subject.media_type.clone(),
        digest: subject.digest,
        size: subject.size,
        platform: None,
        artifact_type: None,
        annotations: Default::default(),
    }
}

struct Hashed<R> {
    from: R,
    hasher: image::digest::BlobHasher,
}

impl<R: io::Read> io::Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
