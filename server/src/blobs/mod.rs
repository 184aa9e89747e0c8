//! Blobs: what never changes and is too large for the store: manifests, and large reports.
//! They lie in a directory or, for several collectors, in a bucket of an S3-compatible
//! store, and each is named by the digest of its bytes.
//!
//! What is given out was held to its name from its first byte to its last, each time:
//! a file that was cut or changed is an error that names it. A blob has its name only
//! when it is whole. From a bucket, blobs come by way of a bounded folder on this
//! machine, since they are read again from any position.

mod arrival;
mod bucket;
mod cache;
mod directory;
mod error;
mod name;
#[cfg(test)]
mod tests;
mod verify;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use congruent_protocol::digest::Algorithm;
use futures_util::{TryStreamExt, future};
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt};

pub(crate) use arrival::{Arrival, Arrived};
use bucket::Bucket;
pub(crate) use bucket::{AccessKey, BucketSettings};
use cache::Cache;
pub(crate) use error::BlobError;
pub(crate) use name::BlobName;
use verify::verified;

/// The largest blob: a manifest of a million entries has some 100 MB.
pub(crate) const MAX_BLOB_BYTES: u64 = 1 << 30;

/// Where blobs are to lie.
#[derive(Debug)]
pub(crate) enum BlobSettings {
    /// In this folder.
    Directory(PathBuf),
    /// In a bucket.
    Bucket(Box<BucketSettings>),
}

/// Where blobs lie.
#[derive(Clone)]
pub(crate) struct Blobs(Arc<Parts>);

struct Parts {
    objects: Box<dyn ObjectStore>,
    /// What every object's name begins with.
    prefix: object_store::path::Path,
    /// The same for people.
    place: String,
    local: Local,
}

/// The folder of this machine that blobs arrive in and are read from.
enum Local {
    /// The store itself.
    Place(PathBuf),
    /// Copies of what lies in a bucket.
    Copies(Cache),
}

impl Blobs {
    /// Makes ready the folder on this machine. A bucket is not asked for anything yet.
    pub(crate) fn open(settings: &BlobSettings) -> Result<Self, BlobError> {
        let parts = match settings {
            BlobSettings::Directory(folder) => Parts {
                objects: Box::new(directory::open(folder)?),
                prefix: object_store::path::Path::default(),
                place: folder.display().to_string(),
                local: Local::Place(folder.clone()),
            },
            BlobSettings::Bucket(settings) => {
                let Bucket { objects, prefix, place } = bucket::open(settings)?;
                let cache = Cache::open(&settings.cache_directory, settings.cache_bytes)?;
                Parts { objects, prefix, place, local: Local::Copies(cache) }
            }
        };
        Ok(Self(Arc::new(parts)))
    }

    /// Begins a blob of at most `limit` bytes.
    pub(crate) fn arrive(&self, limit: u64) -> Result<Arrival, BlobError> {
        Arrival::begin(Algorithm::Blake3, self.folder(), limit)
    }

    /// Keeps a blob: once this returns, it is durable. One that is there already is the
    /// same; where it was damaged, it is whole again.
    pub(crate) async fn put(&self, name: BlobName, arrived: Arrived) -> Result<(), BlobError> {
        let blobs = self.clone();
        // Not cut off when whoever sent it goes away: parts would stay in the bucket.
        let putting = tokio::spawn(async move { blobs.put_whole(name, arrived).await });
        putting.await.map_err(|_| BlobError::Ended)?
    }

    async fn put_whole(&self, name: BlobName, arrived: Arrived) -> Result<(), BlobError> {
        let parts = &self.0;
        match &parts.local {
            Local::Place(folder) => {
                let folder = folder.clone();
                blocking(move || directory::keep(&folder, name, arrived)).await
            }
            Local::Copies(cache) => {
                if !self.holds(name, arrived.bytes).await? {
                    let at = parts.path(&name.to_string());
                    let sent = bucket::upload(&*parts.objects, &at, arrived.file.as_file(), arrived.bytes);
                    sent.await.map_err(|error| error.during("put", || parts.shown(&name.to_string())))?;
                }
                // The copy is only saved time, and it is in the bucket now.
                if let Err(error) = cache.keep(name, arrived).await {
                    tracing::warn!(%name, "no copy of a blob is kept: {}", crate::ingest::chain_of(&error));
                }
                Ok(())
            }
        }
    }

