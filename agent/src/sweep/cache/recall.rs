//! Recalling what an earlier look saw, path by path, beside the walk.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::Path;

use congruent_protocol::digest::Algorithm;
use congruent_protocol::path::TreePath;
use jiff::Timestamp;

use super::frames::FrameReader;
use super::{Header, Known, record};
use crate::regular;

/// What every file of this kind begins with.
pub(super) const MAGIC: &[u8] = b"congruent sweep 1\n";
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
}

/// What an earlier look saw, in tree order. By default nothing.
#[derive(Default)]
pub(crate) struct Recalled {
    source: Option<Source>,
    next: Option<(TreePath, Known)>,
    started_at: Option<Timestamp>,
    last: Option<TreePath>,
}

struct Source {
    frames: FrameReader<BufReader<File>>,
    algorithm: Algorithm,
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
        match Self::open(path, fits)? {
            (recalled, true) => Ok(recalled),
            (_, false) => Err(Unusable::Damaged),
        }
    }

    /// What a sweep that was interrupted left, and that `fits`.
    pub(super) fn interrupted(
        path: &Path,
        fits: impl Fn(&Header) -> Result<(), Unusable>,
    ) -> Result<Self, Unusable> {
        Self::open(path, fits).map(|(recalled, _)| recalled)
    }

    /// Opens what is whole of the file, once it was read to where that ends; and
    /// whether that is all.
    fn open(path: &Path, fits: impl Fn(&Header) -> Result<(), Unusable>) -> Result<(Self, bool), Unusable> {
        let mut file = match regular::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Missing),
            Err(error) => return Err(Unusable::Unreadable(error)),
        };
        let (mut source, header) = Source::begin(&file)?;
        fits(&header)?;
        let mut last = None;
        while let Some((path, _)) = source.next() {
            last = Some(path);
        }
        let is_complete = source.piece.first() == Some(&END);
        file.rewind().map_err(Unusable::Unreadable)?;
        let (source, header) = Source::begin(&file)?;
        let mut recalled =
            Self { source: Some(source), next: None, started_at: Some(header.started_at), last };
        recalled.advance();
        Ok((recalled, is_complete))
    }

    /// When the look began that this is of.
    pub(crate) fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    /// The last path that it came to.
    pub(super) fn last(&self) -> Option<&TreePath> {
        self.last.as_ref()
    }

    /// What was seen at `path`. Paths must be asked for in tree order.
    pub(crate) fn take(&mut self, path: &TreePath) -> Option<Box<Known>> {
        while self.next.as_ref().is_some_and(|(next, _)| next < path) {
            self.advance();
        }
        let (_, known) = self.next.take_if(|(next, _)| next == path)?;
        self.advance();
        Some(Box::new(known))
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
        let algorithm = header.binding.stack.algorithm();
        Ok((Self { frames, algorithm, taken: piece.len(), piece, path: Vec::new() }, header))
    }

    /// The next record; none at the end, or where what follows is no record.
    fn next(&mut self) -> Option<(TreePath, Known)> {
        if self.taken == self.piece.len() {
            let is_whole = self.frames.read(&mut self.piece).unwrap_or(false);
            if !is_whole {
                self.piece.clear();
            }
            self.taken = usize::from(self.piece.first() == Some(&RECORDS));
        }
        let mut rest = self.piece.get(self.taken..).filter(|_| self.taken > 0)?;
        let known = record::take(&mut rest, &mut self.path, self.algorithm)?;
        self.taken = self.piece.len() - rest.len();
        let path = TreePath::new(self.path.clone()).ok()?;
        Some((path, known))
    }
}
