//! Paths inside an image: byte strings, as the kernel has them.
//!
//! Guarantees that every [`TreePath`] is absolute, holds no empty, `.` or `..`
//! component and no NUL, and that paths compare in *tree order*: by the bytes of
//! names within each directory, a directory before what lies beneath it.
//! It touches no file system.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest component taken, in bytes. Most file systems end at 255; some
/// that count in UTF-16, and FUSE, go beyond. The kernel lists none of 4096.
pub const MAX_NAME_BYTES: usize = 4095;

/// A path from the image's root, such as `/etc/passwd`. The root itself is `/`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Vec<u8>);

/// Why bytes are not a [`TreePath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin at the image's root.
    #[error("path {0:?} does not start with \"/\"")]
    NotAbsolute(String),
    /// A component is empty, `.` or `..`, holds NUL or is over 4095 bytes.
    #[error("path {path:?} has the component {component:?}, which no directory entry can have")]
    BadComponent {
        /// The path, escaped.
        path: String,
        /// The component, escaped.
        component: String,
    },
    /// `path_bytes` is not base64.
    #[error("path_bytes {0:?} is not base64")]
    NotBase64(String),
}

impl TreePath {
    /// The image's root, `/`.
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// Checks `bytes` and takes them as a path.
    ///
    /// # Errors
    /// When the bytes are not absolute or a component is not a possible name.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        let Some(rest) = bytes.strip_prefix(b"/") else {
            return Err(PathError::NotAbsolute(escape(&bytes).into_owned()));
        };
        if !rest.is_empty()
            && let Some(bad) = rest.split(|&b| b == b'/').find(|name| !is_name(name))
        {
            return Err(PathError::BadComponent {
                path: escape(&bytes).into_owned(),
                component: escape(bad).into_owned(),
            });
        }
        Ok(Self(bytes))
    }

    /// The bytes, beginning with `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The number of components: 0 for `/`, 2 for `/etc/passwd`.
    pub fn depth(&self) -> usize {
        if self.is_root() { 0 } else { self.0.iter().filter(|&&b| b == b'/').count() }
    }

    /// The last component; empty for `/`.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|&b| b == b'/').next().unwrap_or_default()
    }

    /// The directory that holds this path; none for `/`.
    pub fn parent(&self) -> Option<TreePath> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.len() - self.name().len() - 1;
        Some(Self(self.0[..cut.max(1)].to_vec()))
    }

    /// The path of the entry `name` in this directory.
    ///
    /// # Errors
    /// When `name` is not a possible name.
    pub fn join(&self, name: &[u8]) -> Result<TreePath, PathError> {
        let mut joined = self.clone();
        joined.push(name)?;
        Ok(joined)
    }

    /// Goes down to the entry `name`, in place.
    ///
    /// # Errors
    /// When `name` is not a possible name; the path is then unchanged.
    pub fn push(&mut self, name: &[u8]) -> Result<(), PathError> {
        if !is_name(name) {
            return Err(PathError::BadComponent {
                path: escape(&self.0).into_owned(),
                component: escape(name).into_owned(),
            });
        }
        if !self.is_root() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
        Ok(())
    }

    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "a path is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Goes up to the ancestor that ends after `length` bytes, in place; there must
    /// be one.
    pub fn truncate_bytes(&mut self, length: usize) {
        debug_assert!(length == 1 || matches!(self.0.get(length), None | Some(b'/')));
        self.0.truncate(length);
    }

    /// Goes up to the ancestor with `depth` components, in place. Does nothing
    /// when the path is no deeper than that.
    pub fn truncate(&mut self, depth: usize) {
        let end = match depth {
            0 => 1,
            _ => self
                .0
                .iter()
                .enumerate()
                .filter(|&(_, &b)| b == b'/')
                .nth(depth)
                .map_or(self.0.len(), |(at, _)| at),
        };
        self.0.truncate(end);
    }

    /// Whether `self` is `other` or lies beneath it.
    pub fn starts_with(&self, other: &TreePath) -> bool {
        other.is_root()
            || (self.0.starts_with(&other.0) && matches!(self.0.get(other.0.len()), None | Some(b'/')))
    }
}

/// Whether `name` can be the name of a directory entry.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name != b"."
        && name != b".."
        && name.len() <= MAX_NAME_BYTES
        && !name.iter().any(|&b| b == b'/' || b == 0)
}

/// Tree order: the separator sorts before every byte that a name can hold, so
/// `/a/b` stands before `/a-b`.
impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        tree_order(&self.0, &other.0)
    }
}

/// As [`TreePath`]s compare, of the bytes of two.
pub fn tree_order(one: &[u8], other: &[u8]) -> Ordering {
    let rank = |b: u8| if b == b'/' { 0 } else { b };
    if one.len() == 1 || other.len() == 1 {
        return one.len().cmp(&other.len());
    }
    match one.iter().zip(other).find(|(one, other)| one != other) {
        Some((&one, &other)) => rank(one).cmp(&rank(other)),
        None => one.len().cmp(&other.len()),
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Shown escaped, fit for a terminal or a log line.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreePath({self})")
    }
}

