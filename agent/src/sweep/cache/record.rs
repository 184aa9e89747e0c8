//! Records: what is known of each path, in tree order.
//!
//! A path is written as what it shares with the one before, and the rest.

use congruent_protocol::digest::{Algorithm, DIGEST_BYTES, Digest};
use congruent_protocol::entry::{Device, Node, Xattrs};
use congruent_protocol::path::TreePath;

use super::Known;
use crate::sweep::stamp::Stamp;

const FILE: u8 = 0;
const SYMLINK: u8 = 1;
const FIFO: u8 = 2;
const SOCKET: u8 = 3;
const CHAR_DEVICE: u8 = 4;
const BLOCK_DEVICE: u8 = 5;

/// Adds a record, which follows one at `last`.
pub(super) fn put(out: &mut Vec<u8>, last: &[u8], path: &TreePath, known: &Known) {
    let Known { stamp, node, xattrs } = known;
    let path = path.as_bytes();
    let shared = last.iter().zip(path).take_while(|(one, two)| one == two).count();
    put_number(out, shared as u64);
    put_bytes(out, &path[shared..]);
    put_number(out, stamp.device.0.into());
    put_number(out, stamp.device.1.into());
    put_number(out, stamp.inode);
    out.extend_from_slice(&stamp.ctime.0.to_le_bytes());
    out.extend_from_slice(&stamp.ctime.1.to_le_bytes());
    put_number(out, stamp.size);
    match node {
        Node::File { content, .. } => {
            out.push(FILE);
            // A look without a digest is not kept.
            out.extend_from_slice(content.map_or([0; DIGEST_BYTES], |digest| *digest.as_bytes()).as_slice());
        }
        Node::Symlink { target } => {
            out.push(SYMLINK);
            put_bytes(out, target);
        }
        Node::Fifo | Node::Directory => out.push(FIFO),
        Node::Socket => out.push(SOCKET),
        Node::CharDevice(device) => put_device(out, CHAR_DEVICE, *device),
        Node::BlockDevice(device) => put_device(out, BLOCK_DEVICE, *device),
    }
    put_number(out, xattrs.len() as u64);
    for (name, value) in xattrs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

fn put_device(out: &mut Vec<u8>, kind: u8, device: Device) {
    out.push(kind);
    put_number(out, device.major.into());
    put_number(out, device.minor.into());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
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
pub(super) fn take(rest: &mut &[u8], path: &mut Vec<u8>, algorithm: Algorithm) -> Option<Known> {
    let shared = usize::try_from(take_number(rest)?).ok()?;
    if shared > path.len() {
        return None;
    }
    path.truncate(shared);
    path.extend_from_slice(take_bytes(rest)?);
    let device = (take_u32(rest)?, take_u32(rest)?);
    let inode = take_number(rest)?;
    let seconds = i64::from_le_bytes(take_array(rest)?);
    let nanoseconds = u32::from_le_bytes(take_array(rest)?);
    let size = take_number(rest)?;
    let stamp = Stamp { device, inode, ctime: (seconds, nanoseconds), size };
    let node = match take_array::<1>(rest)?[0] {
        FILE => Node::File { size, content: Some(Digest::new(algorithm, take_array(rest)?)) },
        SYMLINK => Node::Symlink { target: take_bytes(rest)?.to_vec() },
        FIFO => Node::Fifo,
        SOCKET => Node::Socket,
        CHAR_DEVICE => Node::CharDevice(take_device(rest)?),
        BLOCK_DEVICE => Node::BlockDevice(take_device(rest)?),
        _ => return None,
    };
    let mut xattrs = Xattrs::new();
    for _ in 0..take_number(rest)? {
        xattrs.push((take_bytes(rest)?.to_vec(), take_bytes(rest)?.to_vec()));
    }
    Some(Known { stamp, node, xattrs })
}

fn take_device(rest: &mut &[u8]) -> Option<Device> {
    Some(Device { major: take_u32(rest)?, minor: take_u32(rest)? })
}

fn take_bytes<'r>(rest: &mut &'r [u8]) -> Option<&'r [u8]> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
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
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(node: Node, xattrs: &[(&[u8], &[u8])]) -> Known {
        let size = if let Node::File { size, .. } = node { size } else { 7 };
        let stamp = Stamp { device: (8, 300), inode: u64::MAX, ctime: (-1, 999_999_999), size };
        let xattrs = xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        Known { stamp, node, xattrs }
    }

    fn records() -> Vec<(TreePath, Known)> {
        let device = Device { major: 1, minor: 1_000_000 };
        let content = Some(Algorithm::Blake3.digest(b"x"));
        [
            ("/a", known(Node::File { size: 1 << 40, content }, &[])),
            ("/a/b", known(Node::Symlink { target: b"\xff".to_vec() }, &[(b"security.x", b"")])),
            ("/a/bc", known(Node::Fifo, &[])),
            ("/b", known(Node::Socket, &[(b"user.a", &[0; 300]), (b"user.b", b"1")])),
            ("/b/c", known(Node::CharDevice(device), &[])),
            ("/c", known(Node::BlockDevice(device), &[])),
        ]
        .map(|(path, known)| (TreePath::new(path).unwrap(), known))
        .into()
    }

    fn written() -> Vec<u8> {
        let (mut out, mut last) = (Vec::new(), Vec::new());
        for (path, known) in records() {
            put(&mut out, &last, &path, &known);
            last = path.as_bytes().to_vec();
        }
        out
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let (bytes, mut path) = (written(), Vec::new());
        let mut rest = &bytes[..];
        for (expected_path, expected) in records() {
            assert_eq!(take(&mut rest, &mut path, Algorithm::Blake3), Some(expected));
            assert_eq!(path, expected_path.as_bytes());
        }
        assert_eq!(take(&mut rest, &mut path, Algorithm::Blake3), None);
    }

    #[test]
    fn what_is_cut_or_damaged_is_never_a_panic() {
        let bytes = written();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            for bytes in [&bytes[..at], &damaged] {
                let (mut rest, mut path) = (bytes, Vec::new());
                while take(&mut rest, &mut path, Algorithm::Blake3).is_some() {}
            }
        }
    }
}
