//! What is mounted in a container beside its root. Pure: from the lists of mounts
//! of container and host.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use congruent_protocol::path::escape;

use super::processes::Shared;
use super::{MountKind, MountSurface};
use crate::mountinfo::Mount;

/// File systems in which the kernel shows itself.
const KERNEL: [&[u8]; 16] = [
    b"proc",
    b"sysfs",
    b"cgroup",
    b"cgroup2",
    b"devpts",
    b"mqueue",
    b"devtmpfs",
    b"securityfs",
    b"debugfs",
    b"tracefs",
    b"bpf",
    b"pstore",
    b"configfs",
    b"efivarfs",
    b"binfmt_misc",
    b"fusectl",
];

/// What runtimes give to what the kernel shows, whoever asks for what.
const USUAL_FLAGS: [&[u8]; 3] = [b"nosuid", b"nodev", b"noexec"];

/// What is mounted in the container `id` beneath its root.
pub(super) fn of(id: &str, mounts: &[Mount], host: &[Mount], shared: Shared) -> Vec<MountSurface> {
    // /dev is the runtime's own tmpfs; what hides parts of /proc is taken from it.
    let dev = mounts.iter().rev().find(|mount| mount.path == b"/dev" && mount.filesystem == b"tmpfs");
    mounts
        .iter()
        .filter(|mount| mount.path != b"/")
        .map(|mount| {
            let on_host = on_host(mount, host);
            let kind = match &on_host {
                Some(_) if is_hosts(mount, mounts, shared) => MountKind::Bind,
                _ if KERNEL.contains(&&mount.filesystem[..]) => MountKind::Kernel,
                _ if dev.is_some_and(|dev| dev.device == mount.device) => MountKind::Kernel,
                _ if mount.filesystem == b"tmpfs" && hides(mount) => MountKind::Kernel,
                Some(source) => bound(id, source),
                None if mount.filesystem == b"tmpfs" => MountKind::Tmpfs,
                None => MountKind::Other,
            };
            MountSurface {
                path: path(&mount.path),
                kind,
                filesystem: Some(escape(&mount.filesystem).into_owned()),
                source: on_host.unwrap_or_else(|| path(&mount.source)),
                writable: mount.is_writable(),
                exec: !mount.has(b"noexec"),
                options: mount.all_options(),
            }
        })
        .collect()
}

/// Whether it is not the container's own that shows what the kernel shows the host. Each
/// container has instances of its own, but that of processes or of devices is the host's
/// where its namespace is: then the runtime's own shows the same, and has flags that it
/// always gives.
fn is_hosts(mount: &Mount, mounts: &[Mount], shared: Shared) -> bool {
    let (place, is_shared): (&[u8], _) = match &mount.filesystem[..] {
        b"proc" => (b"/proc", shared.pids),
        b"sysfs" => (b"/sys", shared.network),
        b"devpts" => (b"/dev/pts", false),
        _ => return false,
    };
    let has_usual_flags = USUAL_FLAGS.iter().all(|flag| mount.has(flag));
    let may_be_own = is_shared && mount.path == place && has_usual_flags;
    !may_be_own && !shows_the_same(mount, mounts)
}

/// Whether it only hardens what another mount shows at the same place.
fn shows_the_same(mount: &Mount, mounts: &[Mount]) -> bool {
    mounts.iter().filter(|above| above.device == mount.device && above.path != mount.path).any(|above| {
        let within =
            path(&mount.path).strip_prefix(path(&above.path)).map(|within| path(&above.root).join(within));
        within.is_ok_and(|within| within == path(&mount.root))
    })
}

/// Whether it hides a part of what the kernel shows.
fn hides(mount: &Mount) -> bool {
    !mount.is_writable() && (mount.path.starts_with(b"/proc/") || mount.path.starts_with(b"/sys/"))
}

/// Where on the host lies what is mounted, if the host has its file system mounted.
fn on_host(mount: &Mount, host: &[Mount]) -> Option<PathBuf> {
    host.iter().filter(|theirs| theirs.device == mount.device).find_map(|theirs| {
        let (root, at) = (path(&theirs.root), path(&theirs.path));
        let within = path(&mount.root).strip_prefix(&root).ok()?.to_owned();
        Some(if within.as_os_str().is_empty() { at } else { at.join(within) })
    })
}

