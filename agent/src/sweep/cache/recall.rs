//! Recalling what an earlier look saw, path by path, beside the walk.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use congruent_protocol::path::{TreePath, tree_order};
use jiff::Timestamp;

use super::frames::FrameReader;
use super::{Header, Noted, record};
use crate::regular;

/// What every file of this kind begins with.
pub(super) const MAGIC: &[u8] = b"congruent sweep 2\n";
/// What a frame holds, as its first byte.
pub(super) const HEADER: u8 = b'h';
pub(super) const RECORDS: u8 = b'r';
pub(super) const END: u8 = b'e';

/// Why a cache is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("no full sweep has left one yet")]
    Missing,
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("it is not ours alone: another owns it, or may write to it")]
    Foreign,
    #[error("it is damaged")]
    Damaged,
    #[error("it is of an earlier boot")]
    OtherBoot,
    #[error("another version of the agent left it")]
    OtherVersion,
    #[error("it is of another root, or of another stack")]
    OtherSubject,
    #[error("the clock was set since it was left")]
    ClockSet,
    #[error("it is too old")]
    TooOld,
    #[error("it was read through the page cache")]
    ThroughCache,
}

/// What an earlier look noted, in tree order. By default nothing.
#[derive(Default)]
pub(crate) struct Recalled {
    source: Option<Source>,
    /// What is noted of the source's path.
    next: Option<Noted>,
    started_at: Option<Timestamp>,
}

struct Source {
    frames: FrameReader<BufReader<File>>,
    piece: Vec<u8>,
    /// How much of the piece was taken.
    taken: usize,
    path: Vec<u8>,
}

impl Recalled {
    /// A whole cache that `fits`.
    pub(super) fn complete(
        path: &Path,
        fits: impl Fn(&Header) -> Result<(), Unusable>,
    ) -> Result<Self, Unusable> {
        let (recalled, is_complete) = Self::open(path, fits, Source::skip_to_end)?;
        if is_complete { Ok(recalled) } else { Err(Unusable::Damaged) }
    }

    /// What a sweep that was interrupted left, and that `fits`; with the last path
    /// that it came to.
    pub(super) fn interrupted(
        path: &Path,
        fits: impl Fn(&Header) -> Result<(), Unusable>,
    ) -> Result<(Self, Option<TreePath>), Unusable> {
        Self::open(path, fits, |source| {
            while source.next().is_some() {}
            TreePath::new(&source.path[..]).ok()
        })
    }

    /// Opens what is whole of the file, once it was read to where that ends.
    fn open<T>(
        path: &Path,
        fits: impl Fn(&Header) -> Result<(), Unusable>,
        read: impl FnOnce(&mut Source) -> T,
    ) -> Result<(Self, T), Unusable> {
        let mut file = match regular::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Missing),
            Err(error) => return Err(Unusable::Unreadable(error)),
        };
        // What anybody could have written proves nothing.
        let metadata = file.metadata().map_err(Unusable::Unreadable)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
            return Err(Unusable::Foreign);
        }
        let (mut source, header) = Source::begin(&file)?;
        fits(&header)?;
        let read = read(&mut source);
        file.rewind().map_err(Unusable::Unreadable)?;
        let (source, header) = Source::begin(&file)?;
        let mut recalled = Self { source: Some(source), next: None, started_at: Some(header.started_at) };
        recalled.advance();
        Ok((recalled, read))
    }

    /// When the look began that this is of.
    pub(crate) fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    /// What is noted of `path`. Paths must be asked for in tree order.
    pub(crate) fn take(&mut self, path: &TreePath) -> Option<Noted> {
        loop {
            let source = self.source.as_ref()?;
            match tree_order(&source.path, path.as_bytes()) {
                Ordering::Less => self.advance(),
                Ordering::Greater => return None,
                Ordering::Equal => break,
            }
        }
        let noted = self.next.take();
        self.advance();
        noted
    }

    fn advance(&mut self) {
        self.next = self.source.as_mut().and_then(Source::next);
        if self.next.is_none() {
            self.source = None;
        }
    }
}

impl Source {
    fn begin(file: &File) -> Result<(Self, Header), Unusable> {
        let file = file.try_clone().map_err(Unusable::Unreadable)?;
        let frames = FrameReader::begin(BufReader::new(file), MAGIC).map_err(Unusable::Unreadable)?;
        let mut frames = frames.ok_or(Unusable::Damaged)?;
        let mut piece = Vec::new();
        if !frames.read(&mut piece).map_err(Unusable::Unreadable)? {
            return Err(Unusable::Damaged);
        }
        let header: Option<Header> =
            piece.strip_prefix(&[HEADER]).and_then(|json| serde_json::from_slice(json).ok());
        let header = header.ok_or(Unusable::Damaged)?;
        Ok((Self { frames, taken: piece.len(), piece, path: Vec::new() }, header))
    }

    /// Goes through all frames; whether the last one says that it is, and nothing
    /// follows.
    fn skip_to_end(&mut self) -> bool {
        while self.frames.read(&mut self.piece).unwrap_or(false) {
            if self.piece == [END] {
                return self.frames.is_at_end();
            }
        }
        false
    }

    /// What is noted of the next path, which is then `self.path`; none at the end, or
    /// where what follows is no record.
    fn next(&mut self) -> Option<Noted> {
        if self.taken == self.piece.len() {
            let is_whole = self.frames.read(&mut self.piece).unwrap_or(false);
            if !is_whole {
                self.piece.clear();
            }
            self.taken = usize::from(self.piece.first() == Some(&RECORDS));
        }
        let mut rest = self.piece.get(self.taken..).filter(|_| self.taken > 0)?;
        let noted = record::take(&mut rest, &mut self.path)?;
        self.taken = self.piece.len() - rest.len();
        Some(noted)
    }
}
