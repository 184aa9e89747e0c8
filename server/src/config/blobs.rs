//! Where blobs lie: a directory or, where there is a table `[blobs]`, a bucket.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use reqwest::Url;

use super::ConfigError;
use super::file::{BlobsTable, ConfigFile};
use super::secrets::read_secret;
use crate::blobs::{AccessKey, BlobSettings, BucketSettings};

/// How much of the bucket is kept on this machine where nothing else is said.
const DEFAULT_CACHE_BYTES: u64 = 4 << 30;
/// Below this hardly a manifest would fit.
const LEAST_CACHE_BYTES: u64 = 1 << 20;
/// What Amazon takes for the default, and other stores do not look at.
const DEFAULT_REGION: &str = "us-east-1";
/// Object names may have 1024 bytes, and a blob's own has some 80.
const LONGEST_PREFIX: usize = 512;
const URL_MEND: &str = "write one such as \"s3://bucket/prefix\": a bucket's name as S3 has them, and then, if you \
     like, a prefix of letters, digits and -_.= in parts between single slashes";

pub(super) fn settings(
    file: &ConfigFile,
    folder: &Path,
    beside: &impl Fn(&Path) -> PathBuf,
) -> Result<BlobSettings, ConfigError> {
    let Some(table) = &file.blobs else {
        let stated = file.manifest_directory.as_deref().map(beside);
        return Ok(BlobSettings::Directory(stated.unwrap_or_else(|| folder.join("manifests"))));
    };
    if file.manifest_directory.is_some() {
        return Err(ConfigError::TwoPlaces);
    }
    let (bucket, prefix) = bucket_and_prefix(&table.url)?;
    let cache = table.cache_directory.as_deref().map(beside);
    Ok(BlobSettings::Bucket(Box::new(BucketSettings {
        bucket,
        prefix,
        region: region(table.region.as_deref())?,
        endpoint: endpoint(table)?,
        authority: authority(table, beside)?,
        key: key(table, beside)?,
        cache_directory: cache.unwrap_or_else(|| folder.join("blob-cache")),
        cache_bytes: cache_bytes(table.cache_bytes)?,
    })))
}

fn bucket_and_prefix(url: &str) -> Result<(String, String), ConfigError> {
    let split = url.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, "")));
    match split {
        Some((bucket, prefix)) if is_bucket(bucket) && is_prefix(prefix) => {
            Ok((bucket.to_owned(), prefix.to_owned()))
        }
        _ => Err(ConfigError::Value { key: "url", value: format!("{url:?}"), mend: URL_MEND }),
    }
}

/// The rules of
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>, as far as they matter for
/// what a bucket's name may do to a URL.
fn is_bucket(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [name.bytes().next(), name.bytes().next_back()];
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'.'))
        && ends.into_iter().flatten().all(plain)
        && !name.contains("..")
}

fn is_prefix(prefix: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=');
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(plain);
    prefix.is_empty() || (prefix.len() <= LONGEST_PREFIX && prefix.split('/').all(is_part))
}

fn region(region: Option<&str>) -> Result<String, ConfigError> {
    let region = region.unwrap_or(DEFAULT_REGION);
    let fits = (1..=63).contains(&region.len())
        && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if fits {
        return Ok(region.to_owned());
    }
    let mend = "write a region's name, such as \"eu-central-1\"";
    Err(ConfigError::Value { key: "region", value: format!("{region:?}"), mend })
}

/// Where the store is. Without TLS only on this machine, unless that is asked for.
fn endpoint(table: &BlobsTable) -> Result<Option<Url>, ConfigError> {
    let Some(text) = &table.endpoint else { return Ok(None) };
    let refuse = |mend| ConfigError::Value { key: "endpoint", value: format!("{text:?}"), mend };
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
    });
    let mend = "write one such as \"https://s3.example:9000\", without a path or a password";
    let url = url.ok_or_else(|| refuse(mend))?;
    if url.scheme() == "http" && !is_loopback(&url) && table.allow_http != Some(true) {
        let mend = "it has no TLS and is not on this machine: write https://, or `allow-http = true` where \
             whatever lies between may read manifests and change them on their way";
        return Err(refuse(mend));
    }
    Ok(Some(url))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn authority(table: &BlobsTable, beside: &impl Fn(&Path) -> PathBuf) -> Result<Option<Vec<u8>>, ConfigError> {
    let Some(path) = table.ca_certificate.as_deref().map(beside) else { return Ok(None) };
    match std::fs::read(&path) {
        Ok(pem) => Ok(Some(pem)),
        Err(source) => Err(ConfigError::BlobAuthority { path, source }),
    }
}

fn key(table: &BlobsTable, beside: &impl Fn(&Path) -> PathBuf) -> Result<Option<AccessKey>, ConfigError> {
    let (id, file) = match (&table.access_key_id, &table.secret_access_key_file) {
        (None, None) => return Ok(None),
        (Some(id), Some(file)) => (id.clone(), beside(file)),
        _ => return Err(ConfigError::HalfAKey),
    };
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') {
        let mend = "write it as the store gave it, without the secret";
        return Err(ConfigError::Value { key: "access-key-id", value: format!("{id:?}"), mend });
    }
    let (what, name) = ("the key of", "[blobs]".to_owned());
    let secret = read_secret(&file).map_err(|source| ConfigError::Secret { what, name, source })?;
    Ok(Some(AccessKey { id, secret }))
}

fn cache_bytes(bytes: Option<u64>) -> Result<u64, ConfigError> {
    let bytes = bytes.unwrap_or(DEFAULT_CACHE_BYTES);
    if bytes >= LEAST_CACHE_BYTES {
        return Ok(bytes);
    }
    let mend = "write how many bytes of copies may be kept, at least 1048576";
    Err(ConfigError::Value { key: "cache-bytes", value: bytes.to_string(), mend })
}
