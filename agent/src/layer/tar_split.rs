//! A layer's archive, put together again from what the runtime recorded of it and the
//! files where they lie unpacked.
//!
//! Docker and containers/storage keep with each layer a recording of its archive
//! without the files' contents (format of <https://github.com/vbatts/tar-split>): lines
//! of JSON in gzip, each a piece of the archive as it was, or the name, length and
//! CRC-64 of a file whose content stood there. The recording is believed as little as
//! the files: only the digest of the whole says that both are as they were.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use congruent_protocol::path::TreePath;
use crc::{CRC_64_GO_ISO, Crc, Digest as CrcDigest};
use data_encoding::BASE64;
use flate2::bufread::MultiGzDecoder;
use rustix::io::Errno;
use serde::Deserialize;

use super::list::resolve;

/// The longest line taken; the longest pieces are extended headers and padding.
const MAX_LINE_BYTES: u64 = 16 << 20;
/// How much shorter all files together may be than they are recorded: a recording may tell of
/// any length, and what is missing is filled up.
const MAX_MISSING_BYTES: u64 = 64 << 30;
/// How many bytes the names of altered files may have.
const MAX_ALTERED_BYTES: usize = 1 << 30;
/// A piece of the archive as it was.
const SEGMENT: u8 = 2;
/// A file whose content stood in the archive.
const FILE: u8 = 1;
static CRC: Crc<u64> = Crc::<u64>::new(&CRC_64_GO_ISO);

/// One line. Members that are not known say nothing that counts here.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default)]
    name: Option<String>,
    /// The name in base64, where it is not UTF-8.
    #[serde(default)]
    name_raw: Option<String>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    payload: Option<String>,
}

/// Where the contents of files are.
pub trait Contents {
    /// Opens the file at `path` of the layer.
    ///
    /// # Errors
    /// When there is none.
    fn open(&self, path: &TreePath) -> io::Result<Box<dyn Read>>;
}

/// The archive, as a stream. A file that is not as it was recorded is read as it is,
/// cut or filled up to its length, and noted.
pub struct Reassembly<'a, R> {
    lines: BufReader<MultiGzDecoder<BufReader<R>>>,
    contents: &'a dyn Contents,
    piece: Piece,
    altered: Vec<TreePath>,
    altered_bytes: usize,
    missing_bytes: u64,
}

enum Piece {
    Segment(Cursor<Vec<u8>>),
    File(Box<FilePiece>),
}

struct FilePiece {
    path: TreePath,
    content: Box<dyn Read>,
    left: u64,
    crc: CrcDigest<'static, u64>,
    recorded: Vec<u8>,
    /// Whether it ended before its recorded length.
    is_short: bool,
    /// Whether it was held to its record already.
    is_settled: bool,
}

impl<'a, R: Read> Reassembly<'a, R> {
    /// From the recording in gzip, and the files of the layer.
    pub fn new(recording: R, contents: &'a dyn Contents) -> Self {
        let lines = BufReader::new(MultiGzDecoder::new(BufReader::new(recording)));
        let piece = Piece::Segment(Cursor::default());
        Self { lines, contents, piece, altered: Vec::new(), altered_bytes: 0, missing_bytes: 0 }
    }

    /// The files that are not as they were recorded, as far as they were read.
    pub fn altered(self) -> Vec<TreePath> {
        self.altered
    }

