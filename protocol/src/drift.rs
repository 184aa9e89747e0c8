//! Drift: the differences between what was baked and what is there.
//!
//! A difference is a value, a [`Finding`], not an error.

use std::fmt;

use jiff::Timestamp as Time;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::contract::{Class, Forbidden, Terms};
use crate::digest::Digest;
use crate::entry::{Device, Entry, Kind, Node, Timestamp, Xattrs};
use crate::path::{TreePath, WireBytes, escape};

/// One difference, with what was expected and what was observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    /// Where, from the image's root.
    #[serde(flatten)]
    pub path: TreePath,
    /// In what way.
    pub change: Change,
    /// Which attributes differ; only where the change is `modified`.
    pub fields: Vec<Field>,
    /// The contract's class for the path.
    pub class: Class,
    /// What the contract's rule forbids of what is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forbidden: Vec<Forbidden>,
    /// Where `expected` stands.
    #[serde(default, skip_serializing_if = "HeldTo::is_manifest")]
    pub held_to: HeldTo,
    /// What was baked; none where nothing was.
    pub expected: Option<Attributes>,
    /// What is there; none where nothing is.
    pub observed: Option<Attributes>,
}

/// What a finding is a difference from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum HeldTo {
    /// What was baked.
    #[default]
    Manifest,
    /// The first value that was recorded after the bake.
    Ledger,
}

impl HeldTo {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
    fn is_manifest(&self) -> bool {
        *self == Self::Manifest
    }
}

/// In what way a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// There, but not baked.
    Added,
    /// Baked, but not there.
    Removed,
    /// Of the same kind, with other attributes.
    Modified,
    /// Of another kind.
    Replaced,
    /// Under a mount that the contract does not name.
    MountedOver,
}

impl Change {
    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Modified => "modified",
            Self::Replaced => "replaced",
            Self::MountedOver => "mounted-over",
        }
    }
}

/// An attribute that is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// A file's content.
    Content,
    /// A file's length.
    Size,
    /// Where a symbolic link points.
    Link,
    /// A device's number.
    Device,
    /// Permission bits.
    Mode,
    /// Owner.
    Uid,
    /// Group.
    Gid,
    /// Modification time, where the contract is strict about it.
    Mtime,
    /// How many names the inode has; only where it is held to.
    Nlink,
    /// An extended attribute, by name (escaped where it is not plain).
    Xattr(String),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content => f.write_str("content"),
            Self::Size => f.write_str("size"),
            Self::Link => f.write_str("link"),
            Self::Device => f.write_str("device"),
            Self::Mode => f.write_str("mode"),
            Self::Uid => f.write_str("uid"),
            Self::Gid => f.write_str("gid"),
            Self::Mtime => f.write_str("mtime"),
            Self::Nlink => f.write_str("nlink"),
            Self::Xattr(name) => write!(f, "xattr:{name}"),
        }
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match text.as_str() {
            "content" => Self::Content,
            "size" => Self::Size,
            "link" => Self::Link,
            "device" => Self::Device,
            "mode" => Self::Mode,
            "uid" => Self::Uid,
            "gid" => Self::Gid,
            "mtime" => Self::Mtime,
            "nlink" => Self::Nlink,
            other => match other.strip_prefix("xattr:") {
                Some(name) => Self::Xattr(name.to_owned()),
                None => {
                    return Err(serde::de::Error::custom(format!("there is no field {other:?}")));
                }
            },
        })
    }
}

/// The attributes of an entry, as JSON has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attributes {
    /// What it is.
    pub kind: Kind,
    /// Permission bits in octal, four digits; not for a mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Owner; not for a mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group; not for a mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// A file's length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// A file's content; none where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// Where a symbolic link points, escaped where it is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The same in base64, where it is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_bytes: Option<String>,
    /// A device's number, `major:minor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Extended attributes in scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<WireXattr>,
    /// Last modification. Compared only where the contract is strict about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub modified_at: Option<Time>,
    /// The same as seconds since 1970 and nine digits of nanoseconds, where RFC
    /// 3339 has no such year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_at_unix: Option<String>,
    /// How many names the inode has; only where that was held to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nlink: Option<u32>,
    /// A mount's file system type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<String>,
    /// What is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// An extended attribute in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WireXattr {
    /// Its name, escaped where it is not plain.
    pub name: String,
    /// Its name in base64, where it is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_bytes: Option<String>,
    /// Its value in base64.
    pub value: String,
}

/// Permission bits; in JSON four octal digits, such as `"4755"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u16);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match u16::from_str_radix(&text, 8) {
            Ok(mode) if mode < 0o10000 => Ok(Self(mode)),
            _ => Err(serde::de::Error::custom(format!("{text:?} is not a mode of up to four octal digits"))),
        }
    }
}

