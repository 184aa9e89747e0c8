//! The entries section: every entry in tree order, one record each.
//!
//! A record gives the depth and the last component, so that a path costs its
//! name alone and the order proves itself: a child can only follow its own
//! directory, and names in a directory strictly rise. The section's digest is
//! that of the records before compression.

mod layer;

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use crate::digest::{Algorithm, DIGEST_BYTES, Digest, Hasher};
use crate::entry::{Device, Entry, Kind, Node, Timestamp, Xattrs};
use crate::manifest::EntriesSummary;
use crate::path::TreePath;

pub use layer::{LayerReader, LayerWriter};

/// The longest link target taken; Linux allows 4095.
const MAX_TARGET_BYTES: u64 = 65_536;
/// The longest xattr value taken, as in Linux.
const MAX_XATTR_VALUE_BYTES: u64 = 65_536;
/// The most xattrs taken on one entry.
const MAX_XATTRS: u64 = 4_096;
/// The deepest path taken.
const MAX_DEPTH: u64 = 65_536;
/// How much is decompressed and hashed at once.
const BUFFER_BYTES: usize = 1 << 16;
const ZSTD_LEVEL: i32 = 3;
/// Largest zstd window accepted, as a power of two.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A path and what was recorded of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry {
    /// Where it is.
    pub path: TreePath,
    /// What it is.
    pub entry: Entry,
}

/// Why an entries section cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum EntriesError {
    /// The section ended early, or the file could not be read.
    #[error("cannot read the manifest's entries after {after}")]
    Read {
        /// The last whole entry.
        after: TreePath,
        /// What the reader said.
        #[source]
        source: io::Error,
    },
    /// The section could not be written.
    #[error("cannot write the manifest's entries")]
    Write(#[source] io::Error),
    /// A record breaks the format's rules.
    #[error("the manifest's entry after {after} is malformed: {what}")]
    Malformed {
        /// The last whole entry.
        after: TreePath,
        /// The rule that is broken.
        what: String,
    },
    /// An entry lies where none is part of the tree.
    #[error("the manifest has the entry {0}, which lies in a place that it reserves")]
    Reserved(TreePath),
    /// An entry has an attribute that its contract does not compare.
    #[error("the manifest's entry {path} has the xattr {name:?}, which its contract puts out of scope")]
    XattrOutOfScope {
        /// Where.
        path: TreePath,
        /// The attribute's name, escaped.
        name: String,
    },
    /// An entry belongs to a package that is not listed.
    #[error("the manifest's entry {path} names package {package}, and {listed} are listed")]
    NoSuchPackage {
        /// Where.
        path: TreePath,
        /// The number that it names.
        package: u32,
        /// How many there are.
        listed: usize,
    },
    /// The section is not what the statement says it is.
    #[error("the manifest's entries do not match its statement: {what} is {found}, stated is {stated}")]
    Mismatch {
        /// Which of the statement's figures.
        what: &'static str,
        /// As found.
        found: String,
        /// As stated.
        stated: String,
    },
}

/// Writes entries in tree order, compressed.
pub struct EntriesWriter<W: Write> {
    out: BufWriter<zstd::Encoder<'static, W>>,
    hasher: Hasher,
    last: Option<TreePath>,
    summary: EntriesSummary,
    record: Vec<u8>,
}

impl<W: Write> EntriesWriter<W> {
    /// A writer of no entries yet to `out`.
    ///
    /// # Errors
    /// When the compressor cannot be set up.
    pub fn new(out: W, algorithm: Algorithm) -> Result<Self, EntriesError> {
        let encoder = zstd::Encoder::new(out, ZSTD_LEVEL).map_err(EntriesError::Write)?;
        Ok(Self {
            out: BufWriter::with_capacity(1 << 16, encoder),
            hasher: algorithm.hasher(),
            last: None,
            summary: EntriesSummary {
                digest: algorithm.digest(b""),
                count: 0,
                section_bytes: 0,
                content_bytes: 0,
            },
            record: Vec::with_capacity(256),
        })
    }

