//! The tree root: one digest that stands for every entry in scope.
//!
//! Entries are pushed in tree order and only the open directories are kept, so
//! memory follows depth, not size. The encoding is in `FORMAT.md`; its vectors
//! are frozen in the tests below.

use crate::contract::Terms;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::entry::{Entry, Kind, Node};
use crate::path::TreePath;

/// Domain of the digest of a directory's children.
const DIRECTORY_DOMAIN: &[u8] = b"congruent directory v1\0";
/// Domain of the root.
const ROOT_DOMAIN: &[u8] = b"congruent tree v1\0";
/// Tag of an ancestor that does not itself contribute.
pub(crate) const IMPLIED_TAG: u8 = b'i';

/// Tag of what contradicts the ledger.
const CONTRADICTION_TAG: u8 = b'x';
/// The name under which a modification time stands among an entry's attributes.
/// No extended attribute has a name without a namespace.
const MTIME_NAME: &[u8] = b"mtime";

/// What one path contributes to the root.
#[derive(Debug, Clone, Copy)]
pub enum Contribution<'a> {
    /// An entry, baked or as observed.
    Entry {
        /// The entry.
        entry: &'a Entry,
        /// Whether its modification time is part of it.
        mtime: bool,
    },
    /// A mount that the contract does not name: a leaf without attributes.
    Mount,
    /// In a layer: what lies below at this path is gone. A leaf without attributes.
    Whiteout,
    /// In a layer: all that lies below in the directory that holds this is gone.
    /// A leaf without attributes.
    Opaque,
    /// Something other than the first value in the ledger, as observed; none
    /// where nothing is there.
    Contradiction(Option<&'a Entry>),
}

impl<'a> Contribution<'a> {
    /// An entry that is held to `terms`.
    pub fn of(entry: &'a Entry, terms: &Terms) -> Self {
        Self::Entry { entry, mtime: terms.compares_time_of(entry) }
    }

    fn entry(&self) -> Option<&'a Entry> {
        match self {
            Self::Entry { entry, .. } | Self::Contradiction(Some(entry)) => Some(entry),
            Self::Mount | Self::Whiteout | Self::Opaque | Self::Contradiction(None) => None,
        }
    }
}

/// How much of what a directory's children contribute is hashed at once: many
/// small pieces cost far more than a large one.
const GATHERED_BYTES: usize = 1 << 14;

/// Computes a tree root from contributions in tree order.
pub struct TreeHasher {
    algorithm: Algorithm,
    /// The path of the innermost open directory; meaningless while none is.
    open: TreePath,
    /// One per open directory, the root's first.
    directories: Vec<Gathering>,
    /// Takes the contribution of `/` itself.
    root: Gathering,
    /// Buffers of directories that are closed.
    spare: Vec<Vec<u8>>,
    last: Option<TreePath>,
}

/// A hasher, and what it has yet to take.
struct Gathering {
    hasher: Hasher,
    gathered: Vec<u8>,
}

impl Gathering {
    /// Where the next contribution goes.
    fn next(&mut self) -> &mut Vec<u8> {
        if self.gathered.len() >= GATHERED_BYTES {
            self.hasher.update(&self.gathered);
            self.gathered.clear();
        }
        &mut self.gathered
    }

    /// The digest, and the buffer for another.
    fn finish(mut self) -> (Digest, Vec<u8>) {
        self.hasher.update(&self.gathered);
        self.gathered.clear();
        (self.hasher.finish(), self.gathered)
    }
}

/// A path was pushed out of tree order, or twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{next} was contributed after {last}, which is not tree order")]
pub struct OutOfOrder {
    last: TreePath,
    next: TreePath,
}

impl TreeHasher {
    /// A hasher with no entries.
    pub fn new(algorithm: Algorithm) -> Self {
        let root = Gathering { hasher: algorithm.hasher(), gathered: ROOT_DOMAIN.to_vec() };
        Self {
            algorithm,
            open: TreePath::root(),
            directories: Vec::new(),
            root,
            spare: Vec::new(),
            last: None,
        }
    }

