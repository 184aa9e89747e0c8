//! The members of an archive, one after another, as they stand in it.
//!
//! The crate `tar` reads the fields of headers; what lies between them is read here,
//! since it takes the records of extended headers apart at newlines, which file
//! capabilities hold. Formats: POSIX.1-2017 (ustar, pax) and GNU tar.
//!
//! What two readers could take for different things is refused: sizes that disagree,
//! content after what has none, unknown kinds.

use std::borrow::Cow;
use std::io::{self, Read};

use congruent_protocol::entry::{Device, Timestamp, Xattrs};
use congruent_protocol::path::escape;
use tar::{EntryType, Header};

use super::pax::Pax;
use super::sparse::{self, SparseMap};

const BLOCK_BYTES: usize = 512;
/// The largest extended header, and the longest name in one of its own. Go takes as much.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;
/// The most extended headers before a member; writers put three there, and perhaps one that
/// is for all members.
const MAX_EXTENSIONS: usize = 100;
const BUFFER_BYTES: usize = 128 << 10;
static ZEROS: [u8; BUFFER_BYTES] = [0; BUFFER_BYTES];

/// What an archive may come to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many members it has at most.
    pub members: u64,
    /// How many bytes its files hold at most, holes counted.
    pub content_bytes: u64,
    /// How many bytes of memory all that it lists takes at most: names, attributes, and
    /// directories that are only implied.
    pub listed_bytes: u64,
}

impl Limits {
    /// Far above any image that runs somewhere; what is above it is made to do harm.
    pub(crate) const USUAL: Self =
        Self { members: 10_000_000, content_bytes: 4 << 40, listed_bytes: 4 << 30 };
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// It could not be read, or ends within a member.
    #[error("cannot read the archive after the member {after}")]
    Read {
        /// The last whole member, escaped.
        after: String,
        /// What the reader said.
        #[source]
        source: io::Error,
    },
    /// A header is none.
    #[error("what follows the member {after} is no header of a tar archive: {why}")]
    Header {
        /// The last whole member, escaped.
        after: String,
        /// What is wrong with it.
        why: String,
    },
    /// A member is not what a layer can hold.
    #[error("the member {member} is refused: {why}")]
    Member {
        /// Its name, escaped.
        member: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is more than is taken.
    #[error("the archive has {what}, and the limit is {limit}; it was refused at the member {member}")]
    Limit {
        /// Of what there is too much.
        what: &'static str,
        /// How much is taken.
        limit: u64,
        /// Where it was noticed, escaped.
        member: String,
    },
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    CharDevice(Device),
    BlockDevice(Device),
}

/// A member, without its content.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// As it stands in the archive.
    pub(super) name: Vec<u8>,
    pub(super) kind: MemberKind,
    /// Where a link points.
    pub(super) link: Vec<u8>,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    pub(super) xattrs: Xattrs,
    /// The length of its content, holes counted.
    pub(super) size: u64,
}

/// Reads members from `input`.
pub(super) struct Members<R> {
    input: R,
    limits: Limits,
    /// What of the last member is still to be read.
    content: Content,
    last: Vec<u8>,
    seen: u64,
    content_bytes: u64,
    buffer: Box<[u8]>,
}

/// What is left of a member's content and its padding.
#[derive(Debug, Default)]
struct Content {
    stored: u64,
    padding: u64,
    sparse: Option<SparseMap>,
}

/// What stands before a member's own header.
#[derive(Default)]
struct Extensions {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Members<R> {
    pub(super) fn new(input: R, limits: Limits) -> Self {
        Self {
            input,
            limits,
            content: Content::default(),
            last: Vec::new(),
            seen: 0,
            content_bytes: 0,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
        }
    }

    /// The next member; none at the archive's end. What was not read of the content
    /// of the one before is passed over.
    pub(super) fn next(&mut self) -> Result<Option<Member>, MemberError> {
        self.skip_content()?;
        let mut extensions = Extensions::default();
        for _ in 0..=MAX_EXTENSIONS {
            let Some(header) = self.header()? else { return Ok(None) };
            match header.entry_type() {
                EntryType::XHeader => {
                    let bytes = self.extension(&header)?;
                    extensions.pax = Some(Pax::parse(&bytes).map_err(|why| self.bad_header(why))?);
                }
                EntryType::GNULongName => extensions.long_name = Some(self.long_text(&header)?),
                EntryType::GNULongLink => extensions.long_link = Some(self.long_text(&header)?),
                // Runtimes pass it over: it is a revision's name or a comment.
                EntryType::XGlobalHeader => drop(self.extension(&header)?),
                _ => {
                    self.seen += 1;
                    let member = self.member(&header, extensions)?;
                    self.last.clone_from(&member.name);
                    return Ok(Some(member));
                }
            }
        }
        Err(self.bad_header(format!("over {MAX_EXTENSIONS} extended headers stand before it")))
    }

