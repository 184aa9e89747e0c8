//! Sending blobs and manifests. What is there already is not sent again.

use reqwest::{Method, StatusCode, header};

use super::RegistryError;
use super::client::{Client, Request};
use crate::image::document::Descriptor;

/// What a registry with a referrers API answers where a manifest has a subject.
const SUBJECT_HEADER: &str = "oci-subject";

/// Sees that the registry has a blob.
pub(super) fn blob(client: &Client, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), RegistryError> {
    if has(client, &format!("blobs/{}", descriptor.digest))? {
        return Ok(());
    }
    let action = format!("send the blob {}", descriptor.digest);
    let begun = client.send(&Request::new(&action, Method::POST, client.url("blobs/uploads/")?))?;
    if begun.status() != StatusCode::ACCEPTED {
        return Err(client.refused(&action, begun));
    }
    let place = begun.headers().get(header::LOCATION).and_then(|place| place.to_str().ok());
    let mut place = client.resolve(place.unwrap_or_default())?;
    place.query_pairs_mut().append_pair("digest", &descriptor.digest.to_string());
    let mut request =
        Request::new(&action, Method::PUT, place).header(header::CONTENT_TYPE, "application/octet-stream");
    request.body = bytes.to_vec();
    let sent = client.send(&request)?;
    if sent.status().is_success() { Ok(()) } else { Err(client.refused(&action, sent)) }
}

/// Sends a manifest under a tag or its digest. Says whether the registry keeps what refers to what.
pub(super) fn manifest(
    client: &Client,
    name: &str,
    media_type: &str,
    bytes: Vec<u8>,
) -> Result<bool, RegistryError> {
    let action = format!("send the manifest {name}");
    let request = Request::new(&action, Method::PUT, client.url(&format!("manifests/{name}"))?);
    let mut request = request.header(header::CONTENT_TYPE, media_type);
    request.body = bytes;
    let sent = client.send(&request)?;
    if !sent.status().is_success() {
        return Err(client.refused(&action, sent));
    }
    Ok(sent.headers().contains_key(SUBJECT_HEADER))
}

fn has(client: &Client, path: &str) -> Result<bool, RegistryError> {
    let action = format!("look for {path}");
    let answer = client.send(&Request::new(&action, Method::HEAD, client.url(path)?))?;
    match answer.status() {
        StatusCode::OK => Ok(true),
        StatusCode::NOT_FOUND => Ok(false),
        _ => Err(client.refused(&action, answer)),
    }
}
