//! Copies of blobs on this machine: a folder with a limit, from which those go first
//! that nobody has asked for the longest.
//!
//! A copy is held to its name whenever it is asked for, so nothing here needs to be
//! synced: what a crash left half, or anyone changed, is fetched again. Files that are
//! in use stay, even over the limit; their bytes would stay without a name as well.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};
use std::time::SystemTime;

use tokio::sync::{Mutex, MutexGuard};
use tracing::warn;

use super::verify::verified;
use super::{Arrived, BlobError, BlobName, arrival, blocking};

/// How many blobs are fetched or looked at at once.
const TURNS: usize = 4;

/// A folder of copies.
#[derive(Clone)]
pub(super) struct Cache(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    limit: u64,
    /// A blob's turn is chosen by its digest, so that it is fetched once when several
    /// ask for it.
    turns: [Mutex<()>; TURNS],
    in_use: StdMutex<HashMap<BlobName, Weak<File>>>,
    /// Held while room is made.
    making_room: StdMutex<()>,
}

impl Cache {
    /// The folder, made where it is missing, and without what a crash left.
    pub(super) fn open(folder: &Path, limit: u64) -> Result<Self, BlobError> {
        arrival::make(folder)?;
        arrival::clear(folder)?;
        Ok(Self(Arc::new(Inner {
            folder: folder.to_owned(),
            limit,
            turns: Default::default(),
            in_use: StdMutex::default(),
            making_room: StdMutex::default(),
        })))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// Waits until nobody else fetches this blob.
    pub(super) async fn turn(&self, name: &BlobName) -> MutexGuard<'_, ()> {
        self.0.turns[usize::from(name.digest().as_bytes()[0]) % TURNS].lock().await
    }

    /// The copy of a blob, where there is a good one.
    pub(super) async fn get(&self, name: BlobName) -> Result<Option<Arc<File>>, BlobError> {
        let inner = Arc::clone(&self.0);
        blocking(move || inner.get(name).map_err(|source| inner.failed(source))).await
    }

    /// Keeps a copy, as far as there is room, and gives it.
    pub(super) async fn keep(&self, name: BlobName, arrived: Arrived) -> Result<Arc<File>, BlobError> {
        let inner = Arc::clone(&self.0);
        blocking(move || inner.keep(name, arrived).map_err(|source| inner.failed(source))).await
    }
}

impl Inner {
    fn failed(&self, source: io::Error) -> BlobError {
        BlobError::Local { folder: self.folder.clone(), source }
    }

    fn get(&self, name: BlobName) -> io::Result<Option<Arc<File>>> {
        let path = self.folder.join(name.to_string());
        let file = match self.used(&name) {
            Some(file) => file,
            None => match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => Arc::new(file?),
            },
        };
        if verified(&file, &name)?.is_err() {
            warn!(copy = %path.display(), "a copy is not what its name says, and is fetched again");
            return self.remove(&name).map(|()| None);
        }
        // Only the order in which copies go depends on it.
        let _ = file.set_modified(SystemTime::now());
        self.use_from_now(name, &file);
        Ok(Some(file))
    }

    fn remove(&self, name: &BlobName) -> io::Result<()> {
        self.all_used().remove(name);
        gone(fs::remove_file(self.folder.join(name.to_string())))
    }

    fn keep(&self, name: BlobName, arrived: Arrived) -> io::Result<Arc<File>> {
        let Arrived { file, bytes, .. } = arrived;
        // Nobody else need wait for it from now on.
        file.as_file().unlock()?;
        if bytes > self.limit {
            return Ok(Arc::new(file.into_file()));
        }
        let _room = self.making_room.lock().unwrap_or_else(PoisonError::into_inner);
        self.make_room(bytes, &name)?;
        let file = file.persist(self.folder.join(name.to_string())).map_err(|error| error.error)?;
        let file = Arc::new(file);
        self.use_from_now(name, &file);
        Ok(file)
    }

    /// Lets copies go until `bytes` more fit, those first that were asked for the
    /// longest ago.
    fn make_room(&self, bytes: u64, except: &BlobName) -> io::Result<()> {
        let mut copies = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().and_then(BlobName::parse) else { continue };
            match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                about => {
                    let about = about?;
                    copies.push((about.modified()?, about.len(), name));
                }
            }
        }
        copies.retain(|(_, _, name)| name != except);
        copies.sort();
        let mut held: u64 = copies.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, name) in copies {
            if held.saturating_add(bytes) <= self.limit {
                break;
            }
            if self.used(&name).is_none() {
                gone(fs::remove_file(self.folder.join(name.to_string())))?;
                held -= size;
            }
        }
        Ok(())
    }

    fn used(&self, name: &BlobName) -> Option<Arc<File>> {
        self.all_used().get(name)?.upgrade()
    }

    fn use_from_now(&self, name: BlobName, file: &Arc<File>) {
        let mut used = self.all_used();
        used.retain(|_, file| file.strong_count() > 0);
        used.insert(name, Arc::downgrade(file));
    }

    fn all_used(&self) -> std::sync::MutexGuard<'_, HashMap<BlobName, Weak<File>>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is not there need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
