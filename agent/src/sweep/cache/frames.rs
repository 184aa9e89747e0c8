//! Frames: pieces of a file, each with its length and a checksum.
//!
//! A checksum is over the piece and the checksum before it, so that pieces cannot
//! change places. A file that was cut off ends with the last whole frame.

use std::io::{self, ErrorKind, Read, Write};

use congruent_protocol::digest::{Algorithm, DIGEST_BYTES};

/// The largest piece taken.
const MAX_FRAME_BYTES: usize = 1 << 20;

pub(super) struct FrameWriter<W> {
    out: W,
    chain: [u8; DIGEST_BYTES],
}

pub(super) struct FrameReader<R> {
    input: R,
    chain: [u8; DIGEST_BYTES],
}

fn link(chain: &[u8; DIGEST_BYTES], piece: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut hasher = Algorithm::Blake3.hasher();
    hasher.update(chain);
    hasher.update(piece);
    *hasher.finish().as_bytes()
}

impl<W: Write> FrameWriter<W> {
    /// Frames of a file of the kind that `magic` names, which it begins with.
    pub(super) fn begin(mut out: W, magic: &[u8]) -> io::Result<Self> {
        out.write_all(magic)?;
        Ok(Self { out, chain: link(&[0; DIGEST_BYTES], magic) })
    }

    /// Writes one piece in one go.
    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let length = u32::try_from(piece.len()).ok().filter(|_| piece.len() <= MAX_FRAME_BYTES);
        let length = length.ok_or_else(|| io::Error::other("a piece is too large for a frame"))?;
        self.chain = link(&self.chain, piece);
        self.out.write_all(&[&length.to_le_bytes()[..], &self.chain, piece].concat())
    }
}

impl<R: Read> FrameReader<R> {
    /// Frames of a file that begins with `magic`; none where it does not.
    pub(super) fn begin(mut input: R, magic: &[u8]) -> io::Result<Option<Self>> {
        let mut found = vec![0; magic.len()];
        Ok(match whole(input.read_exact(&mut found))? {
            Some(()) if found == magic => Some(Self { input, chain: link(&[0; DIGEST_BYTES], magic) }),
            _ => None,
        })
    }

    /// Reads the next piece into `piece`; whether there is a whole one.
    pub(super) fn read(&mut self, piece: &mut Vec<u8>) -> io::Result<bool> {
        let (mut length, mut chain) = ([0; 4], [0; DIGEST_BYTES]);
        let head = self.input.read_exact(&mut length).and_then(|()| self.input.read_exact(&mut chain));
        let length = u32::from_le_bytes(length) as usize;
        if whole(head)?.is_none() || length > MAX_FRAME_BYTES {
            return Ok(false);
        }
        piece.resize(length, 0);
        if whole(self.input.read_exact(piece))?.is_none() || link(&self.chain, piece) != chain {
            return Ok(false);
        }
        self.chain = chain;
        Ok(true)
    }
}

impl<R: Read> FrameReader<R> {
    /// Whether nothing follows.
    pub(super) fn is_at_end(&mut self) -> bool {
        matches!(self.input.read(&mut [0]), Ok(0))
    }
}

/// None where the file ended early.
fn whole(read: io::Result<()>) -> io::Result<Option<()>> {
    match read {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: &[u8] = b"test\n";

    fn written() -> Vec<u8> {
        let mut frames = FrameWriter::begin(Vec::new(), MAGIC).unwrap();
        for piece in [&b"one"[..], b"", b"three"] {
            frames.write(piece).unwrap();
        }
        frames.out
    }

    fn read(bytes: &[u8]) -> Vec<Vec<u8>> {
        let Some(mut frames) = FrameReader::begin(bytes, MAGIC).unwrap() else { return Vec::new() };
        let (mut pieces, mut piece) = (Vec::new(), Vec::new());
        while frames.read(&mut piece).unwrap() {
            pieces.push(piece.clone());
        }
        pieces
    }

    #[test]
    fn what_is_whole_is_read_and_nothing_after_the_first_damage() {
        let (bytes, all) = (written(), [&b"one"[..], b"", b"three"]);
        assert_eq!(read(&bytes), all);
        // The ends of the magic and of each frame.
        let ends = [5, 5 + 36 + 3, 5 + 36 + 3 + 36, bytes.len()];
        let whole_before = |at: usize| ends[1..].iter().filter(|&&end| end <= at).count();
        for at in 0..bytes.len() {
            assert_eq!(read(&bytes[..at]), all[..whole_before(at)], "cut at {at}");
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x20;
            assert_eq!(read(&damaged), all[..whole_before(at)], "damaged at {at}");
        }
    }

    #[test]
    fn pieces_do_not_change_places() {
        let bytes = written();
        let (first, second) = (&bytes[5..5 + 39], &bytes[5 + 39..5 + 39 + 36]);
        assert!(read(&[MAGIC, second, first].concat()).is_empty());
        assert!(FrameWriter::begin(Vec::new(), MAGIC).unwrap().write(&vec![0; MAX_FRAME_BYTES + 1]).is_err());
    }
}