    /// Adds an entry, which must come after the one before it in tree order.
    ///
    /// # Errors
    /// When it is out of order, its content was never read, or it cannot be written.
    pub fn push(&mut self, path: &TreePath, entry: &Entry) -> Result<(), EntriesError> {
        self.check_order(path)?;
        if let Node::File { content: None, .. } = entry.node {
            return Err(self.malformed(path, "has no content digest"));
        }
        if entry.xattrs.len() as u64 > MAX_XATTRS {
            return Err(self.malformed(path, "has more xattrs than a manifest can hold"));
        }
        self.record.clear();
        put_record(&mut self.record, path, entry);
        self.write_record(path)?;
        if let Node::File { size, .. } = entry.node {
            self.summary.content_bytes += size;
        }
        Ok(())
    }

    /// Adds a mark, which is a path and a kind alone.
    fn push_mark(&mut self, path: &TreePath, tag: u8) -> Result<(), EntriesError> {
        self.check_order(path)?;
        self.record.clear();
        put_path(&mut self.record, path);
        self.record.push(tag);
        self.write_record(path)
    }

    fn write_record(&mut self, path: &TreePath) -> Result<(), EntriesError> {
        self.hasher.update(&self.record);
        self.out.write_all(&self.record).map_err(EntriesError::Write)?;
        self.summary.count += 1;
        self.summary.section_bytes += self.record.len() as u64;
        match &mut self.last {
            Some(last) => last.clone_from(path),
            None => self.last = Some(path.clone()),
        }
        Ok(())
    }

    fn check_order(&self, path: &TreePath) -> Result<(), EntriesError> {
        match &self.last {
            None if !path.is_root() => Err(self.malformed(path, "comes first, but only / can")),
            Some(last) if last >= path => Err(self.malformed(path, "is out of order")),
            _ => Ok(()),
        }
    }

    fn malformed(&self, path: &TreePath, what: &str) -> EntriesError {
        EntriesError::Malformed {
            after: self.last.clone().unwrap_or_else(TreePath::root),
            what: format!("{path} {what}"),
        }
    }

    /// Ends the section; gives the sink back, with what the statement must say.
    ///
    /// # Errors
    /// When the rest cannot be written.
    pub fn finish(mut self) -> Result<(W, EntriesSummary), EntriesError> {
        self.summary.digest = self.hasher.finish();
        let encoder = self.out.into_inner().map_err(|e| EntriesError::Write(e.into_error()))?;
        let sink = encoder.finish().map_err(EntriesError::Write)?;
        Ok((sink, self.summary))
    }
}

fn put_path(out: &mut Vec<u8>, path: &TreePath) {
    put_varint(out, path.depth() as u64);
    put_bytes(out, path.name());
}