    /// Reads the content of the member that came last, holes as zeros.
    pub(super) fn read_content(&mut self, mut sink: impl FnMut(&[u8])) -> Result<(), MemberError> {
        let Content { stored, sparse, .. } = &mut self.content;
        let (stored, sparse) = (std::mem::take(stored), sparse.take());
        match sparse {
            None => self.copy(stored, &mut sink)?,
            Some(map) => {
                let mut at = 0;
                for part in map.parts {
                    write_zeros(part.offset - at, &mut sink);
                    self.copy(part.bytes, &mut sink)?;
                    at = part.offset + part.bytes;
                }
                write_zeros(map.size - at, &mut sink);
            }
        }
        self.skip_content()
    }

    fn skip_content(&mut self) -> Result<(), MemberError> {
        let Content { stored, padding, .. } = std::mem::take(&mut self.content);
        self.copy(stored, &mut |_| {})?;
        // umoci ends archives after the last member's content.
        let mut padding = self.input.by_ref().take(padding);
        io::copy(&mut padding, &mut io::sink()).map(drop).map_err(|source| self.unreadable(source))
    }

    fn copy(&mut self, mut bytes: u64, sink: &mut impl FnMut(&[u8])) -> Result<(), MemberError> {
        while bytes > 0 {
            let wanted = usize::try_from(bytes).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            let buffer = &mut self.buffer[..wanted];
            self.input
                .read_exact(buffer)
                .map_err(|source| MemberError::Read { after: escape(&self.last).into_owned(), source })?;
            sink(buffer);
            bytes -= wanted as u64;
        }
        Ok(())
    }

    /// The next header; none at the end, which is marked by empty blocks or is where
    /// the bytes end.
    fn header(&mut self) -> Result<Option<Header>, MemberError> {
        let mut block = [0; BLOCK_BYTES];
        if !self.read_block(&mut block)? {
            return Ok(None);
        }
        if block == [0; BLOCK_BYTES] {
            let is_end = !self.read_block(&mut block)? || block == [0; BLOCK_BYTES];
            return if is_end { Ok(None) } else { Err(self.bad_header("one empty block stands before it")) };
        }
        let header = Header::from_byte_slice(&block).clone();
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, &b)| if (148..156).contains(&at) { 32 } else { b.into() })
            .sum();
        match header.cksum() {
            Ok(stated) if stated == sum => Ok(Some(header)),
            _ => Err(self.bad_header("its checksum does not fit")),
        }
    }

    /// Fills a block; `false` where there are no more bytes.
    fn read_block(&mut self, block: &mut [u8; BLOCK_BYTES]) -> Result<bool, MemberError> {
        let mut filled = 0;
        while filled < BLOCK_BYTES {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(self.unreadable(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unreadable(error)),
            }
        }
        Ok(true)
    }

    /// What an extended header holds.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, MemberError> {
        let size = header.entry_size().map_err(|_| self.bad_header("its size is malformed"))?;
        if size > MAX_EXTENSION_BYTES {
            return Err(
                self.bad_header(format!("it has {size} bytes, and the limit is {MAX_EXTENSION_BYTES}"))
            );
        }
        let mut bytes = Vec::new();
        self.copy(size, &mut |piece| bytes.extend_from_slice(piece))?;
        self.copy(padding_of(size), &mut |_| {})?;
        Ok(bytes)
    }

    fn long_text(&mut self, header: &Header) -> Result<Vec<u8>, MemberError> {
        let mut bytes = self.extension(header)?;
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        Ok(bytes)
    }

    fn member(&mut self, header: &Header, extensions: Extensions) -> Result<Member, MemberError> {
        let Extensions { pax, long_name, long_link } = extensions;
        let mut pax = pax.unwrap_or_default();
        let name = pax.sparse.name.take().or(pax.path.take()).or(long_name);
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let refuse = |why: String| MemberError::Member { member: escape(&name).into_owned(), why };
        let malformed = |what: &str| refuse(format!("its {what} is malformed"));
        self.check_members(&name)?;
        let link = pax.link.take().or(long_link);
        let link = link.or_else(|| header.link_name_bytes().map(Cow::into_owned));
        let kind = kind_of(header, &name).map_err(refuse)?;
        let stored = stored_size(header, &pax).map_err(refuse)?;
        if kind != MemberKind::File && stored != 0 {
            return Err(refuse(format!("it is no file, and {stored} bytes of content follow it")));
        }
        self.content = Content { stored, padding: padding_of(stored), sparse: None };
        let sparse = self.sparse_map(header, &pax, stored);
        let sparse = sparse.map_err(|source| self.unreadable(source))?.map_err(refuse)?;
        let size = sparse.as_ref().map_or(stored, |map| map.size);
        self.content.sparse = sparse;
        self.check_content(size, &name)?;
        let id = |what, stated: Option<u64>, field: io::Result<u64>| {
            let id = stated.map_or(field, Ok).ok().and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| malformed(what))
        };
        let (uid, gid) = (id("uid", pax.uid, header.uid())?, id("gid", pax.gid, header.gid())?);
        let mode = header.mode().map_err(|_| malformed("mode"))?;
        let seconds = header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok());
        let mtime = pax.mtime.or(seconds.map(|seconds| Timestamp { seconds, nanoseconds: 0 }));
        Ok(Member {
            kind,
            link: link.unwrap_or_default(),
            mode: (mode & 0o7777) as u16,
            uid,
            gid,
            mtime: mtime.ok_or_else(|| malformed("mtime"))?,
            xattrs: std::mem::take(&mut pax.xattrs),
            size,
            name,
        })
    }

    /// The map of a sparse file, whose form may put it before the content.
    fn sparse_map(
        &mut self,
        header: &Header,
        pax: &Pax,
        stored: u64,
    ) -> io::Result<Result<Option<SparseMap>, String>> {
        let records = &pax.sparse;
        if header.entry_type() == EntryType::GNUSparse {
            let read = sparse::from_headers(header, &mut self.input)?;
            return Ok(read.and_then(|(size, parts)| SparseMap::new(size, parts, stored)).map(Some));
        }
        match (records.major, records.minor) {
            (0, _) if records.map.is_empty() && records.real_size.is_none() => Ok(Ok(None)),
            (0, _) => Ok(SparseMap::from_records(records, stored).map(Some)),
            (1, 0) => {
                let Some(size) = records.real_size else {
                    return Ok(Err("it is sparse and does not say its size".to_owned()));
                };
                let (parts, taken) = match sparse::from_content(&mut self.input)? {
                    Ok(read) => read,
                    Err(why) => return Ok(Err(why)),
                };
                let Some(left) = stored.checked_sub(taken) else {
                    return Ok(Err("its sparse map is longer than what is stored".to_owned()));
                };
                self.content.stored = left;
                Ok(SparseMap::new(size, parts, left).map(Some))
            }
            (major, minor) => Ok(Err(format!("it is sparse in the unknown form {major}.{minor}"))),
        }
    }

    fn check_members(&self, name: &[u8]) -> Result<(), MemberError> {
        let limit = self.limits.members;
        if self.seen <= limit {
            return Ok(());
        }
        Err(MemberError::Limit { what: "too many members", limit, member: escape(name).into_owned() })
    }

    fn check_content(&mut self, size: u64, name: &[u8]) -> Result<(), MemberError> {
        let limit = self.limits.content_bytes;
        self.content_bytes = self.content_bytes.saturating_add(size);
        if self.content_bytes <= limit {
            return Ok(());
        }
        Err(MemberError::Limit {
            what: "too many bytes of content",
            limit,
            member: escape(name).into_owned(),
        })
    }

    fn bad_header(&self, why: impl Into<String>) -> MemberError {
        MemberError::Header { after: escape(&self.last).into_owned(), why: why.into() }
    }

    fn unreadable(&self, source: io::Error) -> MemberError {
        MemberError::Read { after: escape(&self.last).into_owned(), source }
    }
}

