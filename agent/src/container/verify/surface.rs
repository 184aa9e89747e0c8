//! What is mounted in a container: surface that no image holds to anything.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use congruent_protocol::contract::{Contract, ExpectedMount, MountContent};
use congruent_protocol::drift::{Attributes, Finding};
use congruent_protocol::path::{TreePath, escape};
use congruent_protocol::verification::State;

use super::writable::tree_path;
use super::{GapPath, Known, Part, PartGap};
use crate::container::{Container, MountKind, MountSurface, Runtime};

/// Where runtimes mount memory that may be written to.
const USUAL_MEMORY: [&str; 4] = ["/dev", "/dev/shm", "/run", "/sys/fs/cgroup"];
/// Where runtimes mount what they make for each container, and beneath which place secrets.
const MADE: [&str; 8] = [
    "/dev/shm",
    "/dev/termination-log",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/run/.containerenv",
    "/run/secrets",
];
const SECRETS: &str = "/run/secrets/";
/// What every container has in `/dev`.
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

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
    if !container.is_running() && container.runtime != Runtime::Docker {
        let reason = "what its runtime mounts in it is not known, since it does not run".to_owned();
        gaps.push(PartGap { part: Part::Mounts, layer: None, path: None, reason });
    }
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
        let expected = contract.mount_at(&path);
        if mount.filesystem.is_none()
            && expected.is_some_and(|expected| fits_as_far_as_known(expected, mount))
        {
            let reason = "what is mounted there is not known in full, since nothing of the container runs";
            gaps.push(gap(GapPath::Entry(path), reason));
            continue;
        }
        match expected.filter(|expected| fits(expected, mount) && !is_hosts(expected, mount)) {
            Some(ExpectedMount { content: MountContent::Verify, .. }) => {
                let reason =
                    "the contract has it verified, and what lies on a container's mounts is not looked at";
                gaps.push(gap(GapPath::Entry(path), reason));
            }
            Some(_) => {}
            None if is_usual(contract, &path, mount) && !is_program(mount) => {}
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
        MountKind::Runtime => is_made_at(path),
        // The host's own devices are no container's, but for those that show nothing of it.
        MountKind::Kernel => {
            contract.may_hide(path)
                && (mount.filesystem.as_deref() != Some("devtmpfs") || is_plain_device(path, mount))
        }
        MountKind::Tmpfs => {
            let is_usual = USUAL_MEMORY.iter().any(|usual| usual.as_bytes() == path.as_bytes());
            contract.may_hide(path) && (is_usual || !mount.writable)
        }
        MountKind::Bind | MountKind::Volume | MountKind::Other => false,
    }
}

/// Whether runtimes mount what they make at this place. Over another it may have been bound
/// by whoever may mount in the container.
fn is_made_at(path: &TreePath) -> bool {
    MADE.iter().any(|made| made.as_bytes() == path.as_bytes())
        || path.as_bytes().starts_with(SECRETS.as_bytes())
}

/// Whether what a runtime made as a file to be read could be run: who may write to it in
/// the container has made it so.
fn is_program(mount: &MountSurface) -> bool {
    let made = || fs::symlink_metadata(&mount.source);
    mount.kind == MountKind::Runtime
        && made().is_ok_and(|made| made.is_file() && made.permissions().mode() & 0o6111 != 0)
}

/// Whether it is one of the devices that runtimes bind from the host where they can make
/// none, in a user namespace: in its own place, or what shows nothing over what is hidden.
fn is_plain_device(path: &TreePath, mount: &MountSurface) -> bool {
    let source = mount.source.as_os_str().as_encoded_bytes();
    let name = source.strip_prefix(b"/dev/").unwrap_or_default();
    DEVICES.iter().any(|device| device.as_bytes() == name) && (name == b"null" || path.as_bytes() == source)
}

/// Whether it is the host's own that is mounted where the base contract names what a
/// machine mounts for itself: a contract that wants that names it.
fn is_hosts(expected: &ExpectedMount, mount: &MountSurface) -> bool {
    let is_memory = mount.filesystem.as_deref() == Some("tmpfs");
    mount.kind == MountKind::Bind
        && (!is_memory || mount.source == mount.path)
        && Contract::mounts_only().mounts().contains(expected)
}

/// Whether the mount is as the contract names it. Of what is not mounted no other flags
/// are known than these.
fn fits(expected: &ExpectedMount, mount: &MountSurface) -> bool {
    expected.filesystem.as_ref().is_none_or(|wanted| mount.filesystem.as_ref() == Some(wanted))
        && expected.flags.iter().all(|flag| has_flag(mount, flag))
        && has_source(expected, mount)
}

