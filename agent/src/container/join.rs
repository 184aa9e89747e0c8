//! Brings together what runtimes keep on disk and what runs.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use congruent_protocol::path::escape;

use super::processes::Process;
use super::{Container, ContainerState, MountSurface, surface};
use crate::mountinfo::{Mount, Overlay};

/// What tells two names of one directory from two directories.
type Identity = (u64, u64);

/// Runtimes that run a container in a kernel of its own.
const SANDBOXES: [&str; 5] = ["runsc", "gvisor", "kata", "firecracker", "krun"];

/// What is to be said of a container whose runtime has this name, if the host
/// cannot see into it.
pub(super) fn sandbox(runtime: &str) -> Option<String> {
    let has = SANDBOXES.iter().any(|name| runtime.to_ascii_lowercase().contains(name));
    has.then(|| format!("it runs in a sandbox ({runtime}): its file system cannot be seen from the host"))
}

/// Tells each container what runs of it. Gives the processes of containers that
/// no state tells of.
pub(super) fn join<'a>(
    containers: &mut [Container],
    processes: &'a [Process],
    host: &[Mount],
) -> Vec<&'a Process> {
    let mut by_upper = HashMap::new();
    let mut by_id = HashMap::new();
    for (at, container) in containers.iter().enumerate() {
        by_id.insert(container.id.clone(), at);
        by_upper.extend(container.upper.as_deref().and_then(identity).map(|upper| (upper, at)));
    }
    let mut unknown = Vec::new();
    for process in processes {
        let upper = upper(process).and_then(|upper| identity(&upper));
        let by_upper = upper.and_then(|upper| by_upper.get(&upper));
        let named = process.cgroup.as_ref().and_then(|cgroup| by_id.get(&cgroup.id));
        match by_upper.or(named) {
            Some(&at) if containers[at].pid.is_some() => {
                tell_more(&mut containers[at], process, host, by_upper.is_some());
            }
            Some(&at) => tell(&mut containers[at], process, host),
            None => unknown.push(process),
        }
    }
    containers.iter_mut().for_each(settle);
    unknown
}

/// What runs is known from processes alone: state may be of before a crash.
fn settle(container: &mut Container) {
    if container.pid.is_some() {
        return;
    }
    let why = match container.state {
        ContainerState::Running | ContainerState::Paused => {
            // Or it ended just now, and its runtime has not written it down.
            container.is_changing = true;
            container.state = ContainerState::Unknown;
            "its runtime's state says that it runs, and no process of it was found"
        }
        ContainerState::Restarting => {
            "it ended, and its runtime's state says that it is started again: between two runs nothing of it is \
             mounted that could be seen"
        }
        _ => return,
    };
    container.gaps.push(why.to_owned());
}

/// Tells a container what runs of it.
pub(super) fn tell(container: &mut Container, process: &Process, host: &[Mount]) {
    container.pid = Some(process.pid);
    container.namespace = Some(process.namespace.clone());
    container.state = process.state;
    container.uid_map.clone_from(&process.uid_map);
    container.gid_map.clone_from(&process.gid_map);
    if process.strange > 0 {
        container
            .gaps
            .push(format!("lines of its list of mounts that are not understood: {}", process.strange));
    }
    let known = container.gaps.len();
    hold_root(container, process, host);
    container.is_changing |= process.is_new && container.gaps.len() > known;
}

/// Tells a container what its first process does not see, and another does that has a
/// namespace of mounts of its own: what is mounted there is surface as well.
fn tell_more(container: &mut Container, process: &Process, host: &[Mount], is_of_overlay: bool) {
    // What a mounter calls the directories of an overlay is no proof: that of the container
    // is one file system.
    let is_root = |root: &Mount| root.root == b"/" && Some(root.device) == container.root_device;
    let has_its_root = is_of_overlay && !process.is_chrooted && process.root().is_some_and(is_root);
    if !has_its_root {
        let why =
            format!("its process {} has a root of its own: what it has there cannot be seen", process.pid);
        container.gaps.push(why);
        container.is_changing |= process.is_new;
        return;
    }
    for mount in surface::of(&container.id, &process.mounts, host, process.shared) {
        if !container.mounts.iter().any(|known| is_as_open(known, &mount)) {
            container.mounts.push(mount);
        }
    }
}

/// Whether one mount is the same surface as another.
fn is_as_open(known: &MountSurface, other: &MountSurface) -> bool {
    let of = |mount: &MountSurface| (mount.kind, mount.writable, mount.exec);
    of(known) == of(other)
        && (&known.path, &known.source, &known.filesystem) == (&other.path, &other.source, &other.filesystem)
}