fn kind_of(header: &Header, name: &[u8]) -> Result<MemberKind, String> {
    let device = || {
        let number = |read: io::Result<Option<u32>>| read.ok().flatten();
        let (major, minor) = (number(header.device_major()), number(header.device_minor()));
        let numbers = major.zip(minor).ok_or("its device number is malformed")?;
        Ok::<_, String>(Device { major: numbers.0, minor: numbers.1 })
    };
    Ok(match header.entry_type() {
        // Before there were directories in archives, a slash said so.
        EntryType::Regular if header.as_bytes()[156] == 0 && name.ends_with(b"/") => MemberKind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => MemberKind::File,
        EntryType::Directory => MemberKind::Directory,
        EntryType::Symlink => MemberKind::Symlink,
        EntryType::Link => MemberKind::HardLink,
        EntryType::Fifo => MemberKind::Fifo,
        EntryType::Char => MemberKind::CharDevice(device()?),
        EntryType::Block => MemberKind::BlockDevice(device()?),
        other => return Err(format!("it is of the unknown kind {:?}", char::from(other.as_byte()))),
    })
}

/// How much of its content is in the archive. Writers whose field is too small for it
/// put 0 there.
fn stored_size(header: &Header, pax: &Pax) -> Result<u64, String> {
    let field = header.entry_size().map_err(|_| "its size is malformed".to_owned());
    match (pax.size, field) {
        (None, field) => field,
        (Some(size), Ok(field)) if field != 0 && field != size => {
            Err(format!("its header says that it has {field} bytes, and its extended header {size}"))
        }
        (Some(size), _) => Ok(size),
    }
}

fn padding_of(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK_BYTES as u64
}

fn write_zeros(mut bytes: u64, sink: &mut impl FnMut(&[u8])) {
    while bytes > 0 {
        let count = usize::try_from(bytes).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        sink(&ZEROS[..count]);
        bytes -= count as u64;
    }
}