/// The same of one that is not mounted, of which neither file system nor flags are known.
fn fits_as_far_as_known(expected: &ExpectedMount, mount: &MountSurface) -> bool {
    (expected.filesystem.is_some() || !expected.flags.is_empty()) && has_source(expected, mount)
}

fn has_source(expected: &ExpectedMount, mount: &MountSurface) -> bool {
    let source = escape(mount.source.as_os_str().as_encoded_bytes());
    expected.source.as_ref().is_none_or(|wanted| *wanted == source)
}

fn has_flag(mount: &MountSurface, flag: &str) -> bool {
    match flag {
        "ro" => !mount.writable,
        "rw" => mount.writable,
        "noexec" => !mount.exec,
        _ => mount.options.iter().any(|option| option == flag),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn mount(kind: MountKind, filesystem: &str, source: &str) -> MountSurface {
        let options = ["rw", "nosuid", "relatime", "rw", "size=64k"].map(str::to_owned).to_vec();
        MountSurface {
            path: PathBuf::from("/proc"),
            kind,
            filesystem: Some(filesystem.to_owned()),
            source: PathBuf::from(source),
            writable: true,
            exec: true,
            options,
        }
    }

    #[test]
    fn a_mount_must_have_the_flags_that_the_contract_names() {
        let check = |flags: &str, expected: bool| {
            let text = format!("base = 'none'\n[[mount]]\npath = '/m'\ncontent = 'hide'\nflags = {flags}");
            let contract = Contract::from_toml(&text).unwrap();
            let mount = mount(MountKind::Tmpfs, "tmpfs", "tmpfs");
            assert_eq!(fits(&contract.mounts()[0], &mount), expected, "{flags}");
        };
        check("[]", true);
        check("['rw', 'nosuid', 'relatime', 'size=64k']", true);
        check("['nodev']", false);
        check("['nosuid', 'noexec']", false);
        check("['ro']", false);
    }

    #[test]
    fn what_is_not_mounted_is_not_known_in_full() {
        let check = |more: &str, source: &str, expected: bool| {
            let text = format!("base = 'none'\n[[mount]]\npath = '/m'\ncontent = 'hide'\n{more}");
            let contract = Contract::from_toml(&text).unwrap();
            let mount = MountSurface { filesystem: None, ..mount(MountKind::Volume, "", source) };
            assert_eq!(fits_as_far_as_known(&contract.mounts()[0], &mount), expected, "{more} {source}");
        };
        check("filesystem = 'ext4'", "/srv/a", true);
        check("flags = ['nosuid']", "/srv/a", true);
        check("filesystem = 'ext4'\nsource = '/srv/a'", "/srv/a", true);
        check("filesystem = 'ext4'\nsource = '/srv/a'", "/srv/b", false);
        // Nothing of this is unknown.
        check("", "/srv/a", false);
        check("source = '/srv/a'", "/srv/a", false);
    }

    #[test]
    fn what_a_runtime_makes_to_be_read_is_no_program() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts");
        fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
        let of = |kind| mount(kind, "ext4", hosts.to_str().unwrap());
        for (mode, expected) in [(0o644, false), (0o755, true), (0o645, true), (0o4644, true)] {
            fs::set_permissions(&hosts, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_program(&of(MountKind::Runtime)), expected, "{mode:o}");
            assert!(!is_program(&of(MountKind::Bind)));
        }
    }

    #[test]
    fn the_base_contract_does_not_mean_the_hosts_own() {
        let contract = Contract::linux();
        let base = contract.mounts().iter().find(|mount| mount.path == "/proc").unwrap();
        let named = ExpectedMount { source: Some("/proc".to_owned()), ..base.clone() };
        let check = |expected: &ExpectedMount, kind, filesystem, source, hosts: bool| {
            assert_eq!(is_hosts(expected, &mount(kind, filesystem, source)), hosts, "{filesystem} {source}");
        };
        check(base, MountKind::Kernel, "proc", "proc", false);
        check(base, MountKind::Bind, "proc", "/srv/proc", true);
        check(base, MountKind::Bind, "tmpfs", "/proc", true);
        check(base, MountKind::Bind, "tmpfs", "/var/lib/kubelet/pods/1/volumes/a", false);
        check(&named, MountKind::Bind, "proc", "/proc", false);
    }
}
