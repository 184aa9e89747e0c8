//! The tar stream of a layer: unpacked while it is read, and held to every digest
//! before anything that was made of it counts.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read};

use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::path::escape;

use super::digest::{BlobDigest, BlobHasher};
use super::media::Packing;
use super::source::Place;
use super::{Image, ImageError};
use crate::sweep::Counters;

const BUFFER_BYTES: usize = 128 << 10;
/// The largest window of a zstd frame, as a power of two: what zstd itself takes without being asked.
const ZSTD_WINDOW_LOG: u32 = 27;

impl Image {
    /// How many bytes of layers are read in all, as they are stored; none where nothing tells.
    pub(crate) fn packed_bytes(&self) -> Option<u64> {
        let sizes = self.layers.iter().map(|layer| match &layer.place {
            Place::Blob(descriptor) => Some(descriptor.size),
            Place::Member(_) => None,
        });
        sizes.sum()
    }

    /// Gives the uncompressed tar stream of the layer with this index, lowest first, to `read`.
    /// `counters` count the bytes as they are stored.
    ///
    /// What `read` made of it is returned only where the blob is the one that the manifest names
    /// and the stream is the one that the configuration names; what `read` leaves over is read
    /// for that.
    pub(crate) fn layer<T, E: From<ImageError>>(
        &self,
        index: usize,
        counters: &Counters,
        read: impl FnOnce(&mut dyn Read) -> Result<T, E>,
    ) -> Result<T, E> {
        let what = self.name(index);
        let failure = RefCell::new(None);
        let mut stream = self.stream(index, &what, counters, &failure)?;
        let made = read(&mut stream);
        // A failure of the stream explains what the reader made of it.
        if let Some(error) = failure.take() {
            return Err(stream.explain(error, &failure).into());
        }
        if let Err(error) = io::copy(&mut stream, &mut io::sink()) {
            let error = taken(&failure, error, &what);
            return Err(stream.explain(error, &failure).into());
        }
        stream.finish(&failure)?;
        made
    }

    /// A layer, by its diff_id and, where it has one, its blob's digest.
    fn name(&self, index: usize) -> String {
        let blob = match &self.layers[index].place {
            Place::Blob(descriptor) => format!(", the blob {}", descriptor.digest),
            Place::Member(name) => format!(", {}", escape(name.as_bytes())),
        };
        format!("layer {} of {} ({}{blob})", index + 1, self.layers.len(), self.diff_ids[index])
    }

    fn stream<'a>(
        &'a self,
        index: usize,
        what: &'a str,
        counters: &'a Counters,
        failure: &'a RefCell<Option<ImageError>>,
    ) -> Result<Stream<'a>, ImageError> {
        let layer = &self.layers[index];
        let (digest, size) = match &layer.place {
            Place::Blob(descriptor) => (Some(descriptor.digest), Some(descriptor.size)),
            Place::Member(_) => (None, None),
        };
        let blob = Blob {
            inner: self.source.blob(&layer.place)?,
            hasher: digest.map(|digest| digest.hasher()),
            digest,
            size,
            count: 0,
            what,
            counters,
            failure,
        };
        let mut blob = BufReader::with_capacity(BUFFER_BYTES, blob);
        let magic = first_bytes(&mut blob).map_err(|error| taken(failure, error, what))?;
        let packing = match layer.packing {
            None => magic,
            Some(said) if said == magic => said,
            Some(said) => {
                let (said, found) = (said.name(), magic.name());
                return Err(ImageError::Packing { what: what.to_owned(), said, found });
            }
        };
        let unpacked = Unpacked::new(packing, blob).map_err(|error| taken(failure, error, what))?;
        let hasher = Algorithm::Sha256.hasher();
        Ok(Stream {
            unpacked,
            hasher,
            count: 0,
            limit: self.max_layer_bytes,
            diff_id: self.diff_ids[index],
            what,
            failure,
        })
    }
}

/// What kept the stream from being read: what was noted, or this.
fn taken(failure: &RefCell<Option<ImageError>>, error: io::Error, what: &str) -> ImageError {
    failure.take().unwrap_or_else(|| ImageError::read(what)(error))
}

/// Notes why a stream ends; whoever reads it learns only that it does.
fn note(failure: &RefCell<Option<ImageError>>, error: ImageError) -> io::Error {
    let told = io::Error::other(error.to_string());
    failure.borrow_mut().get_or_insert(error);
    told
}

