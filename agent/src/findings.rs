//! What a sweep found, in tree order, however much it is.
//!
//! The first few findings stay in memory, all others go to an unnamed file, so
//! that memory does not follow what was found. Both hold JSON, one finding a line,
//! and are read one after the other as one; the file is compressed, so that a disk
//! is not soon full. A finding that cannot be kept is an error, never left out.
//!
//! The file has no name at any time where the file system knows `O_TMPFILE`: none
//! shows in a tree that is watched, and nothing is left when the process is killed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::iter;
use std::path::{Path, PathBuf};

use congruent_protocol::drift::Finding;
use memchr::memchr;
use zstd::stream::{read::Decoder, write::Encoder};

use crate::regular::Positioned;

/// The most JSON that stays in memory.
const MEMORY_BYTES: usize = 8 << 20;
/// The room beside it for the finding at hand, which few are longer than.
const LINE_BYTES: usize = 16 << 10;
/// Findings are much alike: the quickest level makes a tenth of them.
const ZSTD_LEVEL: i32 = 1;

/// There is no room for what was found.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot put findings aside in {}; make room there, or name another directory: `congruent verify` takes TMPDIR, \
     the agent its state-directory",
    .directory.display()
)]
pub(crate) struct SpillError {
    directory: PathBuf,
    #[source]
    source: io::Error,
}

/// Takes findings as they come.
pub(crate) struct FindingsWriter {
    directory: PathBuf,
    memory_limit: usize,
    /// Room for all that it may hold is taken at once, and used as it is filled: to make
    /// more room bit by bit would copy all that is there each time.
    memory: Vec<u8>,
    spilled: Option<Encoder<'static, File>>,
    count: usize,
    json_bytes: u64,
}

impl FindingsWriter {
    /// What memory is not to hold will go to a file in `directory`.
    pub(crate) fn spilling_to(directory: &Path) -> Self {
        Self::with_memory(directory, MEMORY_BYTES)
    }

    fn with_memory(directory: &Path, memory_limit: usize) -> Self {
        Self {
            directory: directory.to_owned(),
            memory_limit,
            memory: Vec::new(),
            spilled: None,
            count: 0,
            json_bytes: 0,
        }
    }

    /// Adds a finding; its path lies behind those of all before it.
    pub(crate) fn push(&mut self, finding: &Finding) -> Result<(), SpillError> {
        if self.memory.capacity() == 0 {
            self.memory.reserve_exact(self.memory_limit + LINE_BYTES);
        }
        let begin = self.memory.len();
        serde_json::to_writer(&mut self.memory, finding).expect("a finding always serialises");
        self.json_bytes += (self.memory.len() - begin) as u64;
        self.memory.push(b'\n');
        self.count += 1;
        // Once there is a file, all goes there: the order is that of the tree.
        if self.spilled.is_none() && self.memory.len() <= self.memory_limit {
            return Ok(());
        }
        let spilled = self.spill(begin);
        self.memory.truncate(begin);
        spilled.map_err(|source| SpillError { directory: self.directory.clone(), source })
    }

    /// Adds a finding where there is one.
    pub(crate) fn extend(&mut self, finding: Option<&Finding>) -> Result<(), SpillError> {
        finding.map_or(Ok(()), |finding| self.push(finding))
    }

    /// Puts aside what memory has from `begin`.
    fn spill(&mut self, begin: usize) -> io::Result<()> {
        let encoder = match &mut self.spilled {
            Some(encoder) => encoder,
            None => {
                let encoder = Encoder::new(tempfile::tempfile_in(&self.directory)?, ZSTD_LEVEL)?;
                let encoder = self.spilled.insert(encoder);
                // What comes back is believed without being parsed.
                encoder.include_checksum(true)?;
                encoder
            }
        };
        encoder.write_all(&self.memory[begin..])
    }

    /// Ends the list.
    pub(crate) fn finish(self) -> Result<Findings, SpillError> {
        let Self { directory, mut memory, spilled, count, json_bytes, .. } = self;
        memory.shrink_to_fit();
        match spilled.map(Encoder::finish).transpose() {
            Ok(spilled) => Ok(Findings { directory, memory, spilled, count, json_bytes }),
            Err(source) => Err(SpillError { directory, source }),
        }
    }
}

/// All that was found, to be read as often as wanted.
#[derive(Debug)]
pub(crate) struct Findings {
    directory: PathBuf,
    memory: Vec<u8>,
    spilled: Option<File>,
    count: usize,
    json_bytes: u64,
}

impl Findings {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The length of all of them as JSON without white space, but for what stands
    /// between them.
    pub(crate) fn json_bytes(&self) -> u64 {
        self.json_bytes
    }

    /// Reads from the first one.
    ///
    /// # Errors
    /// Here and in each item, when the file cannot be read back.
    pub(crate) fn iter(&self) -> io::Result<impl Iterator<Item = io::Result<Finding>> + use<'_>> {
        let mut lines = self.lines()?;
        Ok(iter::from_fn(move || {
            let finding = lines.next()?.and_then(|line| Ok(serde_json::from_slice(line)?));
            Some(finding.map_err(|error| unreadable(&self.directory, &error)))
        }))
    }

    /// Reads the JSON of each, from the first one.
    ///
    /// # Errors
    /// When the file cannot be read back.
    pub(crate) fn lines(&self) -> io::Result<Lines<'_>> {
        let decoder = self.spilled.as_ref().map(|file| Decoder::new(Positioned::new(file)));
        let decoder = decoder.transpose().map_err(|error| unreadable(&self.directory, &error))?;
        let spilled = decoder.map(BufReader::new);
        let (directory, memory, left) = (&*self.directory, &*self.memory, self.count);
        Ok(Lines { directory, memory, spilled, line: Vec::new(), left })
    }

    /// All of them in memory, for what is sent as a whole.
    ///
    /// # Errors
    /// As for [`Findings::iter`].
    pub(crate) fn load(&self) -> io::Result<Vec<Finding>> {
        self.iter()?.collect()
    }
}

/// The JSON of each finding in turn.
pub(crate) struct Lines<'a> {
    directory: &'a Path,
    /// What is left of memory.
    memory: &'a [u8],
    spilled: Option<BufReader<Decoder<'static, BufReader<Positioned<'a>>>>>,
    line: Vec<u8>,
    left: usize,
}

impl Lines<'_> {
    /// The next one; an error where it cannot be read back.
    pub(crate) fn next(&mut self) -> Option<io::Result<&[u8]>> {
        // Counted: a file that was cut must not pass for a short list.
        self.left = self.left.checked_sub(1)?;
        if let Some(end) = memchr(b'\n', self.memory) {
            let line = &self.memory[..end];
            self.memory = &self.memory[end + 1..];
            return Some(Ok(line));
        }
        let Self { directory, spilled, line, .. } = self;
        line.clear();
        let read = spilled.as_mut().map_or(Ok(0), |spilled| spilled.read_until(b'\n', line));
        let whole = read.and_then(|_| line.strip_suffix(b"\n").ok_or(io::ErrorKind::UnexpectedEof.into()));
        Some(whole.map_err(|error| unreadable(directory, &error)))
    }
}

fn unreadable(directory: &Path, error: &io::Error) -> io::Error {
    let what =
        format!("cannot read back the findings that were put aside in {}: {error}", directory.display());
    io::Error::new(error.kind(), what)
}

#[cfg(test)]
mod tests;