/// What a directory or file of the host is to the container `id`, by where runtimes
/// keep theirs: those of one container may be another's.
pub(super) fn bound(id: &str, source: &Path) -> MountKind {
    let names: Vec<_> = source.iter().map(|name| name.to_string_lossy()).collect();
    let has = |wanted: &[&str]| names.windows(wanted.len()).any(|at| at == wanted);
    let is_id = |name: &str| name == id || (name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()));
    // Containers may share what was made for one of them.
    let made = names.windows(2).any(|at| at[0] == "containers" && is_id(&at[1]))
        || names.windows(3).any(|at| at[0] == "overlay-containers" && is_id(&at[1]) && at[2] == "userdata");
    if made || has(&["io.containerd.grpc.v1.cri", "sandboxes"]) {
        MountKind::Runtime
    } else if names.last().is_some_and(|name| name == "_data") && names.iter().any(|name| name == "volumes") {
        MountKind::Volume
    } else {
        MountKind::Bind
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mountinfo;

    #[test]
    fn what_the_kernel_shows_the_host_is_told_apart() {
        let host = "1 0 0:21 / /proc rw - proc proc rw\n2 0 0:22 / /sys rw - sysfs sysfs rw\n\
                    3 0 0:26 / /dev/pts rw - devpts devpts rw";
        let (host, _) = mountinfo::parse(host.as_bytes());
        let alone = Shared::default();
        let (pids, network) = (Shared { pids: true, ..alone }, Shared { network: true, ..alone });
        let check = |list: &str, shared: Shared, bound: &[&str]| {
            let mounts = of("ID", &mountinfo::parse(list.as_bytes()).0, &host, shared);
            let found = mounts.iter().filter(|mount| mount.kind == MountKind::Bind);
            let found: Vec<_> = found.map(|mount| mount.path.to_str().unwrap()).collect();
            assert_eq!(found, bound, "{list} {shared:?}");
        };
        let own = "9 1 0:64 / /proc rw - proc proc rw\n8 9 0:64 /sys /proc/sys ro - proc proc rw\n\
                   7 1 0:65 / /sys rw - sysfs sysfs rw\n6 1 0:66 / /dev/pts rw - devpts devpts rw";
        check(own, alone, &[]);
        check(own, pids, &[]);
        let hosts = "9 1 0:21 / /proc rw - proc proc rw\n8 9 0:21 /sys /proc/sys ro - proc proc rw\n\
                     7 1 0:22 / /sys ro - sysfs sysfs rw\n6 1 0:26 / /dev/pts rw - devpts devpts rw";
        check(hosts, alone, &["/proc", "/sys", "/dev/pts"]);
        check(hosts, pids, &["/proc", "/sys", "/dev/pts"]);
        check("9 1 0:21 /sys /proc/sys rw - proc proc rw", alone, &["/proc/sys"]);
        let flagged = "9 1 0:21 / /proc rw,nosuid,nodev,noexec - proc proc rw\n\
                       7 1 0:22 / /sys ro,nosuid,nodev,noexec - sysfs sysfs rw";
        check(flagged, alone, &["/proc", "/sys"]);
        check(flagged, pids, &["/sys"]);
        check(flagged, network, &["/proc"]);
        check("9 1 0:22 / /host ro,nosuid,nodev,noexec - sysfs sysfs rw", network, &["/host"]);
    }

    #[test]
    fn each_mount_is_of_a_kind() {
        let host = "1 0 254:0 / / rw - ext4 /dev/vda rw\n2 1 254:1 /sub /srv rw - ext4 /dev/vdb rw\n\
                    3 1 0:20 / /run rw - tmpfs tmpfs rw";
        let (host, _) = mountinfo::parse(host.as_bytes());
        let check = |line: &str, kind: MountKind, source: &str, writable: bool, exec: bool| {
            let dev = "76 74 0:43 / /dev rw,nosuid - tmpfs tmpfs rw";
            let list = format!("74 50 0:39 / / rw - overlay overlay rw\n{dev}\n{line}");
            let found = of("ID", &mountinfo::parse(list.as_bytes()).0, &host, Shared::default());
            let mount = found.last().unwrap();
            assert_eq!((mount.kind, mount.source.to_str().unwrap()), (kind, source), "{line}");
            assert_eq!((mount.writable, mount.exec), (writable, exec), "{line}");
        };
        check("9 74 0:42 / /proc rw,noexec - proc proc rw", MountKind::Kernel, "proc", true, false);
        check("9 74 0:43 /null /proc/keys rw - tmpfs tmpfs rw", MountKind::Kernel, "tmpfs", true, true);
        check("9 74 0:49 / /proc/acpi ro - tmpfs tmpfs ro", MountKind::Kernel, "tmpfs", false, true);
        check("9 74 0:48 / /scratch rw,noexec - tmpfs tmpfs rw", MountKind::Tmpfs, "tmpfs", true, false);
        check("9 74 254:0 /home/a /bind ro - ext4 /dev/vda rw", MountKind::Bind, "/home/a", false, true);
        check("9 74 254:0 / /host rw - ext4 /dev/vda ro", MountKind::Bind, "/", false, true);
        check("9 74 254:1 /sub/x /b rw - ext4 /dev/vdb rw", MountKind::Bind, "/srv/x", true, true);
        check("9 74 254:1 /other /b rw - ext4 /dev/vdb rw", MountKind::Other, "/dev/vdb", true, true);
        let volume = "9 74 254:0 /var/lib/docker/volumes/v/_data /d rw - ext4 /dev/vda rw";
        check(volume, MountKind::Volume, "/var/lib/docker/volumes/v/_data", true, true);
        let hosts = "9 74 254:0 /var/lib/docker/containers/ID/hosts /etc/hosts rw - ext4 /dev/vda rw";
        check(hosts, MountKind::Runtime, "/var/lib/docker/containers/ID/hosts", true, true);
        let podman = "9 74 0:20 /o/overlay-containers/ID/userdata/hosts /etc/hosts rw - tmpfs tmpfs rw";
        check(podman, MountKind::Runtime, "/run/o/overlay-containers/ID/userdata/hosts", true, true);
        check("9 74 0:77 / /n rw - nfs4 host:/x rw", MountKind::Other, "host:/x", true, true);
    }
}
