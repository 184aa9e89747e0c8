//! The containers of a Linux host, found by what the host itself shows: processes,
//! their mounts, and what runtimes keep on disk. No daemon is asked, so it is the
//! same whether one runs.
//!
//! All that is read is foreign. What is broken concerns its own container, which
//! then has a gap that names the file; nothing is left out silently. Nothing here
//! looks into a container's file system.

pub mod bolt;
mod cgroup;
mod chain;
mod containerd;
mod docker;
mod image;
mod join;
pub mod libpod;
mod processes;
mod roots;
pub mod storage;
mod store;
mod surface;
pub(crate) mod verify;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use congruent_protocol::digest::Digest;
use congruent_protocol::path::escape;

pub(crate) use crate::layer::IdRange;
pub(crate) use roots::{FindError, Found, find};

/// What began or was written less long ago than this may be about to change: a start or
/// an end takes less.
const LATELY: Duration = Duration::from_secs(5);

/// Who made a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Runtime {
    Docker,
    /// Also Buildah, whose containers are kept alike.
    Podman,
    Crio,
    Containerd,
}

impl Runtime {
    /// The name, as it is typed and told.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Crio => "crio",
            Self::Containerd => "containerd",
        }
    }
}

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContainerState {
    Running,
    /// It has processes, and they are frozen.
    Paused,
    /// It ended, and its runtime's state says that it is started again.
    Restarting,
    /// It ran, and has no process any more.
    Stopped,
    /// It never ran.
    Created,
    /// What the runtime says does not fit what the host shows, or cannot be read.
    Unknown,
}

impl ContainerState {
    /// The name, as it is told.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Stopped => "stopped",
            Self::Created => "created",
            Self::Unknown => "unknown",
        }
    }
}

/// A container as the host shows it.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) runtime: Runtime,
    /// What it was made of, as the runtime calls it.
    pub(crate) image: Option<String>,
    /// The digest of the image's configuration, which binds its layers.
    pub(crate) config_digest: Option<Digest>,
    pub(crate) state: ContainerState,
    /// A process of it, as the host numbers it: the first, where that can be told.
    pub(crate) pid: Option<u32>,
    /// That process's namespace of mounts, as the kernel names it: with the number it tells
    /// the process from one that has its number later.
    pub(crate) namespace: Option<PathBuf>,
    /// The image's layers, lowest first.
    pub(crate) layers: Vec<LayerOnDisk>,
    /// Docker's own layer between image and container, with stubs to mount on.
    pub(crate) init: Option<PathBuf>,
    /// What the container wrote; none where that cannot be told.
    pub(crate) upper: Option<PathBuf>,
    /// Whether its root may be written; none where it is not mounted.
    pub(crate) root_writable: Option<bool>,
    /// Major and minor number of its root's file system, while it runs.
    pub(crate) root_device: Option<(u32, u32)>,
    /// The id of its root's mount, where that is an overlay of these layers by their names.
    pub(crate) root_mount: Option<u64>,
    /// What is mounted in it beside the root: as the kernel says while it runs,
    /// else as the runtime's state says.
    pub(crate) mounts: Vec<MountSurface>,
    /// What could not be found, and why. Quotes foreign text.
    pub(crate) gaps: Vec<String>,
    /// Whether what it lacks is what a start or an end lacks for a moment.
    pub(crate) is_changing: bool,
    /// How its users are numbered outside; empty where it does not run.
    pub(crate) uid_map: Vec<IdRange>,
    /// How its groups are numbered outside.
    pub(crate) gid_map: Vec<IdRange>,
}