/// When RFC 3339's first year begins; the library writes earlier ones as well.
const YEAR_0_SECONDS: i64 = -62_167_219_200;

/// Why [`Attributes`] are not an entry's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the attributes of a {kind} lack a usable {what}", kind = .kind.name())]
pub struct AttributesError {
    kind: Kind,
    what: &'static str,
}

impl From<&Entry> for Attributes {
    fn from(entry: &Entry) -> Self {
        let mut attributes = Self::of_kind(entry.node.kind());
        attributes.mode = Some(Mode(entry.mode));
        attributes.uid = Some(entry.uid);
        attributes.gid = Some(entry.gid);
        let Timestamp { seconds, nanoseconds } = entry.mtime;
        attributes.modified_at =
            Time::new(seconds, nanoseconds as i32).ok().filter(|_| seconds >= YEAR_0_SECONDS);
        if attributes.modified_at.is_none() {
            attributes.modified_at_unix = Some(format!("{seconds}.{nanoseconds:09}"));
        }
        attributes.xattrs = entry.xattrs.iter().map(|(name, value)| WireXattr::new(name, value)).collect();
        match &entry.node {
            Node::File { size, content } => {
                attributes.size = Some(*size);
                attributes.content = *content;
            }
            Node::Symlink { target } => {
                let WireBytes { text, bytes } = WireBytes::from_bytes(target);
                attributes.link = Some(text);
                attributes.link_bytes = bytes;
            }
            Node::CharDevice(device) | Node::BlockDevice(device) => {
                attributes.device = Some(format!("{}:{}", device.major, device.minor));
            }
            Node::Directory | Node::Fifo | Node::Socket => {}
        }
        attributes
    }
}

impl Attributes {
    /// A mount that the contract does not name.
    pub fn mount(filesystem: Option<String>, source: Option<String>) -> Self {
        Self { filesystem, source, ..Self::of_kind(Kind::Mount) }
    }

    /// Something of this kind, of which nothing else is known.
    pub fn of_kind(kind: Kind) -> Self {
        Self {
            kind,
            mode: None,
            uid: None,
            gid: None,
            size: None,
            content: None,
            link: None,
            link_bytes: None,
            device: None,
            xattrs: Vec::new(),
            modified_at: None,
            modified_at_unix: None,
            nlink: None,
            filesystem: None,
            source: None,
        }
    }

