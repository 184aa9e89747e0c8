//! The names of users and groups, from the root's own passwd and group: those of
//! the machine that looks say nothing of the tree.

use std::collections::HashMap;
use std::io::Read;

use congruent_protocol::path::TreePath;

use crate::beneath;
use crate::sweep::Root;

/// The largest passwd or group taken; what lies beyond is not resolved.
const MAX_BYTES: u64 = 16 << 20;

/// Names and their numbers.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    users: HashMap<Vec<u8>, u32>,
    groups: HashMap<Vec<u8>, u32>,
}

impl Accounts {
    /// Those of `root`. What cannot be read resolves no names, and the spec's
    /// names are then reported as not checked.
    pub(super) fn of(root: &Root) -> Self {
        Self { users: read(root, "/etc/passwd"), groups: read(root, "/etc/group") }
    }

    pub(super) fn user(&self, name: &[u8]) -> Option<u32> {
        self.users.get(name).copied()
    }

    pub(super) fn group(&self, name: &[u8]) -> Option<u32> {
        self.groups.get(name).copied()
    }
}

fn read(root: &Root, path: &str) -> HashMap<Vec<u8>, u32> {
    let mut text = Vec::new();
    let path = TreePath::new(path).expect("the two paths are constant");
    let read =
        beneath::open(&root.directory, &path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text));
    match read {
        Ok(_) => numbers(&text),
        Err(_) => HashMap::new(),
    }
}

/// `name:password:number:…` in both files; the first of a name counts.
fn numbers(text: &[u8]) -> HashMap<Vec<u8>, u32> {
    let mut numbers = HashMap::new();
    for line in text.split(|&b| b == b'\n') {
        let mut fields = line.split(|&b| b == b':');
        let name = fields.next().unwrap_or_default();
        let number = fields.nth(1).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        if let Some(number) = number {
            numbers.entry(name.to_vec()).or_insert(number);
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name_counts() {
        let found = numbers(b"root:x:0:0:r:/root:/bin/sh\nweb:x:33:33\n# no\nweb:x:34:\nbad:x:y:\n+\n");
        let expected = [(b"root".to_vec(), 0), (b"web".to_vec(), 33)];
        assert_eq!(found, expected.into_iter().collect());
    }
}
