//! Compression of what is small and many: with zstd, each thread by a context that it
//! keeps, since to make one is much of what compressing a report costs.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

/// Level of compression: much is written, and little of it is ever read.
const LEVEL: i32 = 1;
/// What is larger has a context of its own: one that is kept grows with what it was used for.
pub(crate) const SMALL_BYTES: usize = 256 << 10;
/// The longest that is decompressed in one step, where nothing says what becomes of it.
pub(crate) const SMALL_PACKED_BYTES: usize = 32 << 10;

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses bytes of any length.
pub(crate) fn pack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    if bytes.len() > SMALL_BYTES {
        return zstd::encode_all(bytes, LEVEL);
    }
    COMPRESSOR.with_borrow_mut(|kept| kept_or(kept, || Compressor::new(LEVEL))?.compress(bytes))
}

/// Decompresses what the collector compressed itself, of any length; and what a node sent,
/// where that is small and becomes small: however it is framed, it comes back.
pub(crate) fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    let at_most = match get_frame_content_size(packed) {
        _ if packed.len() <= SMALL_PACKED_BYTES => SMALL_BYTES,
        Ok(Some(bytes)) if bytes <= SMALL_BYTES as u64 => bytes as usize,
        _ => return zstd::decode_all(packed),
    };
    unpack_at_most(packed, at_most).or_else(|_| zstd::decode_all(packed))
}

/// Decompresses in one step; fails where it is damaged, or longer than it may be.
pub(crate) fn unpack_at_most(packed: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|kept| kept_or(kept, Decompressor::new)?.decompress(packed, limit))
}

fn kept_or<T>(kept: &mut Option<T>, make: impl FnOnce() -> io::Result<T>) -> io::Result<&mut T> {
    match kept {
        Some(kept) => Ok(kept),
        None => Ok(kept.insert(make()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_whatever_packed_it() {
        for length in [0, 1, 1000, SMALL_BYTES, SMALL_BYTES + 1, 5 << 20] {
            let bytes: Vec<u8> = (0..length).map(|at| (at / 7 % 251) as u8).collect();
            assert_eq!(unpack(&pack(&bytes).unwrap()).unwrap(), bytes, "{length}");
            // As older collectors did, without the length in front.
            let streamed = zstd::encode_all(&bytes[..], LEVEL).unwrap();
            assert_eq!(unpack(&streamed).unwrap(), bytes, "{length}");
        }
        // In several frames, and with a window that no stream is given.
        let frame = |bytes: &[u8]| {
            let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL).unwrap();
            encoder.window_log(30).unwrap();
            io::Write::write_all(&mut encoder, bytes).unwrap();
            encoder.finish().unwrap()
        };
        let framed = [frame(b"one "), frame(b"and two")].concat();
        assert!(zstd::decode_all(&framed[..]).is_err(), "its window is too large");
        assert_eq!(unpack(&framed).unwrap(), b"one and two");
        unpack(b"no zstd at all").unwrap_err();
        let packed = pack(&[7; 1000]).unwrap();
        assert_eq!(unpack_at_most(&packed, 1000).unwrap().len(), 1000);
        unpack_at_most(&packed, 999).unwrap_err();
    }
}