/// Holds the root of a process to what state tells of.
fn hold_root(container: &mut Container, process: &Process, host: &[Mount]) {
    let Some(root) = process.root() else {
        container.gaps.push("no root is mounted for its processes".to_owned());
        return;
    };
    container.root_device = Some(root.device);
    if process.is_chrooted {
        let why =
            "none of its processes that see the same mounts has their root: there may be more than is seen";
        container.gaps.push(why.to_owned());
    }
    let hosts = host.iter().rev().find(|mount| mount.path == b"/");
    if process.mounts.iter().any(|mount| mount.path == b"/" && is_same(mount, hosts)) {
        // As every process of a runtime has until it has mounted the container's and taken
        // the host's away from beneath it.
        let why = "its process still has the host's root, as it has while it is started: which layers it has \
                   cannot be seen";
        container.gaps.push(why.to_owned());
        return;
    }
    if !root.filesystem.ends_with(b"overlay") && !root.filesystem.ends_with(b"overlayfs") {
        let kind = escape(&root.filesystem);
        container.gaps.push(format!("its root is no overlay but {kind}: which layers it has cannot be seen"));
        return;
    }
    container.root_writable = Some(root.is_writable());
    container.mounts = surface::of(&container.id, &process.mounts, host, process.shared);
    hold_to_mount(container, root);
}

/// Whether both show one directory of one file system.
fn is_same(one: &Mount, other: Option<&Mount>) -> bool {
    other.is_some_and(|other| (one.device, &one.root) == (other.device, &other.root))
}

/// Holds the layers that state tells of to those that are mounted.
fn hold_to_mount(container: &mut Container, root: &Mount) {
    if container.upper.is_none() {
        // Without its state there is nothing to hold to it, which has been said.
        return;
    }
    let overlay = match Overlay::parse(&root.super_options) {
        Ok(overlay) if !overlay.has_data_only => overlay,
        Ok(_) => {
            return container.gaps.push("its root has layers of data alone, which are not known here".into());
        }
        Err(error) => return container.gaps.push(format!("cannot tell which layers are mounted: {error}")),
    };
    let top_down = container.init.iter().chain(container.layers.iter().rev().map(|layer| &layer.directory));
    let stated: Vec<_> = top_down.map(|directory| identity(directory)).collect();
    let own = container.upper.as_deref().and_then(Path::parent);
    let mounted: Option<Vec<_>> = overlay.lowers.iter().map(|lower| resolve(lower, own)).collect();
    match mounted {
        None => {
            let why = "cannot tell which layers are mounted: the kernel's names of them lead nowhere";
            container.gaps.push(why.to_owned());
        }
        Some(mounted) if mounted.iter().copied().map(Some).ne(stated) => {
            let why = "the layers that are mounted are not those that its runtime's state tells of";
            container.gaps.push(why.to_owned());
        }
        Some(_) => container.root_mount = (root.filesystem == b"overlay").then_some(root.id),
    }
}

/// What is written to, as whoever mounted called it.
pub(super) fn upper(process: &Process) -> Option<PathBuf> {
    let root = process.root()?;
    let upper = Overlay::parse(&root.super_options).ok()?.upper?;
    Some(Path::new(OsStr::from_bytes(&upper)).to_owned())
}

/// A lower directory's identity; `own` is where the container's own layer lies.
///
/// Short names (`l/XXXX`) are relative to the directory that holds all layers.
/// Podman mounts that with mapped ids for a container with users of its own, as
/// `<own>/mapped/0`, which is gone once the container's root is mounted.
fn resolve(lower: &[u8], own: Option<&Path>) -> Option<Identity> {
    let lower = Path::new(OsStr::from_bytes(lower));
    let mapped = own.and_then(|own| lower.strip_prefix(own.join("mapped")).ok());
    let within = mapped.map_or(lower, |mapped| {
        let mut names = mapped.components();
        names.next();
        names.as_path()
    });
    if within.is_absolute() { identity(within) } else { identity(&own?.parent()?.join(within)) }
}

/// Nothing is read of what is found, so links may be followed.
fn identity(directory: &Path) -> Option<Identity> {
    let found = std::fs::metadata(directory).ok()?;
    (directory.is_absolute() && found.is_dir()).then_some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn lower_directories_are_the_same_under_each_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let layers = folder.path().join("overlay");
        let own = layers.join("own");
        fs::create_dir_all(layers.join("low/diff")).unwrap();
        fs::create_dir_all(layers.join("l")).unwrap();
        fs::create_dir_all(&own).unwrap();
        symlink("../low/diff", layers.join("l/ABC")).unwrap();
        let low = identity(&layers.join("low/diff"));
        assert!(low.is_some());
        let check = |name: &str, expected: Option<Identity>| {
            assert_eq!(resolve(name.as_bytes(), Some(&own)), expected, "{name}");
        };
        for name in ["low/diff", "l/ABC"] {
            check(name, low);
            check(layers.join(name).to_str().unwrap(), low);
            check(own.join("mapped/0").join(name).to_str().unwrap(), low);
        }
        for name in ["", "l/none", "/proc/self/fd/999999", own.join("mapped/0/none").to_str().unwrap()] {
            let nothing = name.is_empty().then(|| identity(&layers)).flatten();
            check(name, nothing);
        }
        assert_eq!(resolve(b"l/ABC", None), None);
    }

    #[test]
    fn sandboxes_are_known_by_their_names() {
        for runtime in ["runsc", "io.containerd.runsc.v1", "io.containerd.kata.v2", "kata-qemu", "crun-krun"]
        {
            assert!(sandbox(runtime).is_some(), "{runtime}");
        }
        for runtime in ["", "runc", "crun", "io.containerd.runc.v2", "nvidia"] {
            assert!(sandbox(runtime).is_none(), "{runtime}");
        }
    }
}
