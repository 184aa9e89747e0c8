//! Reads bolt files, in which containerd and Podman keep what they know: a tree of buckets with
//! keys and values, in pages. bbolt's `page.go`, `bucket.go` and `meta` say how.
//!
//! Reads only, and holds no lock: containerd has its file locked as long as it runs, and
//! Podman must not wait for us. That is safe: a transaction writes to free pages alone, then one of two
//! meta pages. Pages of a transaction stay as they are until the one after the next,
//! so whoever reads the file whole and finds the newest meta page unchanged
//! afterwards ([`transaction`]) has one state of it.

use std::cell::Cell;

/// As much of a file's beginning as holds both meta pages, whatever the page size.
pub const HEAD_BYTES: usize = 2 * MAX_PAGE_BYTES;
const MAX_PAGE_BYTES: usize = 64 << 10;
const MIN_PAGE_BYTES: usize = 512;
const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// Id, flags, count, overflow.
const PAGE_HEADER_BYTES: usize = 16;
const ELEMENT_BYTES: usize = 16;
/// Root page and sequence.
const BUCKET_HEADER_BYTES: usize = 16;
/// What of a meta page its checksum is over.
const SUMMED_BYTES: usize = 56;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
/// Of a leaf's element: its value is a bucket.
const IS_BUCKET: u32 = 1;
/// Deeper than any tree of pages grows.
const MAX_DEPTH: usize = 32;
/// How many pages and elements are looked at in all: pages may lead in circles.
const MAX_STEPS: usize = 20_000_000;

/// Why bytes are not a file of bolt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BoltError {
    /// Neither meta page is whole.
    #[error("it has no whole meta page")]
    NoMeta,
    /// A page is not there, or not what it should be.
    #[error("page {0} is damaged")]
    Page(u64),
    /// Pages lead in circles, or it is far larger than what is kept in such files.
    #[error("it leads through more pages than are followed")]
    TooLarge,
}

/// What a meta page says.
#[derive(Debug, Clone, Copy)]
struct Meta {
    page_bytes: usize,
    root: u64,
    transaction: u64,
}

/// A file, read whole.
pub struct Bolt {
    bytes: Vec<u8>,
    meta: Meta,
    steps: Cell<usize>,
}

/// A bucket of a file.
#[derive(Clone, Copy)]
pub struct Bucket<'a> {
    bolt: &'a Bolt,
    at: Place<'a>,
}

/// Small buckets have their only page within their value.
#[derive(Clone, Copy)]
enum Place<'a> {
    Page(u64),
    Inline(&'a [u8]),
}