    /// The next piece; none at the end of the recording.
    fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        let mut text = Vec::new();
        (&mut self.lines).take(MAX_LINE_BYTES).read_until(b'\n', &mut text)?;
        if text.is_empty() {
            return Ok(None);
        }
        if text.last() != Some(&b'\n') && text.len() as u64 == MAX_LINE_BYTES {
            return Err(malformed("a line is too long"));
        }
        let line: Line =
            serde_json::from_slice(&text).map_err(|_| malformed("a line is no JSON of its form"))?;
        let payload = line.payload.as_deref().unwrap_or_default();
        let payload = BASE64.decode(payload.as_bytes()).map_err(|_| malformed("a payload is no base64"))?;
        match (line.kind, line.size.unwrap_or(0)) {
            (SEGMENT, _) => Ok(Some(Piece::Segment(Cursor::new(payload)))),
            // Of what has no content there is only the name.
            (FILE, 0) => Ok(Some(Piece::Segment(Cursor::default()))),
            (FILE, size) => self.open_file(&line, size, payload).map(Some),
            _ => Err(malformed("a line is of an unknown type")),
        }
    }

    fn open_file(&mut self, line: &Line, size: u64, recorded: Vec<u8>) -> io::Result<Piece> {
        let raw = line.name_raw.as_deref().map(|raw| BASE64.decode(raw.as_bytes())).transpose();
        let raw = raw.map_err(|_| malformed("a name is no base64"))?;
        let name =
            raw.or_else(|| line.name.as_deref().map(|name| name.as_bytes().to_vec())).unwrap_or_default();
        let path = resolve(&name).map_err(|why| malformed(&format!("of a name: {why}")))?;
        let opened = match self.contents.open(&path) {
            Ok(content) => Some(content),
            Err(error) if is_gone(&error) => None,
            Err(error) => return Err(error),
        };
        let is_settled = opened.is_none();
        if is_settled {
            self.note_altered(path.clone())?;
        }
        let content = opened.unwrap_or_else(|| Box::new(io::empty()));
        let crc = CRC.digest();
        let is_short = false;
        Ok(Piece::File(Box::new(FilePiece {
            path,
            content,
            left: size,
            crc,
            recorded,
            is_short,
            is_settled,
        })))
    }

    fn note_altered(&mut self, path: TreePath) -> io::Result<()> {
        self.altered_bytes += size_of::<TreePath>() + path.as_bytes().len();
        if self.altered_bytes > MAX_ALTERED_BYTES {
            return Err(malformed("it names too many files that are not as recorded"));
        }
        self.altered.push(path);
        Ok(())
    }

    fn note_missing(&mut self, bytes: u64) -> io::Result<()> {
        self.missing_bytes = self.missing_bytes.saturating_add(bytes);
        if self.missing_bytes > MAX_MISSING_BYTES {
            return Err(malformed(&format!("it tells of over {MAX_MISSING_BYTES} bytes that no file has")));
        }
        Ok(())
    }
}

impl<R: Read> Read for Reassembly<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let count = match &mut self.piece {
                Piece::Segment(bytes) => bytes.read(buffer)?,
                Piece::File(file) => {
                    let (before, was_short) = (file.left, file.is_short);
                    let count = file.read(buffer)?;
                    let missing = if file.is_short && !was_short { before } else { 0 };
                    let altered = file.settle();
                    self.note_missing(missing)?;
                    altered.map_or(Ok(()), |path| self.note_altered(path))?;
                    count
                }
            };
            if count > 0 {
                return Ok(count);
            }
            match self.next_piece()? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
    }
}

impl FilePiece {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let mut count = self.content.read(&mut buffer[..wanted])?;
        if count == 0 {
            // It is shorter than it was: what is missing can be anything else.
            self.is_short = true;
            buffer[..wanted].fill(0);
            count = wanted;
        }
        self.crc.update(&buffer[..count]);
        self.left -= count as u64;
        Ok(count)
    }

    /// Holds what was read whole to its record, once; gives its path where it differs.
    fn settle(&mut self) -> Option<TreePath> {
        if self.left > 0 || self.is_settled {
            return None;
        }
        self.is_settled = true;
        (!self.is_as_recorded()).then(|| self.path.clone())
    }

    fn is_as_recorded(&mut self) -> bool {
        let crc = std::mem::replace(&mut self.crc, CRC.digest()).finalize();
        let is_longer = self.content.read(&mut [0]).map_or(true, |count| count > 0);
        !is_longer && self.recorded == crc.to_be_bytes()
    }
}