fn first_bytes(blob: &mut impl BufRead) -> io::Result<Packing> {
    loop {
        match blob.fill_buf() {
            Ok(first) => return Ok(Packing::by_magic(first)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A blob as it is stored.
struct Blob<'a> {
    inner: Box<dyn Read + Send + 'a>,
    digest: Option<BlobDigest>,
    size: Option<u64>,
    hasher: Option<BlobHasher>,
    count: u64,
    what: &'a str,
    counters: &'a Counters,
    failure: &'a RefCell<Option<ImageError>>,
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.inner.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(note(self.failure, ImageError::read(self.what)(error))),
            Ok(count) => count,
        };
        self.count += count as u64;
        self.counters.add_bytes(count as u64);
        if let Some(stated) = self.size
            && self.count > stated
        {
            return Err(note(self.failure, ImageError::Longer { what: self.what.to_owned(), stated }));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

impl Blob<'_> {
    /// Holds what was read, which is all there is, to what was to be there.
    fn finish(self) -> Result<(), ImageError> {
        let what = || format!("the blob of {}", self.what);
        if let Some(stated) = self.size
            && stated != self.count
        {
            return Err(ImageError::Size { what: what(), stated, found: self.count });
        }
        let found = self.hasher.map(BlobHasher::finish);
        match (self.digest, found) {
            (Some(stated), Some(found)) if stated != found => Err(ImageError::digest(what(), stated, found)),
            _ => Ok(()),
        }
    }
}

/// A blob on its way out of its packing.
enum Unpacked<'a> {
    Plain(Box<BufReader<Blob<'a>>>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<Blob<'a>>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<Blob<'a>>>>),
}

impl<'a> Unpacked<'a> {
    fn new(packing: Packing, blob: BufReader<Blob<'a>>) -> io::Result<Self> {
        Ok(match packing {
            Packing::Plain => Self::Plain(Box::new(blob)),
            Packing::Gzip => Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(blob))),
            Packing::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(blob)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    fn into_blob(self) -> BufReader<Blob<'a>> {
        match self {
            Self::Plain(blob) => *blob,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish(),
        }
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(blob) => blob.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// The uncompressed stream.
struct Stream<'a> {
    unpacked: Unpacked<'a>,
    hasher: congruent_protocol::digest::Hasher,
    count: u64,
    limit: u64,
    diff_id: Digest,
    what: &'a str,
    failure: &'a RefCell<Option<ImageError>>,
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.unpacked.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            // Where the blob failed, that was noted first, and stays.
            Err(source) => {
                return Err(note(self.failure, ImageError::Unpack { what: self.what.to_owned(), source }));
            }
            Ok(count) => count,
        };
        self.count += count as u64;
        if self.count > self.limit {
            return Err(note(
                self.failure,
                ImageError::Bomb { what: self.what.to_owned(), limit: self.limit },
            ));
        }
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

impl Stream<'_> {
    /// Holds a stream that was read to its end to both digests.
    fn finish(self, failure: &RefCell<Option<ImageError>>) -> Result<(), ImageError> {
        let Self { unpacked, hasher, diff_id: stated, what, .. } = self;
        let is_blob_known = finish_blob(unpacked, what, failure)?;
        let found = hasher.finish();
        if found == stated {
            return Ok(());
        }
        if is_blob_known {
            return Err(ImageError::DiffId { what: what.to_owned(), stated, found });
        }
        let [stated, found] = [stated, found].map(|digest| BlobDigest::Sha256(*digest.as_bytes()));
        Err(ImageError::digest(format!("the stream of {what}"), stated, found))
    }

    /// What does not unpack was mostly altered, and then the blob's digest says so.
    fn explain(self, error: ImageError, failure: &RefCell<Option<ImageError>>) -> ImageError {
        if !matches!(error, ImageError::Unpack { .. }) {
            return error;
        }
        finish_blob(self.unpacked, self.what, failure).err().unwrap_or(error)
    }
}

/// Reads the rest of a blob, which also has what follows the end of a packed stream, and
/// holds it to its digest; gives whether it has one.
fn finish_blob(
    unpacked: Unpacked<'_>,
    what: &str,
    failure: &RefCell<Option<ImageError>>,
) -> Result<bool, ImageError> {
    let mut blob = unpacked.into_blob();
    io::copy(&mut blob, &mut io::sink()).map_err(|error| taken(failure, error, what))?;
    let blob = blob.into_inner();
    let is_known = blob.digest.is_some();
    blob.finish()?;
    Ok(is_known)
}