/// What a key leads to.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A plain value.
    Bytes(&'a [u8]),
    /// A bucket within.
    Bucket(Bucket<'a>),
}

/// The number of the newest transaction in a file that begins with `head`, if that
/// is one of bolt.
pub fn transaction(head: &[u8]) -> Option<u64> {
    newest(head).map(|meta| meta.transaction)
}

impl Bolt {
    /// A file of these bytes.
    ///
    /// # Errors
    /// When it has no whole meta page.
    pub fn new(bytes: Vec<u8>) -> Result<Self, BoltError> {
        let meta = newest(&bytes).ok_or(BoltError::NoMeta)?;
        Ok(Self { bytes, meta, steps: Cell::new(0) })
    }

    /// How long the file is.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The number of the transaction that it shows.
    pub fn transaction(&self) -> u64 {
        self.meta.transaction
    }

    /// The bucket that holds all others.
    pub fn root(&self) -> Bucket<'_> {
        Bucket { bolt: self, at: Place::Page(self.meta.root) }
    }

    fn page(&self, id: u64) -> Result<&[u8], BoltError> {
        let find = || {
            let begin = usize::try_from(id).ok()?.checked_mul(self.meta.page_bytes)?;
            let page = self.bytes.get(begin..)?;
            let overflow = usize::try_from(u32_at(page, 12)?).ok()?;
            let length = overflow.checked_add(1)?.checked_mul(self.meta.page_bytes)?;
            (u64_at(page, 0)? == id).then(|| page.get(..length)).flatten()
        };
        find().ok_or(BoltError::Page(id))
    }

    fn step(&self) -> Result<(), BoltError> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MAX_STEPS { Err(BoltError::TooLarge) } else { Ok(()) }
    }

    /// Adds what a page, and all pages below, hold.
    fn collect<'a>(
        &'a self,
        id: u64,
        page: &'a [u8],
        depth: usize,
        into: &mut Vec<(&'a [u8], Value<'a>)>,
    ) -> Result<(), BoltError> {
        let damaged = || BoltError::Page(id);
        if depth > MAX_DEPTH {
            return Err(damaged());
        }
        self.step()?;
        let flags = u16_at(page, 8).ok_or_else(damaged)?;
        let count = usize::from(u16_at(page, 10).ok_or_else(damaged)?);
        for index in 0..count {
            self.step()?;
            // Each has bytes of its own.
            if into.len() > self.bytes.len() / ELEMENT_BYTES {
                return Err(BoltError::TooLarge);
            }
            let element = page.get(PAGE_HEADER_BYTES + index * ELEMENT_BYTES..).ok_or_else(damaged)?;
            match flags {
                BRANCH => {
                    let below = u64_at(element, 8).ok_or_else(damaged)?;
                    self.collect(below, self.page(below)?, depth + 1, into)?;
                }
                LEAF => into.push(self.leaf(element).ok_or_else(damaged)?),
                _ => return Err(damaged()),
            }
        }
        Ok(())
    }

    /// Flags, position, size of the key, size of the value; then both, from the
    /// position on.
    fn leaf<'a>(&'a self, element: &'a [u8]) -> Option<(&'a [u8], Value<'a>)> {
        let number = |at| usize::try_from(u32_at(element, at)?).ok();
        let (position, key_bytes, value_bytes) = (number(4)?, number(8)?, number(12)?);
        let value_at = position.checked_add(key_bytes)?;
        let key = element.get(position..value_at)?;
        let value = element.get(value_at..value_at.checked_add(value_bytes)?)?;
        if u32_at(element, 0)? & IS_BUCKET == 0 {
            return Some((key, Value::Bytes(value)));
        }
        let at = match u64_at(value, 0)? {
            0 => Place::Inline(value.get(BUCKET_HEADER_BYTES..)?),
            page => Place::Page(page),
        };
        Some((key, Value::Bucket(Bucket { bolt: self, at })))
    }
}

impl<'a> Bucket<'a> {
    /// All keys in it with what they lead to, in order.
    ///
    /// # Errors
    /// When a page is damaged.
    pub fn items(&self) -> Result<Vec<(&'a [u8], Value<'a>)>, BoltError> {
        let mut items = Vec::new();
        match self.at {
            Place::Page(id) => self.bolt.collect(id, self.bolt.page(id)?, 0, &mut items)?,
            Place::Inline(page) => self.bolt.collect(0, page, 0, &mut items)?,
        }
        Ok(items)
    }

    /// The bucket of this name in it.
    ///
    /// # Errors
    /// When a page is damaged.
    pub fn bucket(&self, name: &str) -> Result<Option<Bucket<'a>>, BoltError> {
        Ok(self.get(name)?.and_then(|value| match value {
            Value::Bucket(bucket) => Some(bucket),
            Value::Bytes(_) => None,
        }))
    }

    /// The plain value of this name in it.
    ///
    /// # Errors
    /// When a page is damaged.
    pub fn bytes(&self, name: &str) -> Result<Option<&'a [u8]>, BoltError> {
        Ok(self.get(name)?.and_then(|value| match value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Bucket(_) => None,
        }))
    }

    fn get(&self, name: &str) -> Result<Option<Value<'a>>, BoltError> {
        Ok(self.items()?.into_iter().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value))
    }
}

/// The newer of the meta pages that are whole. One may be half written, and only
/// the other then says where it is.
fn newest(bytes: &[u8]) -> Option<Meta> {
    let mut sizes = std::iter::successors(Some(MIN_PAGE_BYTES), |size| Some(size * 2));
    let first = meta(bytes, 0);
    let second = match first {
        Some(first) => meta(bytes, first.page_bytes),
        None => sizes
            .by_ref()
            .take_while(|&size| size <= MAX_PAGE_BYTES)
            .find_map(|size| meta(bytes, size).filter(|meta| meta.page_bytes == size)),
    };
    first.into_iter().chain(second).max_by_key(|meta| meta.transaction)
}

