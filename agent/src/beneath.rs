//! Regular files beneath a directory, opened and read without following a link
//! at any component: what is found is in the tree, or it is an error.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::path::TreePath;
use sha2::digest::DynDigest;

use crate::sweep::{open_descendant, open_file};

const BUFFER_BYTES: usize = 256 << 10;

/// A member of the SHA-2 family, by its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sha2Size {
    Bits256,
    Bits384,
    Bits512,
}

impl Sha2Size {
    fn hasher(self) -> Box<dyn DynDigest> {
        match self {
            Self::Bits256 => Box::<sha2::Sha256>::default(),
            Self::Bits384 => Box::<sha2::Sha384>::default(),
            Self::Bits512 => Box::<sha2::Sha512>::default(),
        }
    }
}

/// Opens the regular file `path` of the tree whose root `directory` is.
pub(crate) fn open(directory: impl AsFd, path: &TreePath) -> io::Result<File> {
    let above = path.parent().filter(|above| !above.is_root());
    let above = above.map(|above| open_descendant(directory.as_fd(), &above.as_bytes()[1..])).transpose()?;
    let folder = above.as_ref().map_or(directory.as_fd(), AsFd::as_fd);
    let file = File::from(open_file(folder, path.name())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Both digests of a file's content, from one reading.
pub(crate) fn digests(
    file: &mut File,
    algorithm: Algorithm,
    size: Sha2Size,
) -> io::Result<(Digest, Box<[u8]>)> {
    let (mut ours, mut sha2) = (algorithm.hasher(), size.hasher());
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((ours.finish(), sha2.finalize())),
            Ok(count) => {
                ours.update(&buffer[..count]);
                sha2.update(&buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
