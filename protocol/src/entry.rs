//! One path of a tree: what it is and every attribute that is recorded of it.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Extended attributes, sorted by name, each name once.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Everything recorded of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is, with what belongs to that kind alone.
    pub node: Node,
    /// Permission bits with setuid, setgid and sticky: at most 07777.
    pub mode: u16,
    /// Owner, numeric.
    pub uid: u32,
    /// Group, numeric.
    pub gid: u32,
    /// Last modification. Recorded, never compared.
    pub mtime: Timestamp,
    /// Which entries share one inode: 0 for none, else the same number for
    /// each. Recorded, never compared.
    pub link_group: u32,
    /// Extended attributes in scope.
    pub xattrs: Xattrs,
    /// Which package of the manifest's list owns it, counted from 1; 0 for
    /// none. Recorded, never compared.
    pub package: u32,
}

impl Entry {
    /// An entry with no attributes, to read others into.
    pub fn empty() -> Self {
        Self {
            node: Node::Directory,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            link_group: 0,
            xattrs: Xattrs::new(),
            package: 0,
        }
    }

    /// A file's content, where it is one and was read.
    pub fn content(&self) -> Option<&Digest> {
        match &self.node {
            Node::File { content, .. } => content.as_ref(),
            _ => None,
        }
    }
}

/// A point in time as the file system has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timestamp {
    /// Seconds since 1970, UTC.
    pub seconds: i64,
    /// Nanoseconds beyond that, below 10⁹.
    pub nanoseconds: u32,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// The digest of its content; none only where it could not be read.
        content: Option<Digest>,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Where it points, as it stands.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
}

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The driver's part.
    pub major: u32,
    /// The driver's own numbering.
    pub minor: u32,
}

/// The kind of a node, by its name in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A mount that the contract does not name.
    Mount,
    /// In a container image's layer: what a lower layer has here is gone.
    Whiteout,
    /// In a container image's layer: all that lower layers have in the directory is gone.
    Opaque,
}

impl Kind {
    /// The byte that stands for this kind in every binary encoding.
    pub fn tag(self) -> u8 {
        match self {
            Self::File => b'f',
            Self::Directory => b'd',
            Self::Symlink => b'l',
            Self::Fifo => b'p',
            Self::Socket => b's',
            Self::CharDevice => b'c',
            Self::BlockDevice => b'b',
            Self::Mount => b'm',
            Self::Whiteout => b'w',
            Self::Opaque => b'o',
        }
    }

    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice => "char-device",
            Self::BlockDevice => "block-device",
            Self::Mount => "mount",
            Self::Whiteout => "whiteout",
            Self::Opaque => "opaque",
        }
    }
}

impl Node {
    /// What kind of node this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::File,
            Self::Directory => Kind::Directory,
            Self::Symlink { .. } => Kind::Symlink,
            Self::Fifo => Kind::Fifo,
            Self::Socket => Kind::Socket,
            Self::CharDevice(_) => Kind::CharDevice,
            Self::BlockDevice(_) => Kind::BlockDevice,
        }
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory)
    }
}

/// The attributes whose names are known beforehand: they are seen also where the
/// kernel cannot list what there is.
pub const XATTRS_KNOWN_BY_NAME: [&std::ffi::CStr; 3] =
    [c"security.capability", c"system.posix_acl_access", c"system.posix_acl_default"];
