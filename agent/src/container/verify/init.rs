//! Docker's own layer between image and container, with stubs to mount on.
//!
//! It is held to what Docker makes there (moby, `daemon/initlayer/setup_unix.go`) and to
//! nothing else: whatever more lies in it shows in the container. The contract has no
//! say: nothing that runs in a container writes there. A stub that is missing hides
//! nothing, and which there are depends on Docker's version, so none is missed.

use std::collections::BTreeMap;
use std::path::Path;

use congruent_protocol::digest::Algorithm;
use congruent_protocol::drift::{Change, Finding};
use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::layer::{LayerEntry, LayerNode, OPAQUE_NAME};
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::Coverage;

use super::lower::looking;
use super::writable::WritableError;
use super::{Known, Verifier, ids};
use crate::container::Container;
use crate::layer::{self, Expected};
use crate::sweep::Root;
use crate::sweep::cache::Memory;

/// Directories that Docker makes where the image has none, and those above its stubs,
/// which overlay copies from the image.
const DIRECTORIES: [&str; 7] = ["/", "/dev", "/dev/pts", "/dev/shm", "/etc", "/proc", "/sys"];
/// Empty files, whatever the image has there, if that is no directory.
const FILES: [&str; 5] = ["/.dockerenv", "/dev/console", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
/// A link, likewise.
const LINK: (&str, &[u8]) = ("/etc/mtab", b"/proc/mounts");
/// The mode of all that Docker makes.
const MODE: u16 = 0o755;

/// What the layer came to.
pub(super) struct CheckedInit {
    /// In tree order.
    pub(super) findings: Vec<Finding>,
    pub(super) coverage: Coverage,
}

pub(super) fn check(
    verifier: &Verifier<'_>,
    container: &Container,
    known: &Known,
    directory: &Path,
) -> Result<CheckedInit, WritableError> {
    let root = Root::open_uncovered(directory)?;
    let ids = ids::maps_for(directory, container).map_err(WritableError::Stat)?.ok_or(WritableError::Ids)?;
    let predicate = known.manifest.predicate();
    let looking = looking(verifier, container, predicate.root.algorithm(), &ids)?;
    let may_be = stubs(&of_image(known)?, predicate.root.algorithm());
    let expected = Expected {
        count: may_be.len() as u64,
        entries: may_be.into_iter().map(|(path, node)| Ok(LayerEntry { path, node })),
        // No mark is missed.
        is_lowest: true,
        top_mode: None,
    };
    // Attributes of what was copied from the image are compared as far as it was baked.
    let checked = layer::check(
        &root,
        expected,
        &predicate.contract,
        looking,
        &mut Memory::default(),
        verifier.findings(),
        verifier.clock,
    )?;
    let mut findings = checked.findings.load().map_err(WritableError::Findings)?;
    findings.retain(|finding| finding.change != Change::Removed && !finding.path.is_root());
    Ok(CheckedInit { findings, coverage: checked.coverage })
}

/// What the image has at the places of stubs.
fn of_image(known: &Known) -> Result<BTreeMap<TreePath, Entry>, WritableError> {
    let names = || DIRECTORIES.into_iter().chain(FILES).chain([LINK.0]);
    let last = names().map(path).max().expect("there are stubs");
    let mut there = BTreeMap::new();
    for listed in known.entries()? {
        let listed = listed?;
        if listed.path > last {
            break;
        }
        if names().any(|name| name.as_bytes() == listed.path.as_bytes()) {
            there.insert(listed.path, listed.entry);
        }
    }
    Ok(there)
}

/// All that Docker may make over an image that has `there`.
fn stubs(there: &BTreeMap<TreePath, Entry>, algorithm: Algorithm) -> BTreeMap<TreePath, LayerNode> {
    let mut stubs = BTreeMap::new();
    let directory = |path: &TreePath| there.get(path).filter(|entry| entry.node.is_directory());
    let made = |node| LayerNode::Entry(Entry { node, mode: MODE, ..Entry::empty() });
    for path in DIRECTORIES.map(path) {
        if let Some(of_image) = directory(&path) {
            stubs.insert(path, LayerNode::Entry(of_image.clone()));
            continue;
        }
        // In the place of something else, overlay marks it.
        stubs.insert(path.join(OPAQUE_NAME).expect("the mark's name is a possible one"), LayerNode::Opaque);
        stubs.insert(path, made(Node::Directory));
    }
    let empty = Node::File { size: 0, content: Some(algorithm.digest(b"")) };
    for path in FILES.map(path).into_iter().filter(|path| directory(path).is_none()) {
        stubs.insert(path, made(empty.clone()));
    }
    let (link, target) = (path(LINK.0), Node::Symlink { target: LINK.1.to_vec() });
    if directory(&link).is_none() {
        let node = LayerNode::Entry(Entry { node: target, mode: 0o777, ..Entry::empty() });
        stubs.insert(link, node);
    }
    stubs
}

fn path(name: &str) -> TreePath {
    TreePath::new(name).expect("the name is constant, and one that entries can have")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_the_image_stay_and_all_else_makes_room() {
        let directory = Entry { mode: 0o711, uid: 7, ..Entry::empty() };
        let link = Entry { node: Node::Symlink { target: b"/x".to_vec() }, ..Entry::empty() };
        let there = [("/etc", &directory), ("/etc/hosts", &directory), ("/etc/mtab", &directory)];
        let there = there.into_iter().chain([("/dev", &link), ("/etc/hostname", &link)]);
        let there = there.map(|(name, entry)| (path(name), entry.clone())).collect();
        let stubs = stubs(&there, Algorithm::Sha256);
        let at = |name: &str| stubs.get(&path(name));
        assert_eq!(at("/etc"), Some(&LayerNode::Entry(directory)));
        for absent in ["/etc/hosts", "/etc/mtab", "/etc/.wh..wh..opq", "/etc/passwd"] {
            assert_eq!(at(absent), None, "{absent}");
        }
        let made = at("/dev").and_then(LayerNode::entry).unwrap();
        assert_eq!((made.node.is_directory(), made.mode, made.uid), (true, 0o755, 0));
        assert_eq!(at("/dev/.wh..wh..opq"), Some(&LayerNode::Opaque));
        let made = at("/etc/hostname").and_then(LayerNode::entry).unwrap();
        assert_eq!((made.node.kind().name(), made.mode), ("file", 0o755));
    }
}
