//! Holding a file to the digest in its name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use congruent_protocol::digest::Digest;

use super::BlobName;

/// How much of a file is read at once.
const PIECE_BYTES: usize = 256 << 10;

/// Whether the file is what `name` says; else the digest that it has. It is read
/// from a position of its own.
pub(super) fn verified(file: &File, name: &BlobName) -> io::Result<Result<(), Digest>> {
    let mut hasher = name.digest().algorithm().hasher();
    let mut piece = vec![0; PIECE_BYTES];
    let mut position = 0;
    loop {
        let read = file.read_at(&mut piece, position)?;
        if read == 0 {
            let found = hasher.finish();
            return Ok(if found == *name.digest() { Ok(()) } else { Err(found) });
        }
        hasher.update(&piece[..read]);
        position += read as u64;
    }
}