    /// Adds what `path` contributes. Ancestors that did not contribute as
    /// directories are put in as `implied`.
    ///
    /// # Errors
    /// When `path` does not come after the one before it.
    pub fn push(&mut self, path: &TreePath, contribution: Contribution<'_>) -> Result<(), OutOfOrder> {
        if let Some(last) = &self.last
            && last >= path
        {
            return Err(OutOfOrder { last: last.clone(), next: path.clone() });
        }
        self.close_until_above(path);
        self.imply_ancestors(path);
        self.write(path.name(), contribution);
        if contribution.entry().is_some_and(|entry| entry.node.is_directory()) {
            self.open_directory(path.clone());
        }
        match &mut self.last {
            Some(last) => last.clone_from(path),
            None => self.last = Some(path.clone()),
        }
        Ok(())
    }

    /// The root of everything pushed.
    pub fn finish(mut self) -> Digest {
        while !self.directories.is_empty() {
            self.close_directory();
        }
        self.root.finish().0
    }

    /// Closes the open directories that do not hold `path`.
    fn close_until_above(&mut self, path: &TreePath) {
        while !self.directories.is_empty() && (path == &self.open || !path.starts_with(&self.open)) {
            self.close_directory();
        }
    }

    fn imply_ancestors(&mut self, path: &TreePath) {
        let depth = path.depth();
        if self.directories.len() >= depth {
            return;
        }
        // The first name is that of the root, which is empty; the last is the path's own.
        let names = path.as_bytes().split(|&b| b == b'/').take(depth).skip(self.directories.len());
        for name in names {
            let out = self.innermost();
            out.push(IMPLIED_TAG);
            put_bytes(out, name);
            self.push_directory();
        }
        let mut ancestor = path.clone();
        ancestor.truncate(depth - 1);
        self.open = ancestor;
    }

    fn open_directory(&mut self, path: TreePath) {
        self.push_directory();
        self.open = path;
    }

    fn push_directory(&mut self) {
        let mut gathered = self.spare.pop().unwrap_or_default();
        gathered.extend_from_slice(DIRECTORY_DOMAIN);
        self.directories.push(Gathering { hasher: self.algorithm.hasher(), gathered });
    }

    /// Ends the innermost directory; its digest follows its own contribution in
    /// the directory that holds it.
    fn close_directory(&mut self) {
        let Some(directory) = self.directories.pop() else {
            return;
        };
        let (digest, buffer) = directory.finish();
        self.spare.push(buffer);
        self.innermost().extend_from_slice(digest.as_bytes());
        if let Some(depth) = self.directories.len().checked_sub(1) {
            self.open.truncate(depth);
        }
    }

    fn write(&mut self, name: &[u8], contribution: Contribution<'_>) {
        let out = self.innermost();
        match contribution {
            Contribution::Entry { entry, mtime } => put_entry(out, name, entry, mtime),
            Contribution::Contradiction(observed) => {
                out.push(CONTRADICTION_TAG);
                put_bytes(out, name);
                out.push(u8::from(observed.is_some()));
                if let Some(entry) = observed {
                    put_entry(out, name, entry, false);
                }
            }
            Contribution::Mount => put_leaf(out, Kind::Mount, name),
            Contribution::Whiteout => put_leaf(out, Kind::Whiteout, name),
            Contribution::Opaque => put_leaf(out, Kind::Opaque, name),
        }
    }

    /// Where the innermost open directory takes contributions.
    fn innermost(&mut self) -> &mut Vec<u8> {
        self.directories.last_mut().unwrap_or(&mut self.root).next()
    }
}

/// What is a kind and a name alone.
fn put_leaf(out: &mut Vec<u8>, kind: Kind, name: &[u8]) {
    out.push(kind.tag());
    put_bytes(out, name);
}

