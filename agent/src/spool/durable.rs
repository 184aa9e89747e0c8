//! What else it takes that files are there whole or not at all.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// What a file is called while it is written.
const PARTIAL: &str = ".partial";

/// Makes it last that a file was made or removed there.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// How many bytes the files in a directory take.
pub(crate) fn bytes_in(directory: &Path) -> io::Result<u64> {
    std::fs::read_dir(directory)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

/// Removes what was being written when the process was killed.
pub(crate) fn remove_partial(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.as_os_str().as_encoded_bytes().ends_with(PARTIAL.as_bytes()) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Reads a regular file of at most `limit` bytes; what else stands there is
/// [`io::ErrorKind::InvalidData`].
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let what = || format!("it is not a regular file of at most {limit} bytes");
    let foreign = || io::Error::new(io::ErrorKind::InvalidData, what());
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::LOOP.raw_os_error() => foreign(),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > limit {
        return Err(foreign());
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
