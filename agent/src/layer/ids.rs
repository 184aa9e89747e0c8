//! Owners as the image has them, of what a user namespace shifted.
//!
//! Ids stand in owners, in ACLs, and in the root id of file capabilities of version 3
//! (linux/capability.h, linux/posix_acl_xattr.h). What no range maps is not known.

use congruent_protocol::contract::CAPABILITY;
use congruent_protocol::entry::Entry;
use serde::Serialize;

const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
/// `ACL_USER` and `ACL_GROUP`: entries that name somebody.
const ACL_USER: u16 = 0x02;
const ACL_GROUP: u16 = 0x08;
const CAPABILITY_V2: u32 = 0x0200_0000;
const CAPABILITY_V3: u32 = 0x0300_0000;
const CAPABILITY_REVISION: u32 = 0xff00_0000;
const CAPABILITY_V2_BYTES: usize = 20;
const CAPABILITY_V3_BYTES: usize = 24;

/// A range of ids, as in /proc/PID/uid_map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct IdRange {
    /// The first id inside.
    pub(crate) inside: u32,
    /// What it is outside.
    pub(crate) outside: u32,
    /// How many there are.
    pub(crate) count: u32,
}

/// How a user namespace maps ids; nothing where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct IdMaps {
    pub(crate) uids: Vec<IdRange>,
    pub(crate) gids: Vec<IdRange>,
}

impl IdMaps {
    /// Whether ids are the same inside and outside.
    pub(crate) fn is_identity(&self) -> bool {
        let all = IdRange { inside: 0, outside: 0, count: u32::MAX };
        [&self.uids, &self.gids].iter().all(|ranges| ranges.is_empty() || ranges[..] == [all])
    }

    /// Puts the ids inside in the place of those outside, and says which have none.
    pub(super) fn map_back(&self, entry: &mut Entry) -> Unmapped {
        let mut unmapped = Unmapped::default();
        if self.is_identity() {
            return unmapped;
        }
        let (uid, gid) = (inside(&self.uids, entry.uid), inside(&self.gids, entry.gid));
        (unmapped.uid, unmapped.gid) = (uid.is_none(), gid.is_none());
        (entry.uid, entry.gid) = (uid.unwrap_or(entry.uid), gid.unwrap_or(entry.gid));
        for (name, value) in &mut entry.xattrs {
            let is_mapped = if ACLS.contains(&name.as_slice()) {
                self.map_acl(value)
            } else if name == CAPABILITY {
                self.map_capability(value)
            } else {
                true
            };
            if !is_mapped {
                unmapped.xattrs.push(name.clone());
            }
        }
        unmapped
    }

    /// An ACL is a version and entries of a tag, permissions and an id.
    fn map_acl(&self, value: &mut [u8]) -> bool {
        let Some((_, entries)) = value.split_at_mut_checked(4) else { return false };
        let mut is_mapped = true;
        for entry in entries.chunks_exact_mut(8) {
            let ranges = match u16::from_le_bytes([entry[0], entry[1]]) {
                ACL_USER => &self.uids,
                ACL_GROUP => &self.gids,
                _ => continue,
            };
            let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            let mapped = inside(ranges, id);
            entry[4..8].copy_from_slice(&mapped.unwrap_or(id).to_le_bytes());
            is_mapped &= mapped.is_some();
        }
        is_mapped
    }

    /// Those of the namespace's own root are what the image has as version 2. Those of
    /// another user in it are no image's, and stay as they are.
    fn map_capability(&self, value: &mut Vec<u8>) -> bool {
        let word =
            |at: usize| value.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
        let (Some(magic), Some(root)) = (word(0), word(CAPABILITY_V2_BYTES)) else { return true };
        if magic & CAPABILITY_REVISION != CAPABILITY_V3 || value.len() != CAPABILITY_V3_BYTES {
            return true;
        }
        let root = inside(&self.uids, root);
        if root == Some(0) {
            let magic = (magic & !CAPABILITY_REVISION) | CAPABILITY_V2;
            value.truncate(CAPABILITY_V2_BYTES);
            value[..4].copy_from_slice(&magic.to_le_bytes());
        }
        root.is_some()
    }
}

/// What of an entry names somebody whom its user namespace does not have.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Unmapped {
    uid: bool,
    gid: bool,
    /// The names of such attributes.
    xattrs: Vec<Vec<u8>>,
}

