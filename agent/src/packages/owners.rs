//! Which package each path of a tree belongs to.
//!
//! Paths are kept as the first half of their digests, since a tree has hundreds
//! of thousands of them and bake must stay small.

use std::collections::{HashMap, HashSet};

use congruent_protocol::digest::Algorithm;
use congruent_protocol::path::TreePath;

use super::links::Links;

const KEY_BYTES: usize = 16;

/// The packages of paths, by their places in the manifest's list.
#[derive(Default)]
pub(crate) struct Owners(HashMap<[u8; KEY_BYTES], Owner>);

#[derive(Clone, Copy)]
struct Owner {
    package: u32,
    is_shared: bool,
}

impl Owners {
    /// The package that owns `path`, counted from 1; 0 for none. A file belongs
    /// to the first package that lists it; a directory that several list, to none.
    pub(crate) fn of(&self, path: &TreePath, is_directory: bool) -> u32 {
        if self.0.is_empty() {
            return 0;
        }
        match self.0.get(&key(path)) {
            Some(owner) if !(is_directory && owner.is_shared) => owner.package,
            _ => 0,
        }
    }

    /// How many paths have an owner.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Notes what `package` lists. What is no path of a tree is passed over.
    pub(super) fn claim<F: FnMut(&TreePath) -> Option<Vec<u8>>>(
        &mut self,
        package: u32,
        paths: Vec<Vec<u8>>,
        links: &mut Links<F>,
    ) {
        let paths: Vec<_> = paths.into_iter().filter_map(|path| TreePath::new(path).ok()).collect();
        let parents: HashSet<_> = paths.iter().filter_map(TreePath::parent).collect();
        for path in &paths {
            // Listed as a directory, it is what its link leads to.
            let lies = if parents.contains(path) { links.directory(path) } else { links.entry(path) };
            if let Some(lies) = lies {
                self.note(&lies, package);
            }
        }
    }

    fn note(&mut self, path: &TreePath, package: u32) {
        let owner = self.0.entry(key(path)).or_insert(Owner { package, is_shared: false });
        owner.is_shared |= owner.package != package;
    }
}

fn key(path: &TreePath) -> [u8; KEY_BYTES] {
    let digest = Algorithm::Blake3.digest(path.as_bytes());
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(&digest.as_bytes()[..KEY_BYTES]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_first_owner_and_shared_directories_none() {
        let mut owners = Owners::default();
        let mut links =
            Links::new(|path: &TreePath| (path.as_bytes() == b"/bin").then(|| b"usr/bin".to_vec()));
        let list = |paths: &[&str]| paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        owners.claim(1, list(&["/", "/bin", "/bin/a", "/usr", "/usr/doc", "/usr/doc/a"]), &mut links);
        owners.claim(2, list(&["/", "/usr", "/usr/bin", "/usr/bin/a", "/usr/bin/b", "x", "/.."]), &mut links);
        for (path, is_directory, package) in [
            ("/", true, 0),
            ("/usr", true, 0),
            ("/usr/bin", true, 0),
            ("/bin", false, 0),
            ("/usr/doc", true, 1),
            ("/usr/doc/a", false, 1),
            ("/usr/bin/a", false, 1),
            ("/usr/bin/b", false, 2),
            ("/etc", true, 0),
        ] {
            let path = TreePath::new(path).unwrap();
            assert_eq!(owners.of(&path, is_directory), package, "{path}");
        }
    }
}