fn meta(bytes: &[u8], at: usize) -> Option<Meta> {
    let meta = bytes.get(at.checked_add(PAGE_HEADER_BYTES)?..)?;
    let known = u32_at(meta, 0)? == MAGIC && u32_at(meta, 4)? == VERSION;
    let whole = u64_at(meta, SUMMED_BYTES)? == fnv1a(&meta[..SUMMED_BYTES]);
    let page_bytes = usize::try_from(u32_at(meta, 8)?).ok()?;
    let sized = page_bytes.is_power_of_two() && (MIN_PAGE_BYTES..=MAX_PAGE_BYTES).contains(&page_bytes);
    let found = || Some(Meta { page_bytes, root: u64_at(meta, 16)?, transaction: u64_at(meta, 48)? });
    (known && whole && sized).then(found).flatten()
}

/// The checksum of a meta page: 64 bits of FNV-1a.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

// Numbers stand as the machine that wrote them has them, which is this one.

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(super) const PAGE: usize = 512;

    /// What is to stand in a file.
    pub(crate) enum Tree {
        Bytes(Vec<u8>),
        Bucket(Vec<(String, Tree)>),
    }

    /// A bucket of these.
    pub(crate) fn bucket<const N: usize>(items: [(&str, Tree); N]) -> Tree {
        Tree::Bucket(items.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// A plain value.
    pub(crate) fn bytes(value: impl AsRef<[u8]>) -> Tree {
        Tree::Bytes(value.as_ref().to_vec())
    }

    /// A file whose root bucket holds one bucket, `v1`, as containerd's do.
    pub(crate) fn file_of(v1: Tree) -> Vec<u8> {
        file_with(&bucket([("v1", v1)]))
    }

    /// A file with this root bucket.
    pub(crate) fn file_with(root: &Tree) -> Vec<u8> {
        let mut page = encode(root)[BUCKET_HEADER_BYTES..].to_vec();
        page[..8].copy_from_slice(&2_u64.to_ne_bytes());
        let overflow = (page.len() - 1) / PAGE;
        page[12..16].copy_from_slice(&(overflow as u32).to_ne_bytes());
        page.resize((overflow + 1) * PAGE, 0);
        [meta_page(0, 7, 2), meta_page(1, 6, 2), page].concat()
    }

    /// A value; of a bucket with its only page within.
    fn encode(tree: &Tree) -> Vec<u8> {
        let items = match tree {
            Tree::Bytes(value) => return value.clone(),
            Tree::Bucket(items) => items,
        };
        let values: Vec<_> = items.iter().map(|(_, value)| encode(value)).collect();
        let flag = |value: &Tree| if matches!(value, Tree::Bucket(_)) { IS_BUCKET } else { 0 };
        let list = items.iter().zip(&values);
        let list: Vec<_> = list.map(|((key, tree), value)| (flag(tree), &key[..], &value[..])).collect();
        [&[0; BUCKET_HEADER_BYTES][..], &leaf(0, &list)].concat()
    }

    pub(super) fn meta_page(id: u64, transaction: u64, root: u64) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        page[..8].copy_from_slice(&id.to_ne_bytes());
        let meta = &mut page[PAGE_HEADER_BYTES..];
        meta[..4].copy_from_slice(&MAGIC.to_ne_bytes());
        meta[4..8].copy_from_slice(&VERSION.to_ne_bytes());
        meta[8..12].copy_from_slice(&(PAGE as u32).to_ne_bytes());
        meta[16..24].copy_from_slice(&root.to_ne_bytes());
        meta[48..56].copy_from_slice(&transaction.to_ne_bytes());
        let sum = fnv1a(&meta[..SUMMED_BYTES]);
        meta[56..64].copy_from_slice(&sum.to_ne_bytes());
        page
    }

    pub(super) fn header(id: u64, flags: u16, count: usize) -> Vec<u8> {
        let mut page = id.to_ne_bytes().to_vec();
        page.extend(flags.to_ne_bytes());
        page.extend((count as u16).to_ne_bytes());
        page.extend(0_u32.to_ne_bytes());
        page
    }

    /// A leaf of these keys and values; those with a flag are buckets.
    pub(super) fn leaf(id: u64, items: &[(u32, &str, &[u8])]) -> Vec<u8> {
        let mut page = header(id, LEAF, items.len());
        let mut data = Vec::new();
        for (index, (flags, key, value)) in items.iter().enumerate() {
            let position = (items.len() - index) * ELEMENT_BYTES + data.len();
            for number in [*flags, position as u32, key.len() as u32, value.len() as u32] {
                page.extend(number.to_ne_bytes());
            }
            data.extend([key.as_bytes(), value].concat());
        }
        page.extend(data);
        page
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{PAGE, header, leaf, meta_page};
    use super::*;

    fn branch(id: u64, below: &[u64]) -> Vec<u8> {
        let mut page = header(id, BRANCH, below.len());
        for page_below in below {
            page.extend([0_u8; 8]);
            page.extend(page_below.to_ne_bytes());
        }
        page
    }

    fn file(pages: Vec<Vec<u8>>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for mut page in pages {
            page.resize(PAGE, 0);
            bytes.extend(page);
        }
        bytes
    }

    fn whole() -> Vec<u8> {
        let inline = [&[0; BUCKET_HEADER_BYTES][..], &leaf(0, &[(0, "image", b"app:1")])].concat();
        let nested = [&4_u64.to_ne_bytes()[..], &[0; 8]].concat();
        let root = leaf(2, &[(1, "inline", &inline), (1, "nested", &nested), (0, "plain", b"v")]);
        let low = leaf(5, &[(0, "a", b"1"), (0, "b", b"2")]);
        let high = leaf(6, &[(0, "c", b"3")]);
        file(vec![meta_page(0, 7, 2), meta_page(1, 6, 3), root, Vec::new(), branch(4, &[5, 6]), low, high])
    }

    #[test]
    fn buckets_within_and_beneath_are_read() {
        let bolt = Bolt::new(whole()).unwrap();
        assert_eq!((bolt.transaction(), transaction(&whole()[..2 * PAGE])), (7, Some(7)));
        let root = bolt.root();
        assert_eq!(root.bytes("plain").unwrap(), Some(&b"v"[..]));
        assert_eq!(root.bytes("inline").unwrap(), None);
        let inline = root.bucket("inline").unwrap().unwrap();
        assert_eq!(inline.bytes("image").unwrap(), Some(&b"app:1"[..]));
        let nested = root.bucket("nested").unwrap().unwrap().items().unwrap();
        assert_eq!(nested.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [b"a", b"b", b"c"]);
        assert!(root.bucket("plain").unwrap().is_none() && root.bucket("none").unwrap().is_none());
    }

    #[test]
    fn a_half_written_meta_page_does_not_count() {
        let mut bytes = whole();
        bytes[20] ^= 1;
        assert_eq!(Bolt::new(bytes.clone()).unwrap().transaction(), 6);
        bytes[PAGE + 20] ^= 1;
        assert_eq!(Bolt::new(bytes).err(), Some(BoltError::NoMeta));
        assert_eq!(Bolt::new(Vec::new()).err(), Some(BoltError::NoMeta));
    }

    #[test]
    fn damage_is_told() {
        let check = |pages: Vec<Vec<u8>>, expected: BoltError| {
            let bolt = Bolt::new(file(pages)).unwrap();
            assert_eq!(bolt.root().items().err(), Some(expected));
        };
        let metas = |root| vec![meta_page(0, 7, root), meta_page(1, 6, root)];
        check(metas(9), BoltError::Page(9));
        check(metas(u64::MAX), BoltError::Page(u64::MAX));
        check([metas(2), vec![leaf(3, &[])]].concat(), BoltError::Page(2));
        check([metas(2), vec![header(2, 4, 1)]].concat(), BoltError::Page(2));
        check([metas(2), vec![branch(2, &[2])]].concat(), BoltError::Page(2));
        let mut torn = leaf(2, &[(0, "key", b"value")]);
        torn[PAGE_HEADER_BYTES + 12..][..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        check([metas(2), vec![torn]].concat(), BoltError::Page(2));
        let circle = branch(2, &[2; 30]);
        let bolt = Bolt::new(file([metas(2), vec![circle]].concat())).unwrap();
        assert!(bolt.root().items().is_err());
    }
}