impl Unmapped {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes what is not known for what is expected: that it is not known is said elsewhere.
    pub(super) fn assume(&self, observed: &mut Entry, expected: &Entry) {
        if self.uid {
            observed.uid = expected.uid;
        }
        if self.gid {
            observed.gid = expected.gid;
        }
        let is_unknown = |(name, _): &(Vec<u8>, Vec<u8>)| self.xattrs.contains(name);
        if !self.xattrs.is_empty() {
            observed.xattrs.retain(|xattr| !is_unknown(xattr));
            observed.xattrs.extend(expected.xattrs.iter().filter(|xattr| is_unknown(xattr)).cloned());
            observed.xattrs.sort();
        }
    }
}

fn inside(ranges: &[IdRange], id: u32) -> Option<u32> {
    if ranges.is_empty() {
        return Some(id);
    }
    ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.outside).filter(|&offset| offset < range.count)?;
        range.inside.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps() -> IdMaps {
        let range = |inside, outside, count| IdRange { inside, outside, count };
        let ranges = vec![range(0, 1000, 1), range(1, 100_000, 65_535)];
        IdMaps { uids: ranges.clone(), gids: ranges }
    }

    #[test]
    fn owners_are_mapped_back_or_unknown() {
        for (outside, inside) in
            [(1000, Some(0)), (100_000, Some(1)), (165_534, Some(65_535)), (0, None), (165_535, None)]
        {
            let mut entry = Entry { uid: outside, gid: outside, ..Entry::empty() };
            assert_eq!(maps().map_back(&mut entry).is_empty(), inside.is_some(), "{outside}");
            assert_eq!(entry.uid, inside.unwrap_or(outside));
        }
        let mut entry = Entry { uid: 7, ..Entry::empty() };
        assert!(IdMaps::default().map_back(&mut entry).is_empty());
        assert_eq!(entry.uid, 7);
    }

    #[test]
    fn ids_in_acls_and_capabilities_are_mapped_back() {
        let mut acl = vec![2, 0, 0, 0];
        for (tag, id) in [(1_u16, u32::MAX), (ACL_USER, 100_041), (ACL_GROUP, 1000)] {
            acl.extend_from_slice(&tag.to_le_bytes());
            acl.extend_from_slice(&[7, 0]);
            acl.extend_from_slice(&id.to_le_bytes());
        }
        let capability = |magic: u32, root: Option<u32>| {
            let mut value = magic.to_le_bytes().to_vec();
            value.resize(CAPABILITY_V2_BYTES, 9);
            value.extend(root.into_iter().flat_map(u32::to_le_bytes));
            value
        };
        let with = |name: &[u8], value: Vec<u8>| {
            let xattrs = vec![(name.to_vec(), value)];
            Entry { uid: 1000, gid: 1000, xattrs, ..Entry::empty() }
        };
        let mut entry = with(ACLS[0], acl);
        assert!(maps().map_back(&mut entry).is_empty());
        let ids: Vec<u32> = entry.xattrs[0].1[4..]
            .chunks(8)
            .map(|entry| u32::from_le_bytes(entry[4..].try_into().unwrap()))
            .collect();
        assert_eq!(ids, [u32::MAX, 42, 0]);
        let mut entry = with(CAPABILITY, capability(CAPABILITY_V3 | 1, Some(1000)));
        assert!(maps().map_back(&mut entry).is_empty());
        assert_eq!(entry.xattrs[0].1, capability(CAPABILITY_V2 | 1, None));
        // Of another user in the namespace, which no image has.
        let of_another = capability(CAPABILITY_V3, Some(100_000));
        let mut entry = with(CAPABILITY, of_another.clone());
        assert!(maps().map_back(&mut entry).is_empty());
        assert_eq!(entry.xattrs[0].1, of_another);
    }

    #[test]
    fn what_is_not_mapped_is_taken_for_what_is_expected() {
        let capability =
            |bytes: usize| vec![(CAPABILITY.to_vec(), [vec![0, 0, 0, 3], vec![0; bytes - 4]].concat())];
        let note = (b"user.note".to_vec(), b"x".to_vec());
        let expected =
            Entry { uid: 7, gid: 8, mode: 0o644, xattrs: capability(CAPABILITY_V2_BYTES), ..Entry::empty() };
        let xattrs = [capability(CAPABILITY_V3_BYTES), vec![note.clone()]].concat();
        let mut observed = Entry { uid: 5, gid: 1000, mode: 0o600, xattrs, ..Entry::empty() };
        let unmapped = maps().map_back(&mut observed);
        assert!(!unmapped.is_empty());
        unmapped.assume(&mut observed, &expected);
        // The group is known, and so is all that names nobody.
        assert_eq!((observed.uid, observed.gid, observed.mode), (7, 0, 0o600));
        assert_eq!(observed.xattrs, [capability(CAPABILITY_V2_BYTES), vec![note]].concat());
    }
}
