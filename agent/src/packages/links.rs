//! Where a listed path lies in a tree whose directories are links.
//!
//! Packages list `/bin/x`, and the tree has `/usr/bin/x` since `/bin` is a link.
//! Pure but for the question what one path links to.

use std::collections::HashMap;

use congruent_protocol::path::TreePath;

/// The most links followed for one path, as in Linux.
const MAX_HOPS: usize = 40;

/// Follows a tree's own links between directories, each asked for once.
pub(super) struct Links<F> {
    /// What a path, whose parent is no link, links to; none where it is no link.
    read_link: F,
    known: HashMap<TreePath, Option<Vec<u8>>>,
    resolved: HashMap<TreePath, Option<TreePath>>,
}

impl<F: FnMut(&TreePath) -> Option<Vec<u8>>> Links<F> {
    pub(super) fn new(read_link: F) -> Self {
        Self { read_link, known: HashMap::new(), resolved: HashMap::new() }
    }

    /// The directory that `path` leads to, within the tree; none where links
    /// lead in a circle. What is not there leads to itself.
    pub(super) fn directory(&mut self, path: &TreePath) -> Option<TreePath> {
        if let Some(resolved) = self.resolved.get(path) {
            return resolved.clone();
        }
        let resolved = self.follow(path);
        self.resolved.insert(path.clone(), resolved.clone());
        resolved
    }

    /// Where what is listed as `path` lies: its directory followed, not itself.
    pub(super) fn entry(&mut self, path: &TreePath) -> Option<TreePath> {
        match path.parent() {
            Some(parent) => self.directory(&parent)?.join(path.name()).ok(),
            None => Some(path.clone()),
        }
    }

    fn follow(&mut self, path: &TreePath) -> Option<TreePath> {
        let mut at = TreePath::root();
        let mut rest = components(path.as_bytes());
        let mut hops = 0;
        while let Some(name) = rest.pop() {
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    at.truncate(at.depth().saturating_sub(1));
                    continue;
                }
                _ => {}
            }
            let here = at.join(&name).ok()?;
            let Some(target) = self.link_at(&here) else {
                at = here;
                continue;
            };
            hops += 1;
            if hops > MAX_HOPS {
                return None;
            }
            if target.starts_with(b"/") {
                at = TreePath::root();
            }
            rest.extend(components(&target));
        }
        Some(at)
    }

    fn link_at(&mut self, path: &TreePath) -> Option<Vec<u8>> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let target = (self.read_link)(path);
        self.known.insert(path.clone(), target.clone());
        target
    }
}

/// The components, last first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.rsplit(|&b| b == b'/').map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_are_links_are_followed() {
        let mut links = Links::new(|path: &TreePath| {
            let target: &[u8] = match path.as_bytes() {
                b"/bin" => b"usr/bin",
                b"/lib" => b"/usr/lib",
                b"/usr/lib/up" => b"../../../etc",
                b"/loop" => b"loop",
                b"/ping" => b"pong/.",
                b"/pong" => b"/ping",
                b"/usr/bin/sh" => b"dash",
                _ => return None,
            };
            Some(target.to_vec())
        });
        for (listed, lies) in [
            ("/", Some("/")),
            ("/bin/sh", Some("/usr/bin/sh")),
            ("/bin", Some("/bin")),
            ("/lib/up/passwd", Some("/etc/passwd")),
            ("/usr/bin/sh/x", Some("/usr/bin/dash/x")),
            ("/opt/not/there", Some("/opt/not/there")),
            ("/loop/x", None),
            ("/ping/x", None),
        ] {
            let listed = TreePath::new(listed).unwrap();
            let lies = lies.map(|path| TreePath::new(path).unwrap());
            assert_eq!(links.entry(&listed), lies, "{listed}");
        }
        let bin = TreePath::new("/bin").unwrap();
        assert_eq!(links.directory(&bin), TreePath::new("/usr/bin").ok());
    }
}
