//! Opening a regular file by name, whatever stands in its place: a pipe must not
//! stop us, and a device is no file. Reading one beside others who do.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Opens `path` to read.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// The largest text that people write: a contract, a key, a configuration.
pub(crate) const MAX_TEXT_BYTES: u64 = 2 << 20;
/// How much is read at once of what may be short.
const ROOM_BYTES: usize = 4 << 10;

/// Reads `path` whole, up to `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Many are in /proc, which does not tell how long they are.
    let mut bytes = Vec::with_capacity(ROOM_BYTES);
    // One byte more than is taken, so that a larger one shows.
    open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is over {limit} bytes long")));
    }
    Ok(bytes)
}

/// Reads the text in `path`.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(read(path, MAX_TEXT_BYTES)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8"))
}

/// Reads an open file from a position of its own, whoever else reads it.
pub(crate) struct Positioned<'f> {
    file: &'f File,
    at: u64,
}

impl<'f> Positioned<'f> {
    /// At its start.
    pub(crate) fn new(file: &'f File) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Positioned<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (from, offset) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(offset) => (self.at, offset),
            SeekFrom::End(offset) => (self.file.metadata()?.len(), offset),
        };
        let beyond = || io::Error::new(io::ErrorKind::InvalidInput, "no file has such a position");
        self.at = from.checked_add_signed(offset).ok_or_else(beyond)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn who_reads_from_a_position_of_their_own_is_in_nobody_s_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "0123456789").unwrap();
        let file = open(&path).unwrap();
        let (mut one, mut other) = (Positioned::new(&file), Positioned::new(&file));
        for (seek, expected) in [
            (SeekFrom::Start(7), "789"),
            (SeekFrom::End(-4), "6789"),
            (SeekFrom::Current(0), ""),
            (SeekFrom::Current(-1), "9"),
            (SeekFrom::Start(99), ""),
        ] {
            one.seek(seek).unwrap();
            let mut read = String::new();
            one.read_to_string(&mut read).unwrap();
            assert_eq!(read, expected, "{seek:?}");
        }
        assert!(one.seek(SeekFrom::End(-11)).is_err());
        assert_eq!(io::read_to_string(&mut other).unwrap(), "0123456789");
    }
}
