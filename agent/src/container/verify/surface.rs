//! What is mounted in a container: surface that no image holds to anything.

use congruent_protocol::contract::Contract;
use congruent_protocol::drift::{Attributes, Finding};
use congruent_protocol::path::{TreePath, escape};
use congruent_protocol::verification::State;

use super::writable::tree_path;
use super::{Known, Part, PartGap};
use crate::container::{Container, MountKind, MountSurface};

/// The mounts of one container.
pub(crate) struct Mounts {
    pub(crate) state: State,
    /// Those that the contract does not expect, in tree order.
    pub(crate) findings: Vec<Finding>,
}

pub(super) fn check(container: &Container, known: Option<&Known>, gaps: &mut Vec<PartGap>) -> Mounts {
    let Some(known) = known else { return Mounts { state: State::Unknown, findings: Vec::new() } };
    let contract = &known.manifest.predicate().contract;
    let mut findings = Vec::new();
    for mount in &container.mounts {
        match tree_path(&mount.path) {
            Some(path) if is_expected(contract, &path, mount) => {}
            Some(path) => {
                let source = escape(mount.source.as_os_str().as_encoded_bytes()).into_owned();
                let attributes = Attributes::mount(mount.filesystem.clone(), Some(source));
                findings.push(Finding::mounted_over(&path, contract.terms_of(&path).class, None, attributes));
            }
            None => gaps.push(PartGap {
                part: Part::Mounts,
                layer: None,
                path: Some(escape(mount.path.as_os_str().as_encoded_bytes()).into_owned()),
                reason: "something is mounted at a path that no entry can have".to_owned(),
            }),
        }
    }
    findings.sort_by(|one, other| one.path.cmp(&other.path));
    let state = if findings.is_empty() { State::Congruent } else { State::Divergent };
    Mounts { state, findings }
}

/// Whether the contract names the mount, or what it lies on; what the runtime makes for
/// every container, and what the kernel shows, is expected in all of them.
fn is_expected(contract: &Contract, path: &TreePath, mount: &MountSurface) -> bool {
    if matches!(mount.kind, MountKind::Runtime | MountKind::Kernel) {
        return true;
    }
    let lies_on_expected = path.parent().is_some_and(|above| !above.is_root() && contract.may_hide(&above));
    lies_on_expected
        || contract.mount_at(path).is_some_and(|expected| {
            let source = escape(mount.source.as_os_str().as_encoded_bytes());
            let has_flag = |flag: &String| match flag.as_str() {
                "ro" => !mount.writable,
                "rw" => mount.writable,
                "noexec" => !mount.exec,
                _ => false,
            };
            expected.filesystem.as_ref().is_none_or(|wanted| mount.filesystem.as_ref() == Some(wanted))
                && expected.source.as_ref().is_none_or(|wanted| *wanted == source)
                && expected.flags.iter().all(has_flag)
        })
}
