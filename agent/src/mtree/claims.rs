//! What a spec says of one path, and nothing it does not say.

use std::collections::BTreeMap;

use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::drift::{Attributes, Mode};
use congruent_protocol::entry::{Device, Entry, Kind, Node, Timestamp};
use congruent_protocol::path::WireBytes;

use super::vis::decode;

/// The statements about one path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    /// `type`.
    pub kind: Option<Kind>,
    /// `mode`, where it is octal.
    pub mode: Option<u16>,
    /// `uid`.
    pub uid: Option<u32>,
    /// `gid`.
    pub gid: Option<u32>,
    /// `uname`: an owner by name.
    pub uname: Option<Vec<u8>>,
    /// `gname`: a group by name.
    pub gname: Option<Vec<u8>>,
    /// `size`.
    pub size: Option<u64>,
    /// `link`: where a symbolic link points.
    pub link: Option<Vec<u8>>,
    /// `nlink`: how many names the inode has.
    pub nlink: Option<u32>,
    /// `time` or `tar_time`.
    pub mtime: Option<Mtime>,
    /// `device`.
    pub device: Option<Device>,
    /// Digests that prove content: at most one of each kind.
    pub digests: Vec<Sha2>,
    /// `xattr.NAME`, in scope of a sweep.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// `optional`: it may be missing.
    pub optional: bool,
    /// `ignore`: what lies beneath is not compared.
    pub ignore: bool,
    /// `nochange`: only that it is there is compared.
    pub nochange: bool,
    /// Keywords that say something that is not checked, and why not.
    pub unsupported: BTreeMap<String, Reason>,
}

/// A modification time as a spec gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mtime {
    /// Seconds since 1970, UTC.
    pub seconds: i64,
    /// Nanoseconds beyond that. None where the spec has 0, which is what writers
    /// put that know no more than seconds.
    pub nanoseconds: Option<u32>,
}

impl Mtime {
    /// Whether this says the same as `observed`, as far as it says anything.
    pub fn fits(self, observed: Timestamp) -> bool {
        self.seconds == observed.seconds
            && self.nanoseconds.is_none_or(|nanoseconds| nanoseconds == observed.nanoseconds)
    }
}

/// A digest of the SHA-2 family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sha2 {
    /// `sha256`, `sha256digest`.
    Sha256([u8; 32]),
    /// `sha384`, `sha384digest`.
    Sha384(Box<[u8; 48]>),
    /// `sha512`, `sha512digest`.
    Sha512(Box<[u8; 64]>),
}

impl Sha2 {
    /// The name of its keyword, without `digest`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha384(_) => "sha384",
            Self::Sha512(_) => "sha512",
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha384(bytes) => &bytes[..],
            Self::Sha512(bytes) => &bytes[..],
        }
    }
}

/// Why a keyword is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// MD5, SHA-1 and such: whoever alters a file can keep them.
    WeakDigest,
    /// A second digest of content that another proved.
    ProvedAlready,
    /// File flags of BSD.
    Flags,
    /// `mode=u+x` and such.
    SymbolicMode,
    /// A device in the numbering of another system.
    ForeignDevice,
    /// An extended attribute that no sweep reads.
    XattrOutOfScope,
    /// A name that the root's own passwd or group does not resolve.
    UnknownName,
    /// A size or link count that is the file system's own affair.
    FileSystemDetail,
    /// Something that nothing of that type has.
    WrongType,
    /// A name beside a number.
    NumberChecked,
    /// `tags`, which say nothing of the tree.
    Tags,
    /// Whatever lies beneath `ignore`.
    Ignored,
    /// A keyword that nobody told us of.
    Unknown,
}

impl Reason {
    /// The reason, for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::WeakDigest => "it is no proof of content; use sha256digest",
            Self::ProvedAlready => "another digest of the same content was checked",
            Self::Flags => "Linux has no such flags",
            Self::SymbolicMode => "only octal modes are checked",
            Self::ForeignDevice => "only native and linux device numbers are checked",
            Self::XattrOutOfScope => "the attribute is out of scope",
            Self::UnknownName => "the root's own /etc/passwd or /etc/group does not have the name",
            Self::FileSystemDetail => "of what is no file it is the file system's own affair",
            Self::WrongType => "nothing of that type has it",
            Self::NumberChecked => "the number beside it was checked",
            Self::Tags => "it says nothing of the tree",
            Self::Ignored => "the spec ignores what lies beneath",
            Self::Unknown => "congruent does not know this keyword",
        }
    }

    /// Whether it leaves a gap: something was promised of the tree, and not held
    /// to it.
    pub fn is_gap(self) -> bool {
        match self {
            Self::ProvedAlready
            | Self::FileSystemDetail
            | Self::NumberChecked
            | Self::Tags
            | Self::Ignored => false,
            Self::WeakDigest
            | Self::Flags
            | Self::SymbolicMode
            | Self::ForeignDevice
            | Self::XattrOutOfScope
            | Self::UnknownName
            | Self::WrongType
            | Self::Unknown => true,
        }
    }
}

