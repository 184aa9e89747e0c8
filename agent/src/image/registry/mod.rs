//! Images in registries, and what is attached to them there.
//!
//! Spoken over our own reqwest, not with `oci-client`: that reads manifests of any length, does not
//! tell whether a registry keeps referrers by itself, and knows no identity tokens.
//! Format: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>.

mod authorization;
mod blob;
pub mod challenge;
mod client;
pub mod credentials;
mod error;
mod push;
mod referrers;
mod repository;

use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::{Method, header};
use serde::Deserialize;

pub(crate) use self::client::Access;
use self::client::{Client, Request};
pub(crate) use self::error::RegistryError;
pub(crate) use self::repository::{Attached, Attachment, File, MAX_ATTACHED_BYTES, Repository};
use super::document::{Descriptor, Document, MAX_MANIFEST_BYTES};
use super::media::{self, Kind};
use super::reference::{RegistryReference, Version};
use super::source::{Place, Source, check_digest};
use super::{Image, ImageError, choose};

/// How a registry is spoken to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Where credentials are; otherwise where Docker keeps them.
    pub(crate) auth_file: Option<PathBuf>,
    /// Authorities to trust beside the system's, in PEM.
    pub(crate) ca: Option<PathBuf>,
    /// Speak HTTP without TLS.
    pub(crate) plain_http: bool,
}

/// The images that a registry has at `reference`.
pub(super) fn open(
    reference: &RegistryReference,
    options: &super::Options,
) -> Result<Vec<Image>, ImageError> {
    let client = Client::new(reference, Access::Pull, &options.registry)?;
    images(Arc::new(client), options)
}

fn images(client: Arc<Client>, options: &super::Options) -> Result<Vec<Image>, ImageError> {
    let version = client.reference.version.clone();
    let name = match &version {
        Version::Tag(tag) => tag.clone(),
        Version::Digest(digest) => digest.to_string(),
    };
    let what = format!("the manifest {}", client.reference);
    let (bytes, media_type) = manifest(&client, &name)?;
    let mut root = Descriptor::of(&media_type_of(&bytes, media_type, &what)?, &bytes);
    if let Version::Digest(digest) = version {
        check_digest(&bytes, digest, &what)?;
        root.digest = digest;
    }
    let source: Arc<dyn Source> = Arc::new(Remote { client, root: (root.clone(), bytes) });
    choose::images(&source, vec![root], options)
}

/// A manifest by its tag or digest, as it is there, and what the registry says that it is.
fn manifest(client: &Client, name: &str) -> Result<(Vec<u8>, Option<String>), RegistryError> {
    let action = format!("read the manifest {name} of {}", client.reference.repository);
    let accepted =
        [media::OCI_INDEX, media::OCI_MANIFEST, media::DOCKER_LIST, media::DOCKER_MANIFEST].join(", ");
    let request = Request::new(&action, Method::GET, client.url(&format!("manifests/{name}"))?);
    let answer = client.send(&request.header(header::ACCEPT, &accepted))?;
    if !answer.status().is_success() {
        return Err(client.refused(&action, answer));
    }
    let media_type = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type =
        media_type.and_then(|value| value.split(';').next()).map(|value| value.trim().to_owned());
    Ok((client.body(answer, &action, MAX_MANIFEST_BYTES)?, media_type))
}

/// What a manifest is: as the registry says, unless that says nothing; then as it says itself.
fn media_type_of(bytes: &[u8], said: Option<String>, what: &str) -> Result<String, ImageError> {
    if let Some(said) = said.filter(|said| Kind::of(said).is_some() || media::is_schema_1(said)) {
        return Ok(said);
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        media_type: Option<String>,
    }
    let kind = match Document::parse(bytes, None).map_err(ImageError::document(what))? {
        Document::Index(_) => media::OCI_INDEX,
        Document::Manifest(_) => media::OCI_MANIFEST,
    };
    let head: Option<Head> = serde_json::from_slice(bytes).ok();
    Ok(head.and_then(|head| head.media_type).unwrap_or_else(|| kind.to_owned()))
}

/// A repository's manifests and blobs.
struct Remote {
    client: Arc<Client>,
    /// What the reference names, which was read already.
    root: (Descriptor, Vec<u8>),
}

impl Source for Remote {
    fn manifest(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, ImageError> {
        let (root, bytes) = &self.root;
        if root.digest == descriptor.digest {
            return Ok(Box::new(&bytes[..]));
        }
        let (bytes, _) = manifest(&self.client, &descriptor.digest.to_string())?;
        Ok(Box::new(Cursor::new(bytes)))
    }

    fn blob(&self, place: &Place) -> Result<Box<dyn Read + Send + '_>, ImageError> {
        match place {
            Place::Blob(descriptor) => Ok(Box::new(blob::open(&self.client, descriptor)?)),
            Place::Member(name) => Err(ImageError::Missing { what: name.clone() }),
        }
    }
}
