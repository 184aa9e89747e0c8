//! The tree that layers come to, one over the other.

use std::collections::{BTreeMap, HashMap};

use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::layer::{LayerEntry, LayerNode};
use congruent_protocol::path::TreePath;

use super::list::{Layer, Lower, remove_beneath};

/// What a directory is that no layer lists: as runtimes make it.
fn unlisted_directory() -> Entry {
    Entry { node: Node::Directory, mode: 0o755, ..Entry::empty() }
}

/// Why layers come to no tree that all runtimes agree on.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Some follow the link in the lower layer, some put a directory in its place.
    #[error(
        "the layer lists something beneath {above} and not {above} itself, which lower layers make a {kind}: what \
         that comes to depends on who unpacks it"
    )]
    BeneathLower {
        /// What is no directory.
        above: TreePath,
        /// What it is instead.
        kind: &'static str,
    },
}

/// A tree that grows layer by layer.
#[derive(Debug, Default)]
pub struct MergedTree {
    entries: BTreeMap<TreePath, Entry>,
    link_groups: u32,
}

impl Lower for MergedTree {
    fn entry(&self, path: &TreePath) -> Option<&Entry> {
        self.entries.get(path)
    }
}

impl MergedTree {
    /// Puts a layer over what there is.
    ///
    /// # Errors
    /// When what it comes to is not the same everywhere. The tree is then of no use.
    pub fn apply(&mut self, layer: &Layer) -> Result<(), MergeError> {
        for LayerEntry { path, node } in &layer.entries {
            match node {
                LayerNode::Whiteout => {
                    remove_beneath(&mut self.entries, path);
                    self.entries.remove(path);
                }
                LayerNode::Opaque => {
                    if let Some(directory) = path.parent() {
                        remove_beneath(&mut self.entries, &directory);
                        if self.entries.get(&directory).is_some_and(|entry| !entry.node.is_directory()) {
                            self.entries.remove(&directory);
                        }
                    }
                }
                LayerNode::Entry(_) | LayerNode::Implied => {}
            }
        }
        let base = self.link_groups;
        for LayerEntry { path, node } in &layer.entries {
            match node {
                LayerNode::Entry(entry) => {
                    let mut entry = entry.clone();
                    if entry.link_group != 0 {
                        entry.link_group += base;
                        self.link_groups = self.link_groups.max(entry.link_group);
                    }
                    if !entry.node.is_directory() {
                        remove_beneath(&mut self.entries, path);
                    }
                    self.entries.insert(path.clone(), entry);
                }
                LayerNode::Implied => self.imply(path)?,
                LayerNode::Whiteout | LayerNode::Opaque => {}
            }
        }
        Ok(())
    }

    fn imply(&mut self, path: &TreePath) -> Result<(), MergeError> {
        match self.entries.get(path) {
            None => drop(self.entries.insert(path.clone(), unlisted_directory())),
            Some(entry) if entry.node.is_directory() => {}
            Some(entry) => {
                let kind = entry.node.kind().name();
                return Err(MergeError::BeneathLower { above: path.clone(), kind });
            }
        }
        Ok(())
    }

    /// The entries in tree order, beginning with `/`. Of what shares an inode each
    /// has the same number, in order of the first; what shares it with nothing, 0.
    pub fn into_entries(mut self) -> BTreeMap<TreePath, Entry> {
        self.entries.entry(TreePath::root()).or_insert_with(unlisted_directory);
        let mut counts: HashMap<u32, u32> = HashMap::new();
        for entry in self.entries.values() {
            *counts.entry(entry.link_group).or_default() += 1;
        }
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        for entry in self.entries.values_mut() {
            if entry.link_group == 0 {
                continue;
            }
            if counts.get(&entry.link_group) == Some(&1) {
                entry.link_group = 0;
                continue;
            }
            let next = u32::try_from(numbers.len() + 1).unwrap_or(u32::MAX);
            entry.link_group = *numbers.entry(entry.link_group).or_insert(next);
        }
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use congruent_protocol::layer::OPAQUE_NAME;

    use super::*;

    fn layer(listed: &[(&str, LayerNode)]) -> Layer {
        let entry = |(path, node): &(&str, LayerNode)| LayerEntry {
            path: TreePath::new(*path).unwrap(),
            node: node.clone(),
        };
        Layer { entries: listed.iter().map(entry).collect(), hits: Vec::new() }
    }

    fn file(mode: u16) -> LayerNode {
        LayerNode::Entry(Entry { node: Node::File { size: 0, content: None }, mode, ..Entry::empty() })
    }

    fn directory(mode: u16) -> LayerNode {
        LayerNode::Entry(Entry { mode, ..Entry::empty() })
    }

    fn merged(layers: &[&[(&str, LayerNode)]]) -> Result<Vec<String>, String> {
        let mut tree = MergedTree::default();
        for listed in layers {
            tree.apply(&layer(listed)).map_err(|error| error.to_string())?;
        }
        Ok(tree.into_entries().iter().map(|(path, entry)| format!("{path} {:o}", entry.mode)).collect())
    }

    #[test]
    fn upper_layers_take_away_change_and_add() {
        let opaque = format!("/opaque/{}", std::str::from_utf8(OPAQUE_NAME).unwrap());
        let base: &[(&str, LayerNode)] = &[
            ("/", LayerNode::Implied),
            ("/dir", directory(0o700)),
            ("/dir/keep", file(0o600)),
            ("/dir-", file(0o1)),
            ("/file", file(0o600)),
            ("/gone", directory(0o700)),
            ("/gone/x", file(0o600)),
            ("/opaque", directory(0o700)),
            ("/opaque/x", file(0o600)),
            ("/over", directory(0o700)),
            ("/over/x", file(0o600)),
        ];
        let upper: &[(&str, LayerNode)] = &[
            ("/", LayerNode::Implied),
            ("/dir", directory(0o711)),
            ("/file", directory(0o711)),
            ("/gone", LayerNode::Whiteout),
            ("/new", LayerNode::Implied),
            ("/new/x", file(0o611)),
            ("/opaque", LayerNode::Implied),
            (&opaque, LayerNode::Opaque),
            ("/opaque/y", file(0o611)),
            ("/over", file(0o611)),
        ];
        assert_eq!(
            merged(&[base, upper]).unwrap(),
            [
                "/ 755",
                "/dir 711",
                "/dir/keep 600",
                "/dir- 1",
                "/file 711",
                "/new 755",
                "/new/x 611",
                "/opaque 700",
                "/opaque/y 611",
                "/over 611",
            ]
        );
        assert_eq!(merged(&[]).unwrap(), ["/ 755"]);
    }

    #[test]
    fn what_depends_on_who_unpacks_it_is_refused() {
        let base: &[(&str, LayerNode)] = &[("/", LayerNode::Implied), ("/bin", file(0o600))];
        let upper: &[(&str, LayerNode)] =
            &[("/", LayerNode::Implied), ("/bin", LayerNode::Implied), ("/bin/sh", file(0o755))];
        let error = merged(&[base, upper]).unwrap_err();
        assert!(error.contains("beneath /bin and not /bin itself"), "{error}");
    }
}