impl Claims {
    /// The kind that is stated, or follows from what only one kind has.
    pub fn implied_kind(&self) -> Option<Kind> {
        let from_content = (!self.digests.is_empty()).then_some(Kind::File);
        let from_link = self.link.is_some().then_some(Kind::Symlink);
        self.kind.or(from_content).or(from_link)
    }

    /// The entry that these claims ask for where `observed` is: its own values
    /// where nothing is said. A digest is laid over where that of `observed` is
    /// of the same algorithm.
    pub fn lay_over(&self, observed: &Entry) -> Entry {
        let mut expected = observed.clone();
        expected.mode = self.mode.unwrap_or(observed.mode);
        expected.uid = self.uid.unwrap_or(observed.uid);
        expected.gid = self.gid.unwrap_or(observed.gid);
        if let Some(mtime) = self.mtime.filter(|mtime| !mtime.fits(observed.mtime)) {
            expected.mtime =
                Timestamp { seconds: mtime.seconds, nanoseconds: mtime.nanoseconds.unwrap_or(0) };
        }
        match &mut expected.node {
            Node::File { size, content } => {
                *size = self.size.unwrap_or(*size);
                if let (Some(content), Some(sha256)) = (content, self.sha256())
                    && content.algorithm() == sha256.algorithm()
                {
                    *content = sha256;
                }
            }
            Node::Symlink { target } => {
                if let Some(link) = &self.link {
                    target.clone_from(link);
                }
            }
            Node::CharDevice(device) | Node::BlockDevice(device) => *device = self.device.unwrap_or(*device),
            Node::Directory | Node::Fifo | Node::Socket => {}
        }
        for (name, value) in &self.xattrs {
            match expected.xattrs.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => known.clone_from(value),
                None => expected.xattrs.push((name.clone(), value.clone())),
            }
        }
        expected.xattrs.sort_unstable();
        expected
    }

    /// What is said, for a finding about something that is gone or of another
    /// kind.
    pub fn attributes(&self) -> Attributes {
        let link = self.link.as_deref().map(WireBytes::from_bytes);
        let (link, link_bytes) = link.map_or((None, None), |wire| (Some(wire.text), wire.bytes));
        Attributes {
            mode: self.mode.map(Mode),
            uid: self.uid,
            gid: self.gid,
            size: self.size.filter(|_| self.implied_kind() == Some(Kind::File)),
            content: self.sha256(),
            link,
            link_bytes,
            device: self.device.map(|device| format!("{}:{}", device.major, device.minor)),
            nlink: self.nlink,
            ..Attributes::of_kind(self.implied_kind().unwrap_or(Kind::File))
        }
    }

    /// The SHA-256 of content, where it is stated.
    pub fn sha256(&self) -> Option<Digest> {
        self.digests.iter().find_map(|digest| match digest {
            Sha2::Sha256(bytes) => Some(Digest::new(Algorithm::Sha256, *bytes)),
            Sha2::Sha384(_) | Sha2::Sha512(_) => None,
        })
    }

    /// The digest that content is held to: SHA-256 where there is one, since the
    /// sweep computes it anyway.
    pub fn proof(&self) -> Option<&Sha2> {
        self.digests.iter().min_by_key(|digest| digest.as_bytes().len())
    }

    /// About how much memory these claims take beyond their own size.
    pub(super) fn held_bytes(&self) -> usize {
        const NODE_BYTES: usize = 64;
        let names = [&self.uname, &self.gname, &self.link];
        let names: usize = names.into_iter().flatten().map(Vec::len).sum();
        let digests: usize = self.digests.iter().map(|digest| NODE_BYTES + digest.as_bytes().len()).sum();
        let xattrs: usize =
            self.xattrs.iter().map(|(name, value)| NODE_BYTES + name.len() + value.len()).sum();
        let unsupported: usize = self.unsupported.keys().map(|keyword| NODE_BYTES + keyword.len()).sum();
        names + digests + xattrs + unsupported
    }

    /// Takes a keyword's word back; `all` takes back everything.
    pub(super) fn unset(&mut self, keyword: &str) {
        match keyword {
            "all" => *self = Self::default(),
            "type" => self.kind = None,
            "mode" => self.mode = None,
            "uid" => self.uid = None,
            "gid" => self.gid = None,
            "uname" => self.uname = None,
            "gname" => self.gname = None,
            "size" => self.size = None,
            "link" => self.link = None,
            "nlink" => self.nlink = None,
            "time" | "tar_time" => self.mtime = None,
            "device" => self.device = None,
            "optional" => self.optional = false,
            "ignore" => self.ignore = false,
            "nochange" => self.nochange = false,
            "xattr" | "xattrs" => self.xattrs.clear(),
            _ => {
                let algorithm = keyword.strip_suffix("digest").unwrap_or(keyword);
                self.digests.retain(|digest| digest.name() != algorithm);
                let name = keyword.strip_prefix("xattr.").and_then(|name| decode(name.as_bytes()).ok());
                self.xattrs.retain(|known, _| Some(known) != name.as_ref());
            }
        }
        self.unsupported.remove(keyword);
    }
}