/// Whether there is no such file, or something else; any other failure says nothing of it.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidInput)
        || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the recording of the layer's archive is malformed: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    struct Files(BTreeMap<&'static str, &'static [u8]>);

    impl Contents for Files {
        fn open(&self, path: &TreePath) -> io::Result<Box<dyn Read>> {
            let content = self.0.get(&*path.to_string()).ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(*content))
        }
    }

    fn gzip(lines: &[String]) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(lines.join("\n").as_bytes()).unwrap();
        out.finish().unwrap()
    }

    fn recording() -> Vec<u8> {
        let segment =
            |bytes: &[u8]| format!(r#"{{"type":2,"payload":"{}","position":0}}"#, BASE64.encode(bytes));
        let crc = |bytes: &[u8]| BASE64.encode(&CRC.checksum(bytes).to_be_bytes());
        gzip(&[
            segment(b"<head of a>"),
            format!(r#"{{"type":1,"name":"a","size":5,"payload":"{}","position":1}}"#, crc(b"hello")),
            segment(b"<head of odd>"),
            format!(
                r#"{{"type":1,"name_raw":"{}","size":3,"payload":"{}","position":2}}"#,
                BASE64.encode(b"./d/\xff"),
                crc(b"odd")
            ),
            format!(r#"{{"type":1,"name":"empty","payload":"{}","position":3}}"#, crc(b"")),
            segment(b"<end>"),
        ])
    }

    fn read(files: &[(&'static str, &'static [u8])]) -> (String, Vec<String>) {
        let files = Files(files.iter().copied().collect());
        let recording = recording();
        let mut archive = Reassembly::new(&recording[..], &files);
        let mut bytes = Vec::new();
        archive.read_to_end(&mut bytes).unwrap();
        let altered = archive.altered().iter().map(ToString::to_string).collect();
        (String::from_utf8_lossy(&bytes).into_owned(), altered)
    }

    #[test]
    fn pieces_and_files_make_the_archive() {
        let odd = TreePath::new(*b"/d/\xff").unwrap();
        struct Odd(TreePath);
        impl Contents for Odd {
            fn open(&self, path: &TreePath) -> io::Result<Box<dyn Read>> {
                Ok(Box::new(if *path == self.0 { &b"odd"[..] } else { b"hello" }))
            }
        }
        let (recording, contents) = (recording(), Odd(odd));
        let mut archive = Reassembly::new(&recording[..], &contents);
        let mut bytes = Vec::new();
        archive.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"<head of a>hello<head of odd>odd<end>");
        assert_eq!(archive.altered(), []);
    }

    #[test]
    fn what_is_not_as_recorded_is_named() {
        let (archive, altered) = read(&[("/a", b"hullo")]);
        assert_eq!(archive, "<head of a>hullo<head of odd>\0\0\0<end>");
        assert_eq!(altered, ["/a", "/d/\\xff"]);
        assert_eq!(read(&[("/a", b"hello and more")]).1, ["/a", "/d/\\xff"]);
        assert_eq!(read(&[("/a", b"hel")]).1, ["/a", "/d/\\xff"]);
        assert_eq!(read(&[("/a", b"hello")]).1, ["/d/\\xff"]);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for line in [
            "[]",
            r#"{"type":3}"#,
            r#"{"type":2,"payload":"!"}"#,
            r#"{"type":1,"name":"../etc/shadow","size":1,"payload":""}"#,
            r#"{"type":1,"size":1,"payload":""}"#,
            r#"{"type":1,"name_raw":"!","size":1}"#,
            // Nobody waits for so many zeros.
            r#"{"type":1,"name":"gone","size":9223372036854775808}"#,
        ] {
            let recording = gzip(&[line.to_owned()]);
            let files = Files(BTreeMap::new());
            let mut archive = Reassembly::new(&recording[..], &files);
            assert!(archive.read_to_end(&mut Vec::new()).is_err(), "{line}");
        }
        let files = Files(BTreeMap::new());
        assert!(Reassembly::new(&b"no gzip"[..], &files).read_to_end(&mut Vec::new()).is_err());
    }
}
