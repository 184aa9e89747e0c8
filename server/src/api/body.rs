//! Bodies: compressed or not, never longer than they may be once decompressed, and
//! never more of them at once than there is room for.

use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderValue, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::ingest::Refused;
use crate::metrics;
use crate::packed::{SMALL_BYTES, SMALL_PACKED_BYTES, unpack_at_most};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a body that is too large is read and dropped, so that its sender
/// comes to read the answer instead of finding the connection closed.
const DROPPED_BYTES: usize = 256 << 20;
/// The largest zstd window taken, as a power of two: what `zstd` itself uses at most
/// without being asked for more.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Into how many times its length a small body is decompressed in one step; what becomes
/// larger is decompressed as a stream.
const SMALL_RATIO: usize = 8;
/// What may come of the shortest of them, which are compressed the most.
const LEAST_BYTES: usize = 4096;
/// What a permit stands for, in bytes.
const PERMIT_BYTES: usize = 4096;

/// A lane: the bytes of all bodies that are under way in it at once. What does not fit
/// comes later.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    room: Arc<Semaphore>,
    permits: usize,
    metrics: metrics::Lane,
}

impl Lane {
    /// A lane with room for so many bytes.
    pub(super) fn with_room_for(bytes: usize, metrics: metrics::Lane) -> Self {
        let permits = bytes.div_ceil(PERMIT_BYTES);
        Self { room: Arc::new(Semaphore::new(permits)), permits, metrics }
    }

    /// How much it has room for.
    pub(super) fn capacity_bytes(&self) -> usize {
        self.permits * PERMIT_BYTES
    }

    /// How much of that is taken.
    pub(super) fn used_bytes(&self) -> usize {
        (self.permits - self.room.available_permits()) * PERMIT_BYTES
    }
}

/// A body, and the room that it takes until it is dropped.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) bytes: Vec<u8>,
    /// As it was sent, where it came compressed and small.
    pub(super) packed: Option<Vec<u8>>,
    _room: Vec<OwnedSemaphorePermit>,
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    lane: &Lane,
) -> Result<Arrived, Refused> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    let length = body.size_hint().exact().unwrap_or(u64::MAX);
    let read = match encoding {
        None | Some(b"identity") => {
            receive(body, Decoder::Plain(Sink::new(limit, lane)), &lane.metrics).await
        }
        Some(b"zstd") if length <= SMALL_PACKED_BYTES as u64 => read_small(body, limit, lane).await,
        Some(b"zstd") => receive(body, Decoder::zstd(Sink::new(limit, lane))?, &lane.metrics).await,
        Some(other) => {
            let other = String::from_utf8_lossy(other).chars().take(40).collect();
            return Err(Refused::Encoding(other));
        }
    };
    match &read {
        Ok(arrived) => {
            lane.metrics.decompressed.inc_by(arrived.bytes.len() as u64);
        }
        Err(Refused::Busy) => {
            lane.metrics.refused.inc();
        }
        Err(_) => {}
    }
    read
}

/// Reads a small body whole before it is decompressed, in one step: a stream's window
/// takes megabytes, and making it longer than all else that is done for a sign of life.
async fn read_small(body: Body, limit: usize, lane: &Lane) -> Result<Arrived, Refused> {
    let packed = receive(body, Decoder::Plain(Sink::new(SMALL_PACKED_BYTES, lane)), &lane.metrics).await?;
    let mut sink = Sink::new(limit, lane);
    let at_most = limit.min(SMALL_BYTES).min(packed.bytes.len() * SMALL_RATIO + LEAST_BYTES);
    match unpack_at_most(&packed.bytes, at_most) {
        Ok(bytes) => {
            sink.adopt(bytes);
            let mut whole = Decoder::Plain(sink).finish()?;
            whole._room.extend(packed._room);
            Ok(Arrived { packed: Some(packed.bytes), ..whole })
        }
        // It is larger than most, or may not be as large: a stream tells.
        Err(_) => {
            let mut decoder = Decoder::zstd(sink)?;
            let _ = decoder.take(&packed.bytes.into());
            decoder.finish()
        }
    }
}

/// Reads a body to its end, within its time.
async fn receive(body: Body, decoder: Decoder, metrics: &metrics::Lane) -> Result<Arrived, Refused> {
    timeout(BODY_TIMEOUT, decode(body, decoder, metrics)).await.unwrap_or(Err(Refused::Cut))
}

async fn decode(mut body: Body, mut decoder: Decoder, metrics: &metrics::Lane) -> Result<Arrived, Refused> {
    let mut dropped = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|_| Refused::Cut)?.into_data() else { continue };
        metrics.received.inc_by(data.len() as u64);
        if decoder.take(&data).is_err() {
            dropped += data.len();
            if dropped > DROPPED_BYTES {
                break;
            }
        }
    }
    decoder.finish()
}

