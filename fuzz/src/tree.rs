//! Small trees, whose paths often meet those of another.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::path::TreePath;

use crate::entry;

/// Entries by path, `/` among them, each in a directory.
pub type Tree = BTreeMap<TreePath, Entry>;

const NAMES: [&[u8]; 5] = [b"a", b"a-b", b"b", b"x\ny", b"\xff"];
const MAX_ENTRIES: usize = 12;

/// A tree of at most a dozen paths beyond the directories that lead to them.
pub fn tree(bytes: &mut Unstructured<'_>, in_scope: impl Fn(&[u8]) -> bool) -> Result<Tree> {
    let directory = || Entry { node: Node::Directory, mode: 0o755, ..Entry::empty() };
    let mut tree = Tree::from([(TreePath::root(), directory())]);
    for _ in 0..bytes.int_in_range(0..=MAX_ENTRIES)? {
        let mut at = TreePath::root();
        for _ in 0..bytes.int_in_range(1..=3)? {
            // Only a directory can hold more; a leaf on the way ends the path.
            if !tree.entry(at.clone()).or_insert_with(directory).node.is_directory() {
                break;
            }
            at.push(bytes.choose(&NAMES)?).expect("the names are possible ones");
        }
        let made = entry(bytes, &in_scope)?;
        tree.entry(at).or_insert(made);
    }
    Ok(tree)
}