/// An entry's own contribution. A directory's subtree digest follows later.
fn put_entry(out: &mut Vec<u8>, name: &[u8], entry: &Entry, mtime: bool) {
    out.push(entry.node.kind().tag());
    put_bytes(out, name);
    put_u32(out, u32::from(entry.mode));
    put_u32(out, entry.uid);
    put_u32(out, entry.gid);
    put_u32(out, length(entry.xattrs.len() + usize::from(mtime)));
    for (name, value) in &entry.xattrs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
    if mtime {
        put_bytes(out, MTIME_NAME);
        put_u32(out, 12);
        out.extend_from_slice(&entry.mtime.seconds.to_le_bytes());
        put_u32(out, entry.mtime.nanoseconds);
    }
    match &entry.node {
        Node::File { content, .. } => {
            put_content(out, content.as_ref());
        }
        Node::Symlink { target } => put_bytes(out, target),
        Node::CharDevice(device) | Node::BlockDevice(device) => {
            put_u32(out, device.major);
            put_u32(out, device.minor);
        }
        Node::Directory | Node::Fifo | Node::Socket => {}
    }
}

/// A keyed digest is longer by its mark, so that it is never taken for a plain one.
fn put_content(out: &mut Vec<u8>, content: Option<&Digest>) {
    match content {
        None => put_bytes(out, &[]),
        Some(digest) if digest.is_keyed() => put_bytes(out, &[&b"k"[..], digest.as_bytes()].concat()),
        Some(digest) => put_bytes(out, digest.as_bytes()),
    }
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, length(bytes.len()));
    out.extend_from_slice(bytes);
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("names, targets and xattrs are bounded by the kernel far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Class;
    use crate::entry::Device;

    type Tree = Vec<(&'static str, Entry)>;
    type Mutation = (&'static str, fn(&mut Tree));

    fn entry(node: Node, mode: u16) -> Entry {
        Entry { node, mode, ..Entry::empty() }
    }

    fn file(content: &[u8]) -> Entry {
        let digest = Algorithm::Blake3.digest(content);
        entry(Node::File { size: content.len() as u64, content: Some(digest) }, 0o644)
    }

    fn root_of(entries: &[(&str, Entry)]) -> Digest {
        let mut hasher = TreeHasher::new(Algorithm::Blake3);
        for (path, entry) in entries {
            hasher.push(&TreePath::new(*path).unwrap(), Contribution::of(entry, Terms::immutable())).unwrap();
        }
        hasher.finish()
    }

    fn sample() -> Tree {
        let mut tool = file(b"tool");
        tool.xattrs = vec![(b"user.note".to_vec(), b"x".to_vec())];
        vec![
            ("/", entry(Node::Directory, 0o755)),
            ("/bin", entry(Node::Directory, 0o755)),
            ("/bin/tool", tool),
            ("/dev", entry(Node::Directory, 0o755)),
            ("/dev/null", entry(Node::CharDevice(Device { major: 1, minor: 3 }), 0o666)),
            ("/link", entry(Node::Symlink { target: b"bin/tool".to_vec() }, 0o777)),
            ("/pipe", entry(Node::Fifo, 0o600)),
        ]
    }

    /// Changing one of these values is a new format version.
    #[test]
    fn roots_are_frozen() {
        let root = |algorithm: Algorithm, push: &dyn Fn(&mut TreeHasher)| {
            let mut hasher = TreeHasher::new(algorithm);
            for (path, entry) in sample() {
                let path = TreePath::new(path).unwrap();
                hasher.push(&path, Contribution::of(&entry, Terms::immutable())).unwrap();
            }
            push(&mut hasher);
            hasher.finish().to_string()
        };
        let z = TreePath::new("/z").unwrap();
        let file = file(b"tool");
        let strict = Terms { mtime: true, ..Terms::of(Class::Immutable) };
        let key = crate::digest::ContentKey::new([7; 32]);
        let mut secret = file.clone();
        if let Node::File { content, .. } = &mut secret.node {
            *content = content.map(|digest| digest.keyed(&key));
        }
        for (what, algorithm, contribution, frozen) in [
            (
                "nothing",
                Algorithm::Blake3,
                None,
                "blake3:fc9cb850e8574d6a4936b4cbcddf335f6184914d4c767f36ba7d0bed2eee01d0",
            ),
            (
                "nothing",
                Algorithm::Sha256,
                None,
                "sha256:1dbdd1f3b6dfc0832186aa1d2e3df9b591167aabe7a6f7c90d3f7b5acdcb0aa4",
            ),
            (
                "a mount",
                Algorithm::Blake3,
                Some(Contribution::Mount),
                "blake3:0ad5a8f1fb8290b28137a118772cbc4128ec89fd71f28f647349d26c8bdd6920",
            ),
            (
                "a time",
                Algorithm::Blake3,
                Some(Contribution::of(&file, &strict)),
                "blake3:c266950ff9fd8ead346a4bf125dafcc5cc2a902624553df40418df925687744a",
            ),
            (
                "a keyed digest",
                Algorithm::Blake3,
                Some(Contribution::of(&secret, Terms::immutable())),
                "blake3:7a20f4bdec9dce638bc9a2773d401efaad953a4e2d683b50114d0aff61346e4c",
            ),
            (
                "something else",
                Algorithm::Blake3,
                Some(Contribution::Contradiction(Some(&file))),
                "blake3:be9c6f916111196022c2bb7b1ff5050c5e2cca7b2cc9f0f9981453bf3193d918",
            ),
            (
                "something gone",
                Algorithm::Blake3,
                Some(Contribution::Contradiction(None)),
                "blake3:e52a597171ec776a753ee5fc7c37cad9dd9557880093ae4958a7142c0fd1e18b",
            ),
        ] {
            let found = root(algorithm, &|hasher| {
                contribution.into_iter().for_each(|contribution| hasher.push(&z, contribution).unwrap());
            });
            assert_eq!(found, frozen, "{what}");
        }
    }

    #[test]
    fn every_attribute_counts_and_times_do_not() {
        let base = root_of(&sample());
        let mutations: [Mutation; 9] = [
            ("root's mode", |t| t[0].1.mode = 0o700),
            ("uid", |t| t[2].1.uid = 1),
            ("gid", |t| t[2].1.gid = 1),
            ("content", |t| t[2].1.node = file(b"tOol").node),
            ("xattr", |t| t[2].1.xattrs[0].1 = b"y".to_vec()),
            ("device", |t| t[4].1.node = Node::CharDevice(Device { major: 1, minor: 4 })),
            ("kind", |t| t[4].1.node = Node::BlockDevice(Device { major: 1, minor: 3 })),
            ("target", |t| t[5].1.node = Node::Symlink { target: b"bin".to_vec() }),
            ("removal", |t| drop(t.remove(6))),
        ];
        for (what, mutate) in mutations {
            let mut tree = sample();
            mutate(&mut tree);
            assert_ne!(root_of(&tree), base, "{what}");
        }
        let mut tree = sample();
        tree[2].1.mtime.seconds = 7;
        tree[2].1.link_group = 1;
        assert_eq!(root_of(&tree), base);
    }

    #[test]
    fn ancestors_that_do_not_contribute_are_implied() {
        let with_directory = root_of(&[
            ("/", entry(Node::Directory, 0o755)),
            ("/a", entry(Node::Directory, 0o755)),
            ("/a/b", file(b"")),
        ]);
        let implied = root_of(&[("/", entry(Node::Directory, 0o755)), ("/a/b", file(b""))]);
        assert_ne!(with_directory, implied);
        let beneath_a_file =
            root_of(&[("/", entry(Node::Directory, 0o755)), ("/a", file(b"")), ("/a/b", file(b""))]);
        assert_ne!(beneath_a_file, implied);
    }

    #[test]
    fn order_is_checked() {
        let mut hasher = TreeHasher::new(Algorithm::Blake3);
        let path = TreePath::new("/a").unwrap();
        hasher.push(&path, Contribution::Mount).unwrap();
        assert!(hasher.push(&path, Contribution::Mount).is_err());
        assert!(hasher.push(&TreePath::root(), Contribution::Mount).is_err());
    }
}
