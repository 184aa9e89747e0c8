//! What refers to an image: as the registry itself keeps it, or, where it does not,
//! in an index under a tag that is named after the image's digest.
//!
//! That tag belongs to everybody who attaches anything. It is read, added to and written again, and
//! then read once more: of two who do so at once, the one that is not in it begins again. What others
//! have in it stays as they wrote it.

use std::thread;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::RegistryError;
use super::client::{Client, Request};
use super::push;
use crate::image::ImageError;
use crate::image::digest::BlobDigest;
use crate::image::document::{Descriptor, DocumentError, Index, MAX_MANIFEST_BYTES};
use crate::image::media::OCI_INDEX;
use crate::retry::random;

/// The most pages of referrers that are asked for.
const MAX_PAGES: usize = 20;
/// How often the tag is written.
const MAX_WRITES: usize = 8;
/// How long others are given to overwrite what was written, at least.
const SETTLING: Duration = Duration::from_millis(200);

/// Everything that refers to `subject`.
pub(super) fn list(client: &Client, subject: BlobDigest) -> Result<Vec<Descriptor>, ImageError> {
    match kept(client, subject)? {
        Some(found) => Ok(found),
        None => {
            let Some(index) = tagged(client, &tag_of(subject))? else { return Ok(Vec::new()) };
            let index = Index::parse(index.to_string().as_bytes());
            Ok(index.map_err(ImageError::document(format!("the tag {}", tag_of(subject))))?.manifests)
        }
    }
}

/// The tag for what refers to a digest, as the distribution specification names it.
fn tag_of(digest: BlobDigest) -> String {
    let hex: String = digest.to_hex().chars().take(64).collect();
    format!("{}-{hex}", digest.algorithm())
}

/// What the registry keeps; none where it keeps nothing of the sort.
fn kept(client: &Client, subject: BlobDigest) -> Result<Option<Vec<Descriptor>>, ImageError> {
    let action = format!("read what refers to {subject}");
    let mut url = client.url(&format!("referrers/{subject}"))?;
    let mut found = Vec::new();
    for page in 0..MAX_PAGES {
        let answer =
            client.send(&Request::new(&action, Method::GET, url).header(header::ACCEPT, OCI_INDEX))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND if page == 0 => return Ok(None),
            _ => return Err(client.refused(&action, answer).into()),
        }
        let is_index = answer
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(OCI_INDEX.as_bytes()));
        if !is_index && page == 0 {
            return Ok(None);
        }
        let next = answer.headers().get(header::LINK).and_then(|link| link.to_str().ok()).and_then(next_page);
        let next = next.map(|next| client.resolve(next)).transpose()?;
        let bytes = client.body(answer, &action, MAX_MANIFEST_BYTES)?;
        found.extend(Index::parse(&bytes).map_err(ImageError::document(&action))?.manifests);
        match next {
            Some(next) => url = next,
            None => break,
        }
    }
    Ok(Some(found))
}

/// The address in `<ADDRESS>; rel="next"`.
fn next_page(link: &str) -> Option<&str> {
    let (address, relation) = link.trim().strip_prefix('<')?.split_once('>')?;
    let relation = relation.trim_start_matches([';', ' ']);
    matches!(relation, "rel=\"next\"" | "rel=next").then_some(address)
}

/// The index under a tag, as it was written; none where there is none.
fn tagged(client: &Client, tag: &str) -> Result<Option<Value>, ImageError> {
    let bytes = match super::manifest(client, tag) {
        Ok((bytes, _)) => bytes,
        Err(RegistryError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let what = || format!("the tag {tag}");
    let index: Result<Value, _> = serde_json::from_slice(&bytes);
    let index = index.map_err(|error| ImageError::document(what())(DocumentError::Json(error)))?;
    if index.get("manifests").is_some_and(Value::is_array) {
        return Ok(Some(index));
    }
    Err(ImageError::Refused {
        what: what(),
        why: "it is to hold what refers to an image, and is no index".to_owned(),
    })
}

/// Sees that the tag for `subject` names `referrer`.
pub(super) fn add(client: &Client, subject: BlobDigest, referrer: &Descriptor) -> Result<(), ImageError> {
    let tag = tag_of(subject);
    for _ in 0..MAX_WRITES {
        let began = Instant::now();
        let index = tagged(client, &tag)?;
        if index.as_ref().is_some_and(|index| names(index, referrer)) {
            return Ok(());
        }
        let bytes = with(index, referrer).to_string().into_bytes();
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(ImageError::TooLong { what: format!("the tag {tag}"), limit: MAX_MANIFEST_BYTES });
        }
        push::manifest(client, &tag, OCI_INDEX, bytes)?;
        // Whoever read before this was written writes about as soon as we did.
        let settling = SETTLING.max(began.elapsed() * 4);
        thread::sleep(settling + settling.mul_f64(random()));
    }
    if tagged(client, &tag)?.is_some_and(|index| names(&index, referrer)) {
        return Ok(());
    }
    Err(RegistryError::Contended { tag }.into())
}

fn names(index: &Value, referrer: &Descriptor) -> bool {
    let digest = referrer.digest.to_string();
    let listed = index["manifests"].as_array().into_iter().flatten();
    listed.into_iter().any(|listed| listed["digest"].as_str() == Some(&digest))
}

/// The index with one more, and what others put there unchanged.
fn with(index: Option<Value>, referrer: &Descriptor) -> Value {
    let mut index =
        index.unwrap_or_else(|| json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}));
    if let Some(listed) = index["manifests"].as_array_mut() {
        listed.push(json!(referrer));
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::media::OCI_MANIFEST;

    #[test]
    fn what_others_attached_stays_as_they_wrote_it() {
        let ours = Descriptor::of(OCI_MANIFEST, b"ours");
        let theirs =
            json!({"digest": "sha384:00", "size": 3, "mediaType": "x", "urls": ["u"], "later": {"a": 1}});
        let index = json!({"schemaVersion": 2, "annotations": {"k": "v"}, "manifests": [theirs]});
        assert!(!names(&index, &ours));
        let added = with(Some(index), &ours);
        assert!(names(&added, &ours));
        assert_eq!((&added["manifests"][0], &added["annotations"]["k"]), (&theirs, &json!("v")));
        let first = with(None, &ours);
        assert_eq!(Index::parse(first.to_string().as_bytes()).expect("an index").manifests, [ours]);
    }

    #[test]
    fn tags_and_pages_are_as_the_specification_names_them() {
        let digest = BlobDigest::of(b"");
        assert_eq!(tag_of(digest), digest.to_string().replace(':', "-"));
        let long: BlobDigest = format!("sha512:{}", "ab".repeat(64)).parse().expect("a digest");
        assert_eq!(tag_of(long), format!("sha512-{}", "ab".repeat(32)));
        assert_eq!(next_page("</v2/web/referrers/x?n=2>; rel=\"next\""), Some("/v2/web/referrers/x?n=2"));
        assert_eq!(next_page("</v2/x>; rel=\"prev\""), None);
        assert_eq!(next_page("/v2/x"), None);
    }
}
