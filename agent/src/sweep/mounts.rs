//! Mounts, as the kernel lists them, by mount id.
//!
//! Boundaries are mount ids and not device numbers: a bind mount of the same
//! file system is a mount too.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;

use congruent_protocol::contract::{Contract, ExpectedMount, MountContent};
use congruent_protocol::path::{TreePath, escape};
use congruent_protocol::verification::MountTreatment;

use super::sight::MountSeen;
use crate::mountinfo;

/// One line of `mountinfo`: proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq)]
struct MountInfo {
    filesystem: String,
    source: String,
    options: Vec<String>,
}

/// The mounts of one mount namespace. Read again when one is met that it lacks.
pub(crate) struct MountTable {
    mountinfo: PathBuf,
    known: Mutex<HashMap<u64, MountInfo>>,
}

impl MountTable {
    /// The table that `mountinfo` lists.
    pub(crate) fn new(mountinfo: impl Into<PathBuf>) -> Self {
        Self { mountinfo: mountinfo.into(), known: Mutex::default() }
    }

    /// How the mount `id`, met at `path`, is to be treated.
    pub(crate) fn treat(&self, contract: &Contract, path: &TreePath, id: u64) -> MountSeen {
        let info = self.look_up(id);
        let treatment = match contract.mount_at(path) {
            Some(expected) if fits(expected, info.as_ref()) => match expected.content {
                MountContent::Verify => MountTreatment::Verify,
                MountContent::Hide => MountTreatment::Hide,
            },
            _ => MountTreatment::Unnamed,
        };
        let (filesystem, source) = info.map(|info| (info.filesystem, info.source)).unzip();
        MountSeen { treatment, filesystem, source }
    }

    fn look_up(&self, id: u64) -> Option<MountInfo> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !known.contains_key(&id) {
            let listing = std::fs::read(&self.mountinfo).unwrap_or_default();
            *known = listing.split(|&b| b == b'\n').filter_map(parse_line).collect();
        }
        known.get(&id).cloned()
    }
}

/// Whether a mount is the one that the contract names. What the kernel does not
/// tell cannot be held to a wish, so it does not fit.
fn fits(expected: &ExpectedMount, info: Option<&MountInfo>) -> bool {
    let wishes = expected.filesystem.is_some() || expected.source.is_some() || !expected.flags.is_empty();
    match info {
        None => !wishes,
        Some(info) => {
            expected.filesystem.as_ref().is_none_or(|wanted| *wanted == info.filesystem)
                && expected.source.as_ref().is_none_or(|wanted| *wanted == info.source)
                && expected.flags.iter().all(|flag| info.options.contains(flag))
        }
    }
}

fn parse_line(line: &[u8]) -> Option<(u64, MountInfo)> {
    let mount = mountinfo::parse_line(line)?;
    let options = mount.all_options();
    let inert = |bytes: &[u8]| escape(bytes).into_owned();
    let (filesystem, source) = (inert(&mount.filesystem), inert(&mount.source));
    Some((mount.id, MountInfo { filesystem, source, options }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_and_escapes_undone() {
        let line = b"36 35 98:0 /a /b rw,noexec shared:1 master:2 - ext4 /dev/my\\040disk rw,errors=continue";
        let (id, info) = parse_line(line).unwrap();
        assert_eq!(id, 36);
        assert_eq!((info.filesystem.as_str(), info.source.as_str()), ("ext4", "/dev/my disk"));
        assert_eq!(info.options, ["rw", "noexec", "rw", "errors=continue"]);
        for odd in [&b""[..], b"x", b"1 2 3", b"1 2 3:4 / / rw shared:1", b"1 2 3:4 / / rw -"] {
            assert_eq!(parse_line(odd), None);
        }
    }

    #[test]
    fn a_mount_must_be_as_the_contract_names_it() {
        let info =
            MountInfo { filesystem: "tmpfs".into(), source: "tmpfs".into(), options: vec!["noexec".into()] };
        let check = |wish: &str, fits_with_info: bool, fits_without: bool| {
            let text = format!("base = 'none'\n[[mount]]\npath = '/m'\ncontent = 'hide'\n{wish}");
            let contract = Contract::from_toml(&text).unwrap();
            let expected = &contract.mounts()[0];
            assert_eq!(
                (fits(expected, Some(&info)), fits(expected, None)),
                (fits_with_info, fits_without),
                "{wish}"
            );
        };
        check("", true, true);
        check("filesystem = 'tmpfs'", true, false);
        check("filesystem = 'ext4'", false, false);
        check("source = '/dev/sda'", false, false);
        check("flags = ['noexec']", true, false);
        check("flags = ['noexec', 'ro']", false, false);
    }
}
