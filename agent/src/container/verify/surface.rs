//! What is mounted in a container: surface that no image holds to anything.

use congruent_protocol::contract::{Contract, ExpectedMount, MountContent};
use congruent_protocol::drift::{Attributes, Finding};
use congruent_protocol::path::{TreePath, escape};
use congruent_protocol::verification::State;

use super::writable::tree_path;
use super::{GapPath, Known, Part, PartGap};
use crate::container::{Container, MountKind, MountSurface};

/// Where runtimes mount memory that may be written to.
const USUAL_MEMORY: [&str; 4] = ["/dev", "/dev/shm", "/run", "/sys/fs/cgroup"];

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
        let shown = || escape(mount.path.as_os_str().as_encoded_bytes()).into_owned();
        let gap = |path, reason: &str| PartGap {
            part: Part::Mounts,
            layer: None,
            path: Some(path),
            reason: reason.to_owned(),
        };
        let Some(path) = tree_path(&mount.path) else {
            let reason = "something is mounted at a path that no entry can have";
            gaps.push(gap(GapPath::Foreign(shown()), reason));
            continue;
        };
        match contract.mount_at(&path).filter(|expected| fits(expected, mount) && !is_hosts(expected, mount))
        {
            Some(ExpectedMount { content: MountContent::Verify, .. }) => {
                let reason =
                    "the contract has it verified, and what lies on a container's mounts is not looked at";
                gaps.push(gap(GapPath::Entry(path), reason));
            }
            Some(_) => {}
            None if is_usual(contract, &path, mount) => {}
            None => {
                let source = escape(mount.source.as_os_str().as_encoded_bytes()).into_owned();
                let attributes = Attributes::mount(mount.filesystem.clone(), Some(source));
                findings.push(Finding::mounted_over(&path, contract.terms_of(&path).class, None, attributes));
            }
        }
    }
    findings.sort_by(|one, other| one.path.cmp(&other.path));
    let state = if findings.is_empty() { State::Congruent } else { State::Divergent };
    Mounts { state, findings }
}

/// Whether runtimes mount it in every container: what they make, and what the kernel shows
/// and memory where the contract lets the place be hidden: what hides parts of it, and
/// these places. A bind of the host never is.
fn is_usual(contract: &Contract, path: &TreePath, mount: &MountSurface) -> bool {
    match mount.kind {
        MountKind::Runtime => true,
        // The host's own devices are no container's.
        MountKind::Kernel => contract.may_hide(path) && mount.filesystem.as_deref() != Some("devtmpfs"),
        MountKind::Tmpfs => {
            let is_usual = USUAL_MEMORY.iter().any(|usual| usual.as_bytes() == path.as_bytes());
            contract.may_hide(path) && (is_usual || !mount.writable)
        }
        MountKind::Bind | MountKind::Volume | MountKind::Other => false,
    }
}

/// Whether it is the host's own that is mounted where the base contract names what a
/// machine mounts for itself: a contract that wants that names it.
fn is_hosts(expected: &ExpectedMount, mount: &MountSurface) -> bool {
    let is_memory = mount.filesystem.as_deref() == Some("tmpfs");
    mount.kind == MountKind::Bind
        && (!is_memory || mount.source == mount.path)
        && Contract::mounts_only().mounts().contains(expected)
}

/// Whether the mount is as the contract names it.
fn fits(expected: &ExpectedMount, mount: &MountSurface) -> bool {
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
}
