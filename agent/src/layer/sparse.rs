//! Which parts of a sparse file an archive holds, in the forms that GNU tar writes.
//!
//! Format: GNU tar's manual, "Storing Sparse Files": the old form in headers, 0.0 and
//! 0.1 in extended headers, 1.0 before the content.

use std::io::{self, Read};

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::pax::{SparseRecords, decimal};

const BLOCK_BYTES: usize = 512;
/// The most parts taken.
const MAX_PARTS: usize = 1 << 19;
/// The longest number in a map of form 1.0.
const MAX_DIGITS: usize = 20;

/// A part that is in the archive; between parts there are zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// The whole of a sparse file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SparseMap {
    pub(super) size: u64,
    pub(super) parts: Vec<Part>,
}

impl SparseMap {
    /// Rising parts within the size, as long together as what is stored.
    pub(super) fn new(size: u64, parts: Vec<Part>, stored: u64) -> Result<Self, String> {
        let (mut end, mut sum) = (0_u64, 0_u64);
        for part in &parts {
            let next = part.offset.checked_add(part.bytes).filter(|&next| part.offset >= end && next <= size);
            end = next.ok_or("its sparse map does not rise within its size")?;
            sum += part.bytes;
        }
        if sum != stored {
            return Err(format!("its sparse map tells of {sum} bytes and {stored} are stored"));
        }
        Ok(Self { size, parts })
    }

    /// From an extended header, forms 0.0 and 0.1.
    pub(super) fn from_records(records: &SparseRecords, stored: u64) -> Result<Self, String> {
        let size = records.real_size.ok_or("it is sparse and does not say its size")?;
        if !records.map.len().is_multiple_of(2) {
            return Err("its sparse map ends within a part".to_owned());
        }
        let parts = records.map.chunks_exact(2).map(|pair| Part { offset: pair[0], bytes: pair[1] });
        Self::new(size, parts.collect(), stored)
    }
}

/// Reads the map that stands in the member's own header and in blocks after it; gives
/// also how many blocks there were.
pub(super) fn from_headers(
    header: &Header,
    input: &mut impl Read,
) -> io::Result<Result<(u64, Vec<Part>), String>> {
    let Some(gnu) = header.as_gnu() else {
        return Ok(Err("it is sparse, and its header is not GNU tar's".to_owned()));
    };
    let mut parts = Vec::new();
    let mut problem = gnu.sparse.iter().try_for_each(|part| take(part, &mut parts)).err();
    let mut is_extended = gnu.is_extended();
    while is_extended && problem.is_none() {
        let mut block = GnuExtSparseHeader::new();
        input.read_exact(block.as_mut_bytes())?;
        problem = block.sparse().iter().try_for_each(|part| take(part, &mut parts)).err();
        is_extended = block.is_extended();
    }
    Ok(match (problem, gnu.real_size()) {
        (None, Ok(size)) => Ok((size, parts)),
        (Some(problem), _) => Err(problem),
        (None, Err(_)) => Err("its size as a sparse file is malformed".to_owned()),
    })
}

fn take(part: &GnuSparseHeader, parts: &mut Vec<Part>) -> Result<(), String> {
    if part.is_empty() {
        return Ok(());
    }
    let malformed = |_| "its sparse map is malformed".to_owned();
    let part = Part { offset: part.offset().map_err(malformed)?, bytes: part.length().map_err(malformed)? };
    parts.push(part);
    if parts.len() > MAX_PARTS { Err(format!("its sparse map has over {MAX_PARTS} parts")) } else { Ok(()) }
}

/// Reads the map of form 1.0, which stands before the content; gives also how many
/// bytes it took.
pub(super) fn from_content(input: &mut impl Read) -> io::Result<Result<(Vec<Part>, u64), String>> {
    let mut lines = Lines { input, block: [0; BLOCK_BYTES], at: BLOCK_BYTES, taken: 0 };
    let Some(count) = lines.number()?.filter(|&count| count <= MAX_PARTS as u64) else {
        return Ok(Err("its sparse map is malformed, or too long".to_owned()));
    };
    let mut parts = Vec::new();
    for _ in 0..count {
        let (Some(offset), Some(bytes)) = (lines.number()?, lines.number()?) else {
            return Ok(Err("its sparse map is malformed".to_owned()));
        };
        parts.push(Part { offset, bytes });
    }
    Ok(Ok((parts, lines.taken)))
}

/// Numbers, one in a line, padded to whole blocks.
struct Lines<'a, R> {
    input: &'a mut R,
    block: [u8; BLOCK_BYTES],
    at: usize,
    taken: u64,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> io::Result<Option<u64>> {
        let mut digits = Vec::new();
        loop {
            if self.at == BLOCK_BYTES {
                self.input.read_exact(&mut self.block)?;
                (self.at, self.taken) = (0, self.taken + BLOCK_BYTES as u64);
            }
            let byte = self.block[self.at];
            self.at += 1;
            match byte {
                b'\n' => return Ok(decimal(&digits)),
                _ if digits.len() == MAX_DIGITS => return Ok(None),
                _ => digits.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_rise_within_the_size() {
        let part = |offset, bytes| Part { offset, bytes };
        assert!(SparseMap::new(10, vec![part(0, 2), part(4, 6)], 8).is_ok());
        assert!(SparseMap::new(10, vec![part(10, 0)], 0).is_ok());
        for (size, parts, stored, says) in [
            (10, vec![part(4, 2), part(0, 2)], 4, "does not rise"),
            (10, vec![part(0, 5), part(4, 2)], 7, "does not rise"),
            (10, vec![part(8, 3)], 3, "does not rise"),
            (10, vec![part(u64::MAX, 2)], 2, "does not rise"),
            (10, vec![part(0, 2)], 3, "2 bytes and 3"),
        ] {
            let error = SparseMap::new(size, parts, stored).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_map_before_the_content_fills_whole_blocks() {
        let mut bytes = b"2\n0\n5\n100\n7\n".to_vec();
        bytes.resize(512, 0);
        let (parts, taken) = from_content(&mut &bytes[..]).unwrap().unwrap();
        assert_eq!(parts, [Part { offset: 0, bytes: 5 }, Part { offset: 100, bytes: 7 }]);
        assert_eq!(taken, 512);
        bytes[0] = b'x';
        assert!(from_content(&mut &bytes[..]).unwrap().is_err());
        assert!(from_content(&mut &b"1\n"[..]).is_err());
    }
}