fn put_record(out: &mut Vec<u8>, path: &TreePath, entry: &Entry) {
    put_path(out, path);
    out.push(entry.node.kind().tag());
    put_varint(out, u64::from(entry.mode));
    put_varint(out, u64::from(entry.uid));
    put_varint(out, u64::from(entry.gid));
    put_varint(out, zigzag(entry.mtime.seconds));
    put_varint(out, u64::from(entry.mtime.nanoseconds));
    match &entry.node {
        Node::File { size, content } => {
            put_varint(out, *size);
            out.extend_from_slice(content.expect("the writer refuses files without content").as_bytes());
        }
        Node::Symlink { target } => put_bytes(out, target),
        Node::CharDevice(device) | Node::BlockDevice(device) => {
            put_varint(out, u64::from(device.major));
            put_varint(out, u64::from(device.minor));
        }
        Node::Directory | Node::Fifo | Node::Socket => {}
    }
    if !entry.node.is_directory() {
        put_varint(out, u64::from(entry.link_group));
    }
    put_varint(out, entry.xattrs.len() as u64);
    for (name, value) in &entry.xattrs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
    put_varint(out, u64::from(entry.package));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Unsigned LEB128.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads entries one by one, and holds the section to its statement: the end is
/// only reported once count, length and digest agree.
pub struct EntriesReader<R: Read> {
    input: io::Take<zstd::Decoder<'static, BufReader<R>>>,
    algorithm: Algorithm,
    hasher: Hasher,
    stated: EntriesSummary,
    read_count: u64,
    content_bytes: u64,
    /// The entry before: its path, and whether it may have children.
    path: TreePath,
    last_is_directory: bool,
    /// Where each component of `path` ends in it.
    ends: Vec<usize>,
    name: Vec<u8>,
    /// Records as they were decompressed; those before `at` have been read.
    /// They are hashed in pieces as large as this, which is what is fast.
    buffer: Box<[u8]>,
    at: usize,
    filled: usize,
    /// The bytes read before what is in the buffer.
    before: u64,
    failed: bool,
}

impl<R: Read> EntriesReader<R> {
    /// Reads the compressed section in `input`.
    ///
    /// # Errors
    /// When the decompressor cannot be set up.
    pub fn new(input: R, algorithm: Algorithm, stated: EntriesSummary) -> Result<Self, EntriesError> {
        let setup = |source| EntriesError::Read { after: TreePath::root(), source };
        let mut decoder = zstd::Decoder::new(input).map_err(setup)?.single_frame();
        decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(setup)?;
        // One byte more than stated, so that a longer section shows.
        let limited = decoder.take(stated.section_bytes.saturating_add(1));
        Ok(Self {
            input: limited,
            algorithm,
            hasher: algorithm.hasher(),
            stated,
            read_count: 0,
            content_bytes: 0,
            path: TreePath::root(),
            last_is_directory: false,
            ends: Vec::new(),
            name: Vec::new(),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            at: 0,
            filled: 0,
            before: 0,
            failed: false,
        })
    }

    /// Reads the next entry into `into`; `false` at the proven end.
    ///
    /// # Errors
    /// When the section is cut short, malformed, or not the one stated.
    pub fn read(&mut self, into: &mut ListedEntry) -> Result<bool, EntriesError> {
        let Some(entry) = self.read_next()? else { return Ok(false) };
        into.entry = entry;
        into.path.clone_from(&self.path);
        Ok(true)
    }

    /// The next entry, which is at `self.path`; none at the proven end.
    fn read_next(&mut self) -> Result<Option<Entry>, EntriesError> {
        if self.stated.count == 0 {
            return Err(self.malformed("there is no entry, not even /"));
        }
        if self.failed || self.read_count == self.stated.count {
            return self.check_end().map(|()| None);
        }
        self.failed = true;
        let entry = self.read_entry()?;
        self.failed = false;
        Ok(Some(entry))
    }

    fn read_entry(&mut self) -> Result<Entry, EntriesError> {
        self.read_path()?;
        let tag = self.byte()?;
        self.read_attributes(tag)
    }

    /// Reads what follows the kind of an entry.
    fn read_attributes(&mut self, tag: u8) -> Result<Entry, EntriesError> {
        let mode = self.varint_below("mode", 0o10000)? as u16;
        let uid = self.varint_u32("uid")?;
        let gid = self.varint_u32("gid")?;
        let seconds = unzigzag(self.varint()?);
        let nanoseconds = self.varint_below("nanoseconds", 1_000_000_000)? as u32;
        let node = self.read_node(tag)?;
        let link_group = if node.is_directory() { 0 } else { self.varint_u32("link group")? };
        let xattrs = self.read_xattrs()?;
        let package = self.varint_u32("package")?;
        self.read_count += 1;
        if let Node::File { size, .. } = node {
            self.content_bytes = self.content_bytes.wrapping_add(size);
        }
        self.last_is_directory = node.is_directory();
        Ok(Entry {
            node,
            mode,
            uid,
            gid,
            mtime: Timestamp { seconds, nanoseconds },
            link_group,
            xattrs,
            package,
        })
    }

    /// Reads depth and name, and moves `self.path` there.
    fn read_path(&mut self) -> Result<(), EntriesError> {
        let depth = self.varint_below("depth", MAX_DEPTH)? as usize;
        let mut name = std::mem::take(&mut self.name);
        self.bytes_into("name", crate::path::MAX_NAME_BYTES as u64, &mut name)?;
        let moved = self.move_to(depth, &name);
        self.name = name;
        moved
    }

    fn move_to(&mut self, depth: usize, name: &[u8]) -> Result<(), EntriesError> {
        if self.read_count == 0 {
            return if depth == 0 && name.is_empty() {
                Ok(())
            } else {
                Err(self.malformed("the first entry is not /"))
            };
        }
        let last_depth = self.ends.len();
        if depth == 0 {
            return Err(self.malformed("/ stands twice"));
        }
        if depth > last_depth + usize::from(self.last_is_directory) {
            return Err(self.malformed("a child stands without its directory before it"));
        }
        let above = depth.checked_sub(2).map_or(1, |above| self.ends[above]);
        if let Some(&end) = self.ends.get(depth - 1) {
            // The sibling before; beneath the root its name follows the root's own slash.
            let begin = if depth == 1 { 1 } else { above + 1 };
            if self.path.as_bytes()[begin..end] >= *name {
                return Err(self.malformed("names do not rise"));
            }
        }
        self.path.truncate_bytes(above);
        if let Err(error) = self.path.push(name) {
            return Err(self.malformed(error.to_string()));
        }
        self.ends.truncate(depth - 1);
        self.ends.push(self.path.len());
        Ok(())
    }

    fn read_node(&mut self, tag: u8) -> Result<Node, EntriesError> {
        const KINDS: [Kind; 7] = [
            Kind::File,
            Kind::Directory,
            Kind::Symlink,
            Kind::Fifo,
            Kind::Socket,
            Kind::CharDevice,
            Kind::BlockDevice,
        ];
        let Some(kind) = KINDS.into_iter().find(|kind| kind.tag() == tag) else {
            return Err(self.malformed(format!("kind {tag:#04x} does not exist")));
        };
        if self.read_count == 0 && kind != Kind::Directory {
            return Err(self.malformed("/ is not a directory"));
        }
        Ok(match kind {
            Kind::File => {
                let size = self.varint()?;
                let mut digest = [0; DIGEST_BYTES];
                self.fill(&mut digest)?;
                Node::File { size, content: Some(Digest::new(self.algorithm, digest)) }
            }
            Kind::Symlink => Node::Symlink { target: self.bytes("link target", MAX_TARGET_BYTES)? },
            Kind::CharDevice => Node::CharDevice(self.read_device()?),
            Kind::BlockDevice => Node::BlockDevice(self.read_device()?),
            Kind::Fifo => Node::Fifo,
            Kind::Socket => Node::Socket,
            Kind::Directory | Kind::Mount | Kind::Whiteout | Kind::Opaque => Node::Directory,
        })
    }

    fn read_device(&mut self) -> Result<Device, EntriesError> {
        Ok(Device { major: self.varint_u32("device major")?, minor: self.varint_u32("device minor")? })
    }

    fn read_xattrs(&mut self) -> Result<Xattrs, EntriesError> {
        let count = self.varint_below("number of xattrs", MAX_XATTRS + 1)?;
        let mut xattrs = Xattrs::new();
        for _ in 0..count {
            let name = self.bytes("xattr name", crate::path::MAX_NAME_BYTES as u64)?;
            if xattrs.last().is_some_and(|(last, _)| *last >= name) {
                return Err(self.malformed("xattr names do not rise"));
            }
            // Without a namespace it could be taken for another attribute.
            if name.iter().position(|&b| b == b'.').is_none_or(|at| at == 0) {
                return Err(self.malformed("an xattr has no namespace"));
            }
            let value = self.bytes("xattr value", MAX_XATTR_VALUE_BYTES)?;
            xattrs.push((name, value));
        }
        Ok(xattrs)
    }

    /// Holds count, lengths and digest to what was stated.
    fn check_end(&mut self) -> Result<(), EntriesError> {
        self.hasher.update(&self.buffer[..self.at]);
        let read_bytes = self.before + self.at as u64;
        let mut more = self.filled - self.at;
        (self.at, self.filled, self.before) = (0, 0, read_bytes);
        if more == 0 {
            more = self.input.read(&mut [0; 1]).map_err(|source| self.unreadable(source))?;
        }
        // The frame has been read to its end; nothing unsigned may follow it.
        let rest = self.input.get_mut().get_mut().fill_buf();
        if !rest.map_err(|source| EntriesError::Read { after: self.path.clone(), source })?.is_empty() {
            return Err(self.malformed("something follows the compressed records"));
        }
        let stated = &self.stated;
        let pairs = [
            ("the number of entries", self.read_count, stated.count),
            ("their length in bytes", read_bytes + more as u64, stated.section_bytes),
            ("the sum of file sizes", self.content_bytes, stated.content_bytes),
        ];
        for (what, found, stated) in pairs {
            if found != stated {
                return Err(EntriesError::Mismatch {
                    what,
                    found: found.to_string(),
                    stated: stated.to_string(),
                });
            }
        }
        let digest = self.hasher.finish();
        if digest != stated.digest {
            return Err(EntriesError::Mismatch {
                what: "entries_digest",
                found: digest.to_string(),
                stated: stated.digest.to_string(),
            });
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, EntriesError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                return Err(self.malformed("a number is not in its shortest form, or over 64 bits"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed("a number is over 64 bits"))
    }

    fn varint_below(&mut self, what: &str, limit: u64) -> Result<u64, EntriesError> {
        match self.varint()? {
            value if value < limit => Ok(value),
            value => Err(self.malformed(format!("{what} is {value}, the limit is {limit}"))),
        }
    }

    fn varint_u32(&mut self, what: &str) -> Result<u32, EntriesError> {
        Ok(self.varint_below(what, 1 << 32)? as u32)
    }

    fn bytes(&mut self, what: &str, limit: u64) -> Result<Vec<u8>, EntriesError> {
        let mut bytes = Vec::new();
        self.bytes_into(what, limit, &mut bytes)?;
        Ok(bytes)
    }

    fn bytes_into(&mut self, what: &str, limit: u64, into: &mut Vec<u8>) -> Result<(), EntriesError> {
        let length = self.varint_below(what, limit + 1)?;
        into.clear();
        into.resize(length as usize, 0);
        self.fill(into)
    }

    fn byte(&mut self) -> Result<u8, EntriesError> {
        if self.at == self.filled {
            self.refill()?;
        }
        let byte = self.buffer[self.at];
        self.at += 1;
        Ok(byte)
    }

    fn fill(&mut self, mut into: &mut [u8]) -> Result<(), EntriesError> {
        while !into.is_empty() {
            if self.at == self.filled {
                self.refill()?;
            }
            let count = into.len().min(self.filled - self.at);
            let (now, later) = into.split_at_mut(count);
            now.copy_from_slice(&self.buffer[self.at..self.at + count]);
            self.at += count;
            into = later;
        }
        Ok(())
    }

    /// Hashes what was read, all of it, and decompresses more; there must be more.
    fn refill(&mut self) -> Result<(), EntriesError> {
        self.hasher.update(&self.buffer[..self.filled]);
        self.before += self.filled as u64;
        (self.at, self.filled) = (0, 0);
        while self.filled == 0 {
            match self.input.read(&mut self.buffer) {
                Ok(0) => return Err(self.unreadable(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.filled = count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unreadable(error)),
            }
        }
        Ok(())
    }

    fn unreadable(&self, source: io::Error) -> EntriesError {
        EntriesError::Read { after: self.path.clone(), source }
    }

    fn malformed(&self, what: impl Into<String>) -> EntriesError {
        EntriesError::Malformed { after: self.path.clone(), what: what.into() }
    }
}

/// One entry after another; ends after the first error.
impl<R: Read> Iterator for EntriesReader<R> {
    type Item = Result<ListedEntry, EntriesError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.read_next() {
            Ok(entry) => entry.map(|entry| Ok(ListedEntry { path: self.path.clone(), entry })),
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{arbitrary_tree, sample_tree};
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    fn write(tree: &[ListedEntry]) -> (Vec<u8>, EntriesSummary) {
        let mut writer = EntriesWriter::new(Vec::new(), Algorithm::Blake3).unwrap();
        for listed in tree {
            writer.push(&listed.path, &listed.entry).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8], summary: &EntriesSummary) -> Result<Vec<ListedEntry>, EntriesError> {
        EntriesReader::new(bytes, Algorithm::Blake3, summary.clone())?.collect()
    }

    fn section(records: &[u8]) -> Vec<u8> {
        zstd::encode_all(records, 1).unwrap()
    }

    /// Changing this value is a new format version.
    #[test]
    fn the_encoding_is_frozen() {
        let (bytes, summary) = write(&sample_tree());
        let records = zstd::decode_all(&bytes[..]).unwrap();
        assert_eq!(HEXLOWER.encode(&records), include_str!("../../vectors/entries.hex").trim());
        assert_eq!(summary.section_bytes, records.len() as u64);
    }

    #[test]
    fn every_alteration_is_noticed() {
        let (bytes, summary) = write(&sample_tree());
        let records = zstd::decode_all(&bytes[..]).unwrap();
        for at in 0..records.len() {
            let mut altered = records.clone();
            altered[at] ^= 1;
            assert!(read(&section(&altered), &summary).is_err(), "byte {at}");
            assert!(read(&section(&records[..at]), &summary).is_err(), "cut at {at}");
        }
        let longer = [&records[..], b"x"].concat();
        assert!(read(&section(&longer), &summary).is_err());
        for rest in [&section(b"")[..], b"\x50\x2a\x4d\x18\x01\0\0\0x", b"x"] {
            let error = read(&[&section(&records), rest].concat(), &summary).unwrap_err().to_string();
            assert!(error.contains("something follows"), "{error}");
        }
    }

    #[test]
    fn broken_order_is_named() {
        let dir = |depth: u8, name: &[u8]| [&[depth, name.len() as u8], name, b"d", &[0; 7]].concat();
        for (records, says) in [
            (vec![dir(1, b"a")], "first entry is not /"),
            (vec![dir(0, b""), dir(0, b"")], "/ stands twice"),
            (vec![dir(0, b""), dir(2, b"a")], "without its directory"),
            (vec![dir(0, b""), dir(1, b"b"), dir(1, b"a")], "do not rise"),
            (vec![dir(0, b""), dir(1, b"a"), dir(1, b"a")], "do not rise"),
            (vec![dir(0, b""), dir(1, b"a/b")], "no directory entry"),
            (vec![dir(0, b""), dir(1, b"..")], "no directory entry"),
        ] {
            let summary = EntriesSummary {
                count: records.len() as u64,
                section_bytes: records.concat().len() as u64,
                content_bytes: 0,
                digest: Algorithm::Blake3.digest(&records.concat()),
            };
            let error = read(&section(&records.concat()), &summary).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tree in arbitrary_tree()) {
            let (bytes, summary) = write(&tree);
            prop_assert_eq!(read(&bytes, &summary).unwrap(), tree);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let summary = EntriesSummary { count: 9, section_bytes: 300, content_bytes: 0, digest: Algorithm::Blake3.digest(b"") };
            let _ = read(&section(&bytes), &summary);
            let _ = read(&bytes, &summary);
        }
    }
}
