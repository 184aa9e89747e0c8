//! Baking: everything that is there becomes the promise.
//!
//! What cannot be read cannot be promised, so baking stops at the first gap.

use std::collections::HashMap;
use std::io::Write;

use congruent_protocol::contract::Class;
use congruent_protocol::digest::Digest;
use congruent_protocol::manifest::{EntriesError, EntriesSummary, EntriesWriter};
use congruent_protocol::path::TreePath;
use congruent_protocol::tree::{Contribution, OutOfOrder, TreeHasher};

use super::{Counters, Inode, Recalled, Root, Scope, Seen, SeenEntry, Sight, sweep};
use crate::lint::Collector;
use crate::packages::Owners;

/// A baked tree.
pub(crate) struct Baked {
    pub(crate) root: Digest,
    pub(crate) entries: EntriesSummary,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum BakeError {
    #[error("cannot bake {path}: {reason}; what cannot be read cannot be promised")]
    Unverifiable { path: TreePath, reason: String },
    #[error(
        "cannot bake {path}: it is a mount point{}; unmount it, or where what is mounted is part of the image, \
         name it in the contract with content = \"verify\"",
        .filesystem.as_ref().map(|fs| format!(" ({fs})")).unwrap_or_default()
    )]
    Mount { path: TreePath, filesystem: Option<String> },
    #[error("cannot bake {path}: the file system has a {what} that no manifest can hold")]
    Unrepresentable { path: TreePath, what: &'static str },
    #[error(transparent)]
    Entries(#[from] EntriesError),
    #[error(transparent)]
    Order(#[from] OutOfOrder),
}

/// Walks `root` and writes its entries to `section`, which is given back, each
/// with its owner. What lint finds goes to `lint`.
pub(crate) fn bake<W: Write>(
    root: &Root,
    scope: &Scope<'_>,
    counters: &Counters,
    section: W,
    owners: &Owners,
    lint: &mut Collector,
) -> Result<(W, Baked), BakeError> {
    debug_assert!(scope.purpose.is_bake());
    let algorithm = scope.algorithm;
    let mut writer = EntriesWriter::new(section, algorithm)?;
    let mut hasher = TreeHasher::new(algorithm);
    let mut groups = LinkGroups::default();
    sweep(root, scope, Recalled::default(), counters, |seen| {
        let Seen { path, terms, mount, mut sight } = seen;
        if let Sight::Entry(seen) = &mut sight {
            seen.lints.drain(..).for_each(|hit| lint.take(&path, hit));
        }
        if terms.class == Class::Reserved {
            return Ok(());
        }
        let SeenEntry { mut entry, inode, .. } = match sight {
            Sight::Entry(seen) => match seen.problem {
                None => *seen,
                Some(problem) => return Err(BakeError::Unverifiable { path, reason: problem.reason }),
            },
            Sight::Hidden(problem) => return Err(BakeError::Unverifiable { path, reason: problem.reason }),
            Sight::Mount => {
                return Err(BakeError::Mount { path, filesystem: mount.and_then(|mount| mount.filesystem) });
            }
            Sight::Anything => return Ok(()),
        };
        if entry.mtime.nanoseconds >= 1_000_000_000 {
            return Err(BakeError::Unrepresentable { path, what: "time" });
        }
        if !entry.node.is_directory() {
            entry.link_group = groups.of(inode);
        }
        entry.package = owners.of(&path, entry.node.is_directory());
        hasher.push(&path, Contribution::of(&entry, terms))?;
        writer.push(&path, &entry)?;
        Ok(())
    })?;
    let (section, entries) = writer.finish()?;
    Ok((section, Baked { root: hasher.finish(), entries }))
}

/// Numbers the inodes that have several paths, in order of their first.
#[derive(Default)]
struct LinkGroups(HashMap<((u32, u32), u64), u32>);

impl LinkGroups {
    fn of(&mut self, inode: Inode) -> u32 {
        if inode.links < 2 {
            return 0;
        }
        let next = u32::try_from(self.0.len() + 1).unwrap_or(u32::MAX);
        *self.0.entry((inode.device, inode.number)).or_insert(next)
    }
}