    /// The entry that these are the attributes of, without what is only
    /// recorded (link groups, packages).
    ///
    /// # Errors
    /// When one is missing or malformed, and for mounts.
    pub fn to_entry(&self) -> Result<Entry, AttributesError> {
        let lack = |what| AttributesError { kind: self.kind, what };
        let node = match self.kind {
            Kind::File => Node::File { size: self.size.ok_or(lack("size"))?, content: self.content },
            Kind::Directory => Node::Directory,
            Kind::Symlink => {
                let text = self.link.clone().ok_or(lack("link"))?;
                let wire = WireBytes { text, bytes: self.link_bytes.clone() };
                Node::Symlink { target: wire.to_bytes().map_err(|_| lack("link_bytes"))? }
            }
            Kind::Fifo => Node::Fifo,
            Kind::Socket => Node::Socket,
            Kind::CharDevice => Node::CharDevice(self.parse_device().ok_or(lack("device"))?),
            Kind::BlockDevice => Node::BlockDevice(self.parse_device().ok_or(lack("device"))?),
            Kind::Mount | Kind::Whiteout | Kind::Opaque => return Err(lack("entry")),
        };
        let mut xattrs = Xattrs::new();
        for xattr in &self.xattrs {
            xattrs.push(xattr.to_pair().ok_or(lack("xattr"))?);
        }
        if !xattrs.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(lack("order of xattrs"));
        }
        let mtime = match (&self.modified_at, &self.modified_at_unix) {
            (None, None) => Timestamp::default(),
            (Some(time), None) => to_timestamp(*time),
            (None, Some(text)) => parse_unix_time(text).ok_or(lack("modified_at_unix"))?,
            (Some(_), Some(_)) => return Err(lack("modified_at")),
        };
        Ok(Entry {
            node,
            mode: self.mode.ok_or(lack("mode"))?.0,
            uid: self.uid.ok_or(lack("uid"))?,
            gid: self.gid.ok_or(lack("gid"))?,
            mtime,
            link_group: 0,
            xattrs,
            package: 0,
        })
    }

    fn parse_device(&self) -> Option<Device> {
        let (major, minor) = self.device.as_ref()?.split_once(':')?;
        Some(Device { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

fn parse_unix_time(text: &str) -> Option<Timestamp> {
    let (seconds, nanoseconds) = text.split_once('.')?;
    let is_exact = nanoseconds.len() == 9 && nanoseconds.bytes().all(|b| b.is_ascii_digit());
    let nanoseconds = is_exact.then(|| nanoseconds.parse().ok()).flatten()?;
    Some(Timestamp { seconds: seconds.parse().ok()?, nanoseconds })
}

/// Our nanoseconds count up from the second, also before 1970; jiff's do not.
fn to_timestamp(time: Time) -> Timestamp {
    let nanoseconds = time.subsec_nanosecond();
    match u32::try_from(nanoseconds) {
        Ok(nanoseconds) => Timestamp { seconds: time.as_second(), nanoseconds },
        Err(_) => {
            Timestamp { seconds: time.as_second() - 1, nanoseconds: (1_000_000_000 + nanoseconds) as u32 }
        }
    }
}

impl WireXattr {
    fn new(name: &[u8], value: &[u8]) -> Self {
        let WireBytes { text, bytes } = WireBytes::from_bytes(name);
        Self { name: text, name_bytes: bytes, value: data_encoding::BASE64.encode(value) }
    }

    fn to_pair(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let name = WireBytes { text: self.name.clone(), bytes: self.name_bytes.clone() };
        Some((name.to_bytes().ok()?, data_encoding::BASE64.decode(self.value.as_bytes()).ok()?))
    }
}

/// The attributes in which two entries of one kind differ, under these terms.
/// What could not be read on either side is not a difference.
pub fn differing_fields(terms: &Terms, expected: &Entry, observed: &Entry) -> Vec<Field> {
    let mut fields = Vec::new();
    match (&expected.node, &observed.node) {
        (Node::File { size: was, content: before }, Node::File { size: is, content: now }) => {
            if before.is_some() && now.is_some() && before != now {
                fields.push(Field::Content);
            }
            if was != is {
                fields.push(Field::Size);
            }
        }
        (Node::Symlink { target: was }, Node::Symlink { target: is }) if was != is => {
            fields.push(Field::Link);
        }
        (Node::CharDevice(was), Node::CharDevice(is)) | (Node::BlockDevice(was), Node::BlockDevice(is))
            if was != is =>
        {
            fields.push(Field::Device);
        }
        _ => {}
    }
    if expected.mode != observed.mode {
        fields.push(Field::Mode);
    }
    if expected.uid != observed.uid {
        fields.push(Field::Uid);
    }
    if expected.gid != observed.gid {
        fields.push(Field::Gid);
    }
    if terms.compares_time_of(expected) && expected.mtime != observed.mtime {
        fields.push(Field::Mtime);
    }
    push_xattr_fields(&mut fields, &expected.xattrs, &observed.xattrs);
    fields
}

fn push_xattr_fields(fields: &mut Vec<Field>, expected: &Xattrs, observed: &Xattrs) {
    if expected == observed {
        return;
    }
    let differs = |(name, value): &&(Vec<u8>, Vec<u8>), other: &Xattrs| {
        !other.iter().any(|(other_name, other_value)| other_name == name && other_value == value)
    };
    let mut names: Vec<&[u8]> =
        expected.iter().filter(|xattr| differs(xattr, observed)).map(|(n, _)| &n[..]).collect();
    names.extend(observed.iter().filter(|xattr| differs(xattr, expected)).map(|(n, _)| &n[..]));
    names.sort_unstable();
    names.dedup();
    fields.extend(names.into_iter().map(|name| Field::Xattr(escape(name).into_owned())));
}

impl Finding {
    /// The finding that follows from holding what is there to `expected` in every
    /// attribute; none where they agree.
    pub fn compare(path: &TreePath, terms: &Terms, expected: &Entry, observed: &Entry) -> Option<Self> {
        if expected.node.kind() == observed.node.kind() {
            let fields = differing_fields(terms, expected, observed);
            (!fields.is_empty()).then(|| Self::modified(path, terms.class, fields, expected, observed))
        } else {
            Some(Self::replaced(path, terms.class, expected, observed))
        }
    }

    /// The finding that these attributes differ.
    pub fn modified(
        path: &TreePath,
        class: Class,
        fields: Vec<Field>,
        expected: &Entry,
        observed: &Entry,
    ) -> Self {
        let sides = (Some(expected.into()), Some(observed.into()));
        Self { fields, ..Self::bare(path, Change::Modified, class, sides) }
    }

    /// The finding that something of another kind is there.
    pub fn replaced(path: &TreePath, class: Class, expected: &Entry, observed: &Entry) -> Self {
        Self::bare(path, Change::Replaced, class, (Some(expected.into()), Some(observed.into())))
    }

    /// The finding that a path is there and was not baked.
    pub fn added(path: &TreePath, class: Class, observed: Attributes) -> Self {
        Self::bare(path, Change::Added, class, (None, Some(observed)))
    }

    /// The finding that what was expected is gone.
    pub fn removed(path: &TreePath, class: Class, expected: &Entry) -> Self {
        Self::bare(path, Change::Removed, class, (Some(expected.into()), None))
    }

    /// The finding that a mount lies where the contract names none.
    pub fn mounted_over(path: &TreePath, class: Class, expected: Option<&Entry>, mount: Attributes) -> Self {
        Self::bare(path, Change::MountedOver, class, (expected.map(Attributes::from), Some(mount)))
    }

    fn bare(
        path: &TreePath,
        change: Change,
        class: Class,
        (expected, observed): (Option<Attributes>, Option<Attributes>),
    ) -> Self {
        Self {
            path: path.clone(),
            change,
            fields: Vec::new(),
            class,
            forbidden: Vec::new(),
            held_to: HeldTo::Manifest,
            expected,
            observed,
        }
    }

    /// The same finding, of a difference from the ledger.
    #[must_use]
    pub fn from_ledger(self) -> Self {
        Self { held_to: HeldTo::Ledger, ..self }
    }

    /// The same finding, of something that the contract's rule forbids.
    #[must_use]
    pub fn forbidding(self, forbidden: Vec<Forbidden>) -> Self {
        Self { forbidden, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{arbitrary_entry, file, path};
    use proptest::prelude::*;

    #[test]
    fn json_is_frozen() {
        let mut observed = file(b"new");
        observed.xattrs = vec![(b"user.a".to_vec(), b"1".to_vec())];
        observed.mode = 0o4755;
        let finding = Finding::compare(&path("/a\n"), Terms::immutable(), &file(b"old!"), &observed).unwrap();
        let json = serde_json::to_value(&finding).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "path": "/a\\x0a", "path_bytes": "L2EK", "change": "modified",
                "fields": ["content", "size", "mode", "xattr:user.a"], "class": "immutable",
                "expected": {"kind": "file", "mode": "0644", "uid": 0, "gid": 0, "size": 4,
                    "content": "blake3:6204b7e57866f03fcc60f79ede8021e0af762273d4d477f1e57356956555232c",
                    "modified_at": "1970-01-01T00:00:00Z"},
                "observed": {"kind": "file", "mode": "4755", "uid": 0, "gid": 0, "size": 3,
                    "content": "blake3:b20ab0a020a48d349e0c64d109c441f87c9bc43d49fc701c4a5f6f1b16aa4e32",
                    "xattrs": [{"name": "user.a", "value": "MQ=="}],
                    "modified_at": "1970-01-01T00:00:00Z"},
            })
        );
        assert_eq!(serde_json::from_value::<Finding>(json).unwrap(), finding);
    }

    #[test]
    fn times_are_written_as_rfc_3339_where_it_has_the_year() {
        for (seconds, nanoseconds, rfc_3339, unix) in [
            (-1, 500_000_000, Some("1969-12-31T23:59:59.5Z"), None),
            (-62_167_219_200, 0, Some("0000-01-01T00:00:00Z"), None),
            (-62_167_219_201, 999_999_999, None, Some("-62167219201.999999999")),
            (253_402_300_800, 1, None, Some("253402300800.000000001")),
            (i64::MIN, 0, None, Some("-9223372036854775808.000000000")),
        ] {
            let entry = Entry { mtime: Timestamp { seconds, nanoseconds }, ..file(b"") };
            let attributes = Attributes::from(&entry);
            assert_eq!(attributes.modified_at.map(|time| time.to_string()).as_deref(), rfc_3339);
            assert_eq!(attributes.modified_at_unix.as_deref(), unix);
            assert_eq!(attributes.to_entry().unwrap(), entry);
        }
    }

    #[test]
    fn what_could_not_be_read_is_no_difference() {
        let mut unread = file(b"x");
        unread.node = Node::File { size: 1, content: None };
        assert_eq!(Finding::compare(&path("/a"), Terms::immutable(), &file(b"x"), &unread), None);
    }

    proptest! {
        #[test]
        fn nothing_differs_from_itself(entry in arbitrary_entry()) {
            prop_assert_eq!(Finding::compare(&path("/a"), Terms::immutable(), &entry, &entry), None);
        }

        #[test]
        fn attributes_keep_the_entry(entry in arbitrary_entry()) {
            prop_assert_eq!(Attributes::from(&entry).to_entry().unwrap(), entry);
        }
    }
}