    /// Whether the bucket has exactly this blob.
    async fn holds(&self, name: BlobName, bytes: u64) -> Result<bool, BlobError> {
        let parts = &self.0;
        let failed = |error| BlobError::of("read", parts.shown(&name.to_string()), error);
        match parts.objects.head(&parts.path(&name.to_string())).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(failed(error)),
            Ok(meta) if meta.size != bytes => return Ok(false),
            Ok(_) => {}
        }
        let found = match parts.objects.get(&parts.path(&name.to_string())).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            found => found.map_err(failed)?,
        };
        let mut hasher = name.digest().algorithm().hasher();
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.try_next().await.map_err(failed)? {
            hasher.update(&piece);
        }
        Ok(hasher.finish() == *name.digest())
    }

    /// The blob, held to its name, to be read from any position.
    pub(crate) async fn get(&self, name: BlobName) -> Result<Arc<File>, BlobError> {
        let parts = &self.0;
        let cache = match &parts.local {
            Local::Place(_) => return self.get_in_place(name).await,
            Local::Copies(cache) => cache,
        };
        let _turn = cache.turn(&name).await;
        if let Some(copy) = cache.get(name).await? {
            return Ok(copy);
        }
        let found = self.find(name).await?;
        let shown = parts.shown(&name.to_string());
        let arrived = bucket::download(found, name.digest().algorithm(), cache.folder(), &shown).await?;
        if arrived.digest != *name.digest() {
            return Err(BlobError::Damaged { blob: shown, found: arrived.digest });
        }
        cache.keep(name, arrived).await
    }

    async fn get_in_place(&self, name: BlobName) -> Result<Arc<File>, BlobError> {
        let shown = self.0.shown(&name.to_string());
        let GetResultPayload::File(file, _) = self.find(name).await?.payload else {
            return Err(BlobError::Missing { blob: shown });
        };
        blocking(move || match verified(&file, &name) {
            Ok(Ok(())) => Ok(Arc::new(file)),
            Ok(Err(found)) => Err(BlobError::Damaged { blob: shown, found }),
            Err(source) => Err(BlobError::Local { folder: PathBuf::from(shown), source }),
        })
        .await
    }

    async fn find(&self, name: BlobName) -> Result<object_store::GetResult, BlobError> {
        let parts = &self.0;
        let name = name.to_string();
        let found = parts.objects.get(&parts.path(&name)).await;
        found.map_err(|error| BlobError::of("read", parts.shown(&name), error))
    }

    /// Keeps bytes that are in memory as a blob.
    pub(crate) async fn put_bytes(&self, name: BlobName, bytes: Vec<u8>) -> Result<(), BlobError> {
        let blobs = self.clone();
        let arriving = blocking(move || {
            let mut arrival = blobs.arrive(MAX_BLOB_BYTES)?;
            arrival.take(&bytes)?;
            Ok(arrival.finish())
        });
        self.put(name, arriving.await?).await
    }

    /// What a blob holds, held to its name.
    pub(crate) async fn get_bytes(&self, name: BlobName) -> Result<Vec<u8>, BlobError> {
        let (file, shown) = (self.get(name).await?, self.0.shown(&name.to_string()));
        blocking(move || read(&file).map_err(|source| BlobError::Local { folder: shown.into(), source }))
            .await
    }

    /// Removes a blob, where it is there. A copy on a machine goes when others need its room.
    pub(crate) async fn remove(&self, name: BlobName) -> Result<(), BlobError> {
        let (parts, name) = (&self.0, name.to_string());
        match parts.objects.delete(&parts.path(&name)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            removed => removed.map_err(|error| BlobError::of("remove", parts.shown(&name), error)),
        }
    }

    /// Every blob that has a name; what lies beside them is left out.
    pub(crate) async fn list(&self) -> Result<Vec<BlobName>, BlobError> {
        let parts = &self.0;
        let named = parts.objects.list(Some(&parts.prefix));
        let names = named.try_filter_map(|object| {
            // What lies in a folder beneath is not ours, whatever its name.
            let own = object.location.prefix_match(&parts.prefix).is_some_and(|rest| rest.count() == 1);
            let name = object.location.filename().and_then(BlobName::parse);
            future::ready(Ok(name.filter(|_| own)))
        });
        names.try_collect().await.map_err(|error| BlobError::of("list", parts.place.clone(), error))
    }

    /// Fails unless blobs can be written, as far as that can be told by writing
    /// something else.
    pub(crate) async fn probe(&self) -> Result<(), BlobError> {
        match &self.0.local {
            Local::Place(_) => {
                let blobs = self.clone();
                blocking(move || blobs.arrive(0).map(drop)).await
            }
            Local::Copies(_) => bucket::probe(&*self.0.objects, &self.0.prefix, &self.0.place).await,
        }
    }

    fn folder(&self) -> &Path {
        match &self.0.local {
            Local::Place(folder) => folder,
            Local::Copies(cache) => cache.folder(),
        }
    }
}

impl Parts {
    fn path(&self, name: &str) -> object_store::path::Path {
        self.prefix.clone().join(name)
    }

    fn shown(&self, name: &str) -> String {
        format!("{}/{name}", self.place)
    }
}

fn read(file: &File) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Does what waits for a disk, away from the tasks that answer others.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| BlobError::Ended)?
}