impl Container {
    /// A container of which nothing is known but what it is called.
    pub(crate) fn new(runtime: Runtime, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: None,
            runtime,
            image: None,
            config_digest: None,
            state: ContainerState::Unknown,
            pid: None,
            namespace: None,
            layers: Vec::new(),
            init: None,
            upper: None,
            root_writable: None,
            root_device: None,
            root_mount: None,
            mounts: Vec::new(),
            gaps: Vec::new(),
            is_changing: false,
            uid_map: Vec::new(),
            gid_map: Vec::new(),
        }
    }

    /// Whether it is looked at: whatever may be running is.
    pub(crate) fn is_running(&self) -> bool {
        use ContainerState::{Paused, Restarting, Running, Unknown};
        matches!(self.state, Running | Paused | Restarting | Unknown)
    }

    /// Whether the process that was found of it has ended, be it that another runs by now.
    pub(crate) fn has_ended(&self) -> bool {
        let (Some(pid), Some(namespace)) = (self.pid, &self.namespace) else { return false };
        match processes::namespace(Path::new("/proc"), pid) {
            Ok(now) => now != *namespace,
            Err(error) => error.kind() != io::ErrorKind::PermissionDenied,
        }
    }

    /// Whether all that says that it runs is its runtime's state.
    fn is_said_to_run(&self) -> bool {
        self.state == ContainerState::Unknown && self.pid.is_none()
    }

    /// Whether it is known what is mounted in it.
    pub(crate) fn is_mounted(&self) -> bool {
        self.root_writable.is_some()
    }

    /// Where what it shows lies: its layers, and what it wrote.
    pub(crate) fn directories(&self) -> impl Iterator<Item = &Path> {
        let layers = self.layers.iter().map(|layer| &*layer.directory);
        layers.chain(self.init.as_deref()).chain(self.upper.as_deref())
    }

    /// Notes why something of it could not be told, with every cause.
    fn lacks(&mut self, why: &dyn std::error::Error) {
        self.gaps.push(store::chain_of(why));
    }

    /// Takes what was read, or notes why it was not.
    fn or_lacks<T, E: std::error::Error + 'static>(&mut self, read: Result<T, E>) -> Option<T> {
        read.map_err(|why| self.lacks(&why)).ok()
    }
}

/// One layer of an image, where it lies unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerOnDisk {
    /// The digest of its uncompressed archive.
    pub(crate) diff_id: Option<Digest>,
    /// The digest of it and all layers below.
    pub(crate) chain_id: Option<Digest>,
    pub(crate) directory: PathBuf,
    /// The recording of its archive's headers, where the runtime keeps one.
    pub(crate) tar_split: Option<PathBuf>,
}

impl LayerOnDisk {
    /// What it is called: by its digest, or where it lies.
    pub(crate) fn called(&self) -> String {
        self.diff_id.map_or_else(
            || escape(self.directory.as_os_str().as_encoded_bytes()).into_owned(),
            |diff_id| diff_id.to_string(),
        )
    }
}

/// What sort of thing is mounted in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountKind {
    /// A directory or file of the host.
    Bind,
    /// A volume that the runtime keeps.
    Volume,
    /// A file that the runtime makes, such as /etc/hosts.
    Runtime,
    /// Memory.
    Tmpfs,
    /// What the kernel shows, such as /proc, and what hides parts of it.
    Kernel,
    /// Another file system.
    Other,
}

impl MountKind {
    /// The name, as it is told.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Runtime => "runtime",
            Self::Tmpfs => "tmpfs",
            Self::Kernel => "kernel",
            Self::Other => "other",
        }
    }
}

/// Something that is mounted in a container, which its image does not hold to
/// anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountSurface {
    /// Where, as the container sees it.
    pub(crate) path: PathBuf,
    pub(crate) kind: MountKind,
    /// The kernel's name of the file system; none where it is not mounted.
    pub(crate) filesystem: Option<String>,
    /// Where it lies on the host, or what the mounter called it.
    pub(crate) source: PathBuf,
    pub(crate) writable: bool,
    /// Whether programs on it may run.
    pub(crate) exec: bool,
    /// All options, as the kernel tells them; none where it is not mounted.
    pub(crate) options: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ended_is_known() {
        let of = |pid| {
            let namespace = processes::namespace(Path::new("/proc"), std::process::id()).ok();
            Container { pid, namespace, ..Container::new(Runtime::Docker, "a") }
        };
        assert!(!of(None).has_ended() && !of(Some(std::process::id())).has_ended());
        let other = Container { namespace: Some("mnt:[1]".into()), ..of(Some(std::process::id())) };
        assert!(other.has_ended(), "another has its number");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Some(child.id());
        child.wait().unwrap();
        assert!(of(pid).has_ended());
    }
}