/// Where decompressed bytes go. After a refusal it takes nothing more.
struct Sink {
    bytes: Vec<u8>,
    limit: usize,
    lane: Lane,
    room: Vec<OwnedSemaphorePermit>,
    refused: Option<Refused>,
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.refused.is_none() {
            self.refused = self.refusal_of(data.len());
        }
        if self.refused.is_some() {
            self.bytes = Vec::new();
            self.room = Vec::new();
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn new(limit: usize, lane: &Lane) -> Self {
        Self { bytes: Vec::new(), limit, lane: lane.clone(), room: Vec::new(), refused: None }
    }

    /// Takes bytes that are there whole.
    fn adopt(&mut self, mut bytes: Vec<u8>) {
        // It was made for the most that might come of it.
        bytes.shrink_to_fit();
        self.refused = self.refusal_of(bytes.len());
        if self.refused.is_none() {
            self.bytes = bytes;
        }
    }

    /// Why so many more bytes cannot be taken; takes the room for them otherwise.
    fn refusal_of(&mut self, more: usize) -> Option<Refused> {
        let length = self.bytes.len() + more;
        if length > self.limit {
            return Some(Refused::TooLarge { limit: self.limit });
        }
        let missing = length.div_ceil(PERMIT_BYTES).saturating_sub(self.permits());
        let wanted = u32::try_from(missing).unwrap_or(u32::MAX);
        match Arc::clone(&self.lane.room).try_acquire_many_owned(wanted) {
            Ok(permit) => {
                self.room.push(permit);
                None
            }
            Err(_) => Some(Refused::Busy),
        }
    }

    fn permits(&self) -> usize {
        self.room.iter().map(OwnedSemaphorePermit::num_permits).sum()
    }
}

enum Decoder {
    Plain(Sink),
    Zstd(zstd::stream::write::Decoder<'static, Sink>),
}

impl Decoder {
    fn zstd(sink: Sink) -> Result<Self, Refused> {
        let mut decoder = zstd::stream::write::Decoder::new(sink).map_err(|_| Refused::Failed)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| Refused::Failed)?;
        Ok(Self::Zstd(decoder))
    }

    fn take(&mut self, data: &Bytes) -> io::Result<()> {
        match self {
            Self::Plain(sink) => sink.write_all(data),
            Self::Zstd(decoder) => decoder.write_all(data),
        }
    }

    fn finish(self) -> Result<Arrived, Refused> {
        let (flushed, sink) = match self {
            Self::Plain(sink) => (Ok(()), sink),
            Self::Zstd(mut decoder) => (decoder.flush(), decoder.into_inner()),
        };
        match sink.refused {
            Some(refused) => Err(refused),
            None if flushed.is_err() => Err(Refused::Encoding("damaged zstd".to_owned())),
            None => Ok(Arrived { bytes: sink.bytes, packed: None, _room: sink.room }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    async fn check(
        encoding: Option<&'static str>,
        body: Vec<u8>,
        limit: usize,
    ) -> Result<usize, &'static str> {
        let mut headers = HeaderMap::new();
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
        }
        let lane = Lane::with_room_for(1 << 20, metrics::Lane::default());
        let read = async |body| {
            let read = read(&headers, body, limit, &lane).await;
            let read = read.map(|arrived| arrived.bytes).map_err(|refused| refused.code());
            assert_eq!((lane.used_bytes(), lane.capacity_bytes()), (0, 1 << 20), "all room is given back");
            read
        };
        let whole = read(Body::from(body.clone())).await;
        // In pieces, and without a word of how many.
        let pieces = body.chunks(7).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)));
        let streamed = read(Body::from_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()))).await;
        assert_eq!(whole, streamed, "either way");
        whole.map(|bytes| bytes.len())
    }

    #[tokio::test]
    async fn limits_count_what_is_decompressed() {
        let packed = |bytes: usize| zstd::encode_all(&vec![b'x'; bytes][..], 19).unwrap();
        let mut broken = packed(5000);
        broken.truncate(10);
        for (encoding, body, limit, outcome) in [
            (None, vec![b'x'; 100], 100, Ok(100)),
            (None, vec![b'x'; 101], 100, Err("body-too-large")),
            (Some("zstd"), packed(100_000), 100_000, Ok(100_000)),
            (Some("zstd"), packed(100_001), 100_000, Err("body-too-large")),
            // A few KiB that would be half a gigabyte.
            (Some("zstd"), packed(512 << 20), 100_000, Err("body-too-large")),
            (Some("zstd"), packed(2 << 20), 4 << 20, Err("busy")),
            (Some("zstd"), b"no zstd at all".to_vec(), 100, Err("malformed")),
            (Some("gzip"), vec![], 100, Err("malformed")),
        ] {
            let length = body.len();
            assert_eq!(check(encoding, body, limit).await, outcome, "{encoding:?} {length} {limit}");
        }
        assert_eq!(check(Some("zstd"), broken, 10_000).await.unwrap_or(0), 0);
    }
}
