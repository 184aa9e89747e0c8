//! Blobs in a bucket of an S3-compatible store. Objects appear whole or not at all;
//! what was sent of one when a collector was killed stays as parts that nobody sees,
//! until the store's own rule for such parts lets them go.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use congruent_protocol::digest::Algorithm;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as ObjectPath;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, GetResult, MultipartUpload, ObjectStore, ObjectStoreExt,
    RetryConfig,
};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::error::SendError;
use super::{Arrival, Arrived, BlobError, MAX_BLOB_BYTES, blocking};

/// How much is sent at once, which is held in memory. S3 takes no smaller parts.
pub(super) const PART_BYTES: u64 = 5 << 20;
/// Pieces that wait to be written.
const PIECES_WAITING: usize = 8;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the store may say nothing, also while it takes a part.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long what failed is tried again before the caller is told to come back.
const RETRY_TIMEOUT: Duration = Duration::from_secs(5);
const RETRIES: usize = 3;
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// What is written to see whether anything can be.
const PROBE: &str = "congruent-probe";

/// How a bucket is reached.
#[derive(Debug)]
pub(crate) struct BucketSettings {
    pub(crate) bucket: String,
    /// What every object's name begins with; may be empty.
    pub(crate) prefix: String,
    pub(crate) region: String,
    /// Where the store is, unless it is Amazon's.
    pub(crate) endpoint: Option<reqwest::Url>,
    /// Certificates in PEM that vouch for the endpoint, beside the system's.
    pub(crate) authority: Option<Vec<u8>>,
    /// None where the machine's role is to be used.
    pub(crate) key: Option<AccessKey>,
    /// Where copies lie.
    pub(crate) cache_directory: PathBuf,
    /// How much of them is kept.
    pub(crate) cache_bytes: u64,
}

/// What signs requests.
pub(crate) struct AccessKey {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AccessKey").field(&self.id).finish_non_exhaustive()
    }
}

/// A bucket, and where in it blobs lie.
pub(super) struct Bucket {
    pub(super) objects: Box<AmazonS3>,
    pub(super) prefix: ObjectPath,
    /// For people.
    pub(super) place: String,
}

/// Makes ready to speak to the bucket. Nothing is sent.
pub(super) fn open(settings: &BucketSettings) -> Result<Bucket, BlobError> {
    let invalid = |error| BlobError::Settings(Box::new(error));
    let mut client = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(READ_TIMEOUT)
        // The configuration has refused it where it is not to be.
        .with_allow_http(true);
    if let Some(pem) = &settings.authority {
        for certificate in Certificate::from_pem_bundle(pem).map_err(invalid)? {
            client = client.with_root_certificate(certificate);
        }
    }
    let backoff = BackoffConfig { max_backoff: LONGEST_BACKOFF, ..BackoffConfig::default() };
    let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&settings.bucket)
        .with_region(&settings.region)
        .with_client_options(client)
        .with_retry(retry)
        // Needs no other right than to delete one, and fewer stores lack it.
        .with_disable_bulk_delete(true);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
    }
    if let Some(key) = &settings.key {
        builder = builder.with_access_key_id(&key.id).with_secret_access_key(&key.secret);
    }
    let prefix =
        ObjectPath::parse(&settings.prefix).map_err(|error| BlobError::Settings(Box::new(error.into())))?;
    let place = match settings.prefix.as_str() {
        "" => format!("s3://{}", settings.bucket),
        prefix => format!("s3://{}/{prefix}", settings.bucket),
    };
    Ok(Bucket { objects: Box::new(builder.build().map_err(invalid)?), prefix, place })
}

/// Sends a file of this length.
pub(super) async fn upload(
    objects: &dyn ObjectStore,
    at: &ObjectPath,
    file: &File,
    bytes: u64,
) -> Result<(), SendError> {
    if bytes <= PART_BYTES {
        let whole = read_part(file, 0, bytes).await?;
        return objects.put(at, whole.into()).await.map(drop).map_err(SendError::Store);
    }
    let mut upload = objects.put_multipart(at).await.map_err(SendError::Store)?;
    let sent = send_parts(&mut *upload, file, bytes).await;
    if sent.is_err()
        && let Err(error) = upload.abort().await
    {
        warn!(object = %at, "parts of an object that was not put may stay in the bucket: {error}");
    }
    sent
}

async fn send_parts(upload: &mut dyn MultipartUpload, file: &File, bytes: u64) -> Result<(), SendError> {
    let mut position = 0;
    while position < bytes {
        let part = read_part(file, position, PART_BYTES.min(bytes - position)).await?;
        position += part.len() as u64;
        upload.put_part(part.into()).await.map_err(SendError::Store)?;
    }
    upload.complete().await.map(drop).map_err(SendError::Store)
}

/// Reads so much of a file, or fails.
async fn read_part(file: &File, position: u64, bytes: u64) -> Result<Bytes, SendError> {
    let file = file.try_clone().map_err(SendError::File)?;
    let reading = spawn_blocking(move || {
        let mut part = vec![0; bytes as usize];
        file.read_exact_at(&mut part, position).map(|()| Bytes::from(part))
    });
    reading.await.map_err(std::io::Error::other).and_then(|read| read).map_err(SendError::File)
}

/// Writes down what was found, in `folder`. Nothing says yet that it is what its name
/// says.
pub(super) async fn download(
    found: GetResult,
    algorithm: Algorithm,
    folder: &Path,
    blob: &str,
) -> Result<Arrived, BlobError> {
    let folder = folder.to_owned();
    let mut arrival = blocking(move || Arrival::begin(algorithm, &folder, MAX_BLOB_BYTES)).await?;
    let (send, mut pieces) = mpsc::channel::<Bytes>(PIECES_WAITING);
    let receiving = blocking(move || {
        while let Some(piece) = pieces.blocking_recv() {
            arrival.take(&piece)?;
        }
        Ok(arrival.finish())
    });
    let mut stream = found.into_stream();
    let sending = async move {
        while let Some(piece) = stream.try_next().await? {
            if send.send(piece).await.is_err() {
                break;
            }
        }
        Ok::<(), object_store::Error>(())
    };
    let (arrived, sent) = tokio::join!(receiving, sending);
    sent.map_err(|error| BlobError::of("read", blob.to_owned(), error))?;
    arrived
}

/// Fails unless the bucket can be listed and written.
pub(super) async fn probe(
    objects: &dyn ObjectStore,
    prefix: &ObjectPath,
    place: &str,
) -> Result<(), BlobError> {
    let (at, shown) = (prefix.clone().join(PROBE), format!("{place}/{PROBE}"));
    // Some stores make a bucket that is missing when something is put into it.
    let listed = objects.list(Some(prefix)).try_next().await;
    listed.map_err(|error| BlobError::of("list", place.to_owned(), error))?;
    let put = objects.put(&at, Bytes::from_static(b"congruent").into()).await;
    put.map_err(|error| BlobError::of("put", shown.clone(), error))?;
    if let Err(error) = objects.delete(&at).await {
        // It is one small object, and a key may well lack this right.
        warn!("what was written to see whether the bucket can be stays as {shown}: {error}");
    }
    Ok(())
}
