//! Records: what is noted of each path, in tree order.
//!
//! A path is written as what it shares with the one before, and the rest.

use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::path::TreePath;

use crate::sweep::stamp::Stamp;

/// What stands before a digest, by its algorithm, and in its place.
const NO_CONTENT: u64 = 0;
const BLAKE3: u64 = 1;
const SHA256: u64 = 2;

/// What is noted of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted {
    /// As long as its inode has this stamp, it is as it was.
    pub(in crate::sweep) stamp: Stamp,
    /// What a file without extended attributes in scope was seen to hold; none where
    /// all was as it was to be.
    pub(in crate::sweep) content: Option<Digest>,
}

impl Noted {
    /// That it was as it was to be.
    pub(crate) fn as_expected(stamp: Stamp) -> Self {
        Self { stamp, content: None }
    }

    /// That it was a file without extended attributes in scope that held this, whatever
    /// it was to be.
    pub(crate) fn holding(stamp: Stamp, content: Digest) -> Self {
        Self { stamp, content: Some(content) }
    }
}

/// Adds a record, which follows one at `last`.
pub(super) fn put(out: &mut Vec<u8>, last: &[u8], path: &TreePath, noted: &Noted) {
    let Noted { stamp, content } = noted;
    let path = path.as_bytes();
    let shared = last.iter().zip(path).take_while(|(one, two)| one == two).count();
    put_number(out, shared as u64);
    put_number(out, (path.len() - shared) as u64);
    out.extend_from_slice(&path[shared..]);
    put_number(out, stamp.device.0.into());
    put_number(out, stamp.device.1.into());
    put_number(out, stamp.inode);
    out.extend_from_slice(&stamp.ctime.0.to_le_bytes());
    out.extend_from_slice(&stamp.ctime.1.to_le_bytes());
    put_number(out, stamp.size);
    put_number(out, content.map_or(NO_CONTENT, |content| tag(content.algorithm())));
    out.extend(content.iter().flat_map(Digest::as_bytes));
}

fn tag(algorithm: Algorithm) -> u64 {
    match algorithm {
        Algorithm::Blake3 => BLAKE3,
        Algorithm::Sha256 => SHA256,
    }
}

/// Unsigned LEB128.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes the next record off `rest`, and moves `path` from the record before to
/// its own. None where there is none, or what is there is malformed.
pub(super) fn take(rest: &mut &[u8], path: &mut Vec<u8>) -> Option<Noted> {
    let shared = usize::try_from(take_number(rest)?).ok()?;
    if shared > path.len() {
        return None;
    }
    let length = usize::try_from(take_number(rest)?).ok()?;
    let (name, after) = rest.split_at_checked(length)?;
    path.truncate(shared);
    path.extend_from_slice(name);
    *rest = after;
    let device = (take_u32(rest)?, take_u32(rest)?);
    let inode = take_number(rest)?;
    let seconds = i64::from_le_bytes(take_array(rest)?);
    let nanoseconds = u32::from_le_bytes(take_array(rest)?);
    let size = take_number(rest)?;
    let stamp = Stamp { device, inode, ctime: (seconds, nanoseconds), size };
    let content = match take_number(rest)? {
        NO_CONTENT => None,
        BLAKE3 => Some(Digest::new(Algorithm::Blake3, take_array(rest)?)),
        SHA256 => Some(Digest::new(Algorithm::Sha256, take_array(rest)?)),
        _ => return None,
    };
    Some(Noted { stamp, content })
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*array)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    u32::try_from(take_number(rest)?).ok()
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take_array::<1>(rest)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<(TreePath, Noted)> {
        let stamp =
            |inode, seconds, size| Stamp { device: (8, 300), inode, ctime: (seconds, 999_999_999), size };
        let content = |algorithm: Algorithm| Some(algorithm.digest(b"content"));
        [
            ("/a", stamp(1, 0, u64::MAX), None),
            ("/a/b", stamp(u64::MAX, -1, 0), content(Algorithm::Blake3)),
            ("/a/bc", stamp(127, i64::MAX, 128), content(Algorithm::Sha256)),
            ("/b", stamp(128, i64::MIN, 1 << 40), None),
        ]
        .map(|(path, stamp, content)| (TreePath::new(path).unwrap(), Noted { stamp, content }))
        .into()
    }

    fn written() -> Vec<u8> {
        let (mut out, mut last) = (Vec::new(), Vec::new());
        for (path, noted) in records() {
            put(&mut out, &last, &path, &noted);
            last = path.as_bytes().to_vec();
        }
        out
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let (bytes, mut path) = (written(), Vec::new());
        let mut rest = &bytes[..];
        for (expected_path, expected) in records() {
            assert_eq!(take(&mut rest, &mut path), Some(expected));
            assert_eq!(path, expected_path.as_bytes());
        }
        assert_eq!(take(&mut rest, &mut path), None);
    }

    #[test]
    fn what_is_cut_or_damaged_is_never_a_panic() {
        let bytes = written();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            for bytes in [&bytes[..at], &damaged] {
                let (mut rest, mut path) = (bytes, Vec::new());
                while take(&mut rest, &mut path).is_some() {}
            }
        }
    }
}
