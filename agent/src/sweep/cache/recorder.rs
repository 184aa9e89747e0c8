//! Recording what a full sweep sees, as it goes.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use congruent_protocol::path::TreePath;

use super::frames::FrameWriter;
use super::recall::{END, HEADER, MAGIC, RECORDS};
use super::{BEGUN, CacheError, Header, Noted, PART, beside, record};

/// Records are written when they are so many bytes or so old: that is what an
/// interruption may cost.
const PIECE_BYTES: usize = 64 << 10;
const PIECE_AGE: Duration = Duration::from_secs(1);

/// Writes down what a sweep sees. A sweep does not fail for it: the first error is
/// kept for the end.
pub(crate) struct Recorder {
    path: PathBuf,
    part: PathBuf,
    /// What an interrupted sweep left, until this one has come as far.
    behind: Option<TreePath>,
    frames: Option<FrameWriter<File>>,
    piece: Vec<u8>,
    written_at: Instant,
    last: Vec<u8>,
    failed: Option<io::Error>,
}

impl Recorder {
    /// Begins the record that will be the cache at `path`. One that an interrupted
    /// sweep left stays until this one has come as far, to `behind`.
    pub(super) fn begin(path: &Path, header: &Header, behind: Option<&TreePath>) -> io::Result<Self> {
        let part = beside(path, PART);
        let begun = beside(path, BEGUN);
        // A link that stands here leads elsewhere.
        match fs::remove_file(&begun) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().write(true).create_new(true).open(&begun)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        let mut frames = FrameWriter::begin(file, MAGIC)?;
        let json = serde_json::to_vec(header).expect("a header always serialises");
        frames.write(&[&[HEADER][..], &json].concat())?;
        let mut recorder = Self {
            path: path.to_owned(),
            part,
            behind: behind.cloned(),
            frames: Some(frames),
            piece: vec![RECORDS],
            written_at: Instant::now(),
            last: Vec::new(),
            failed: None,
        };
        recorder.take_over_from(None)?;
        Ok(recorder)
    }

    /// Notes what holds of `path` as long as it has its stamp. Paths come in tree order.
    pub(crate) fn note(&mut self, path: &TreePath, noted: &Noted) {
        if self.frames.is_none() {
            return;
        }
        record::put(&mut self.piece, &self.last, path, noted);
        self.last.clear();
        self.last.extend_from_slice(path.as_bytes());
        if let Err(error) = self.take_over_from(Some(path)).and_then(|()| self.write_if_due()) {
            self.frames = None;
            self.failed = Some(error);
        }
    }

    /// Takes the place of what was interrupted, once it is no further.
    fn take_over_from(&mut self, at: Option<&TreePath>) -> io::Result<()> {
        let begun = beside(&self.path, BEGUN);
        match &self.behind {
            Some(behind) if at.is_none_or(|at| at < behind) => return Ok(()),
            None if at.is_some() => return Ok(()),
            _ => {}
        }
        self.behind = None;
        self.write()?;
        fs::rename(begun, &self.part)
    }

    fn write_if_due(&mut self) -> io::Result<()> {
        let is_due = self.piece.len() >= PIECE_BYTES || self.written_at.elapsed() >= PIECE_AGE;
        if is_due { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        if let Some(frames) = self.frames.as_mut().filter(|_| self.piece.len() > 1) {
            frames.write(&self.piece)?;
            self.piece.truncate(1);
        }
        self.written_at = Instant::now();
        Ok(())
    }

    /// Puts the record in the cache's place, whole. It does not wait for the disk: after a
    /// crash of the machine no cache is of use, as it is bound to the boot; and one that the
    /// disk did not take shows as damaged by its checksums.
    ///
    /// # Errors
    /// When it, or anything before, could not be written; the cache is then as it
    /// was.
    pub(crate) fn finish(mut self) -> Result<(), CacheError> {
        let failed = self.failed.take();
        let finished = failed.map_or_else(|| self.put_in_place(), Err);
        finished.map_err(|source| {
            for left in [self.part.clone(), beside(&self.path, BEGUN)] {
                let _ = fs::remove_file(left);
            }
            CacheError::Use { path: self.path.clone(), source }
        })
    }

    fn put_in_place(&mut self) -> io::Result<()> {
        if self.behind.take().is_some() {
            fs::rename(beside(&self.path, BEGUN), &self.part)?;
        }
        self.write()?;
        let Some(frames) = &mut self.frames else { return Ok(()) };
        frames.write(&[END])?;
        fs::rename(&self.part, &self.path)
    }
}