/// The bytes as text, if they are UTF-8 and every character is one that a
/// terminal prints as itself: no controls, no bidi marks, nothing invisible.
pub fn plain(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.chars().all(is_plain).then_some(text)
}

fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\0'..='\u{9f}' => false,
        // Letters and symbols to Unicode, but nothing to the eye.
        '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' => false,
        // `escape_debug` knows Unicode's unprintable and combining characters.
        _ => c.escape_debug().len() == 1,
    }
}

/// Bytes from outside as text that can do no harm on a terminal or in a log:
/// plain text as it is; otherwise `\` becomes `\\` and what is not plain `\xNN`.
///
/// Text alone does not say whether it was escaped; where that matters, JSON has
/// the bytes beside it.
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    if let Some(text) = plain(bytes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if is_plain(c) => out.push(c),
                c => c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| push_hex(&mut out, b)),
            }
        }
        chunk.invalid().iter().for_each(|&b| push_hex(&mut out, b));
    }
    Cow::Owned(out)
}

fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\x");
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// A byte string on the wire: `text` escaped for people, `bytes` (base64) only
/// where the text is not plain, and then the bytes are what counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireBytes {
    /// The string, escaped where it is not plain.
    pub text: String,
    /// The string in base64, where it is not plain.
    pub bytes: Option<String>,
}

impl WireBytes {
    /// How `bytes` are written on the wire.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match plain(bytes) {
            Some(text) => Self { text: text.to_owned(), bytes: None },
            None => Self { text: escape(bytes).into_owned(), bytes: Some(BASE64.encode(bytes)) },
        }
    }

    /// The bytes that were meant.
    ///
    /// # Errors
    /// When `bytes` is there but not base64.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PathError> {
        match &self.bytes {
            None => Ok(self.text.clone().into_bytes()),
            Some(encoded) => {
                BASE64.decode(encoded.as_bytes()).map_err(|_| PathError::NotBase64(encoded.clone()))
            }
        }
    }
}

/// The two JSON members of a path; flattened into what carries one.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct WirePath {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
}

/// Serialises as `{"path": …}` with `path_bytes` where needed: use with
/// `#[serde(flatten)]`.
impl Serialize for TreePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let WireBytes { text, bytes } = WireBytes::from_bytes(&self.0);
        WirePath { path: text, path_bytes: bytes }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TreePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let WirePath { path, path_bytes } = WirePath::deserialize(deserializer)?;
        let bytes =
            WireBytes { text: path, bytes: path_bytes }.to_bytes().map_err(serde::de::Error::custom)?;
        TreePath::new(bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    #[test]
    fn tree_order_is_by_component() {
        let sorted = ["/", "/a", "/a/b", "/a/b/c", "/a/c", "/a-b", "/a.b", "/b"];
        let mut paths: Vec<_> = sorted.iter().rev().map(|p| path(p)).collect();
        paths.sort();
        assert_eq!(paths, sorted.map(path));
    }

    #[test]
    fn impossible_names_are_refused() {
        let long = format!("/{}", "x".repeat(4096));
        for bad in ["", "etc", "/etc/", "//", "/a//b", "/.", "/a/..", "/a\0b", &long] {
            assert!(TreePath::new(bad).is_err(), "{bad:?}");
        }
        assert!(TreePath::new(format!("/{}", "x".repeat(4095))).is_ok());
    }

    #[test]
    fn walking_up_and_down() {
        let mut p = path("/usr/lib/x");
        assert_eq!((p.depth(), p.name(), p.parent()), (3, &b"x"[..], Some(path("/usr/lib"))));
        p.truncate(1);
        assert_eq!(p, path("/usr"));
        p.truncate(0);
        assert_eq!((p.clone(), p.depth(), p.parent()), (TreePath::root(), 0, None));
        p.push(b"etc").unwrap();
        assert_eq!(p, path("/etc"));
        assert!(path("/etc/x").starts_with(&path("/etc")) && !path("/etcx").starts_with(&path("/etc")));
    }

    #[test]
    fn what_is_not_plain_is_escaped() {
        for (bytes, text) in [
            (&b"/etc/passwd"[..], "/etc/passwd"),
            (b"/a\\b", "/a\\b"),
            (b"/a\nb\\", "/a\\x0ab\\\\"),
            (b"/\x1b]0;x\x07", "/\\x1b]0;x\\x07"),
            (b"/\xff\xfe", "/\\xff\\xfe"),
            ("/\u{202e}gpj".as_bytes(), "/\\xe2\\x80\\xaegpj"),
            ("/\u{3164}".as_bytes(), "/\\xe3\\x85\\xa4"),
            ("/Grüße".as_bytes(), "/Grüße"),
        ] {
            assert_eq!(escape(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn the_wire_keeps_every_byte(names in prop::collection::vec(prop::collection::vec(1u8.., 1..20), 0..5)) {
            let mut p = TreePath::root();
            for name in &names {
                let _ = p.push(name);
            }
            let json = serde_json::to_string(&p).unwrap();
            prop_assert_eq!(serde_json::from_str::<TreePath>(&json).unwrap(), p);
        }
    }
}
