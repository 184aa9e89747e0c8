//! The containers of a host.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Format, Pace, Trust};
use crate::container::Runtime;

/// List the containers on this host, whether or not their daemons run.
///
/// Docker's, Podman's (of root and of users), CRI-O's and containerd's are found from
/// processes, their mounts and what runtimes keep on disk. Nothing is asked of a
/// daemon, and nothing of a container's file system is read. With ID or NAME, tells all of those:
/// where their layers lie, what they write to, and what is mounted in them.
///
/// Exit codes: 0 told, 2 usage or operational error, 3 told, but not everything could
/// be found; what is missing is named.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Containers {
    #[command(subcommand)]
    pub(crate) command: Option<ContainersCommand>,
    #[command(flatten)]
    pub(crate) which: WhichContainers,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// What else is done with containers.
#[derive(Subcommand)]
pub(crate) enum ContainersCommand {
    Verify(ContainersVerify),
}

/// Tell whether running containers still are their images.
///
/// Three parts of each are looked at. Its lower layers, against the manifest that has
/// them, or, where none has, against their diff_ids, if the runtime recorded their
/// archives; a layer is read once, however many containers lie on it. Its writable layer,
/// against the image under the manifest's contract. And what is mounted in it, of which
/// the contract must name everything but what runtimes mount in every container.
///
/// Exit codes: 0 all are congruent, 1 one differs, 2 usage or operational error,
/// 3 nothing was found to differ, but not everything could be verified, or an image has
/// no accepted manifest.
#[derive(Args)]
pub(crate) struct ContainersVerify {
    #[command(flatten)]
    pub(crate) which: WhichContainers,
    /// The directory with the manifests of images (*.manifest), as `congruent bake` of an
    /// image writes them. A container is held to the one of its image's configuration
    /// and layers; of several, to the one that was baked last.
    #[arg(long, value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// Where full looks leave what quick ones need, for the same manifests and boot.
    /// What is kept there of layers that no container lies on any more is removed. It
    /// must not lie in a container.
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Read only what has another inode, change time or size than the last full look saw.
    /// It verifies nothing by itself: who holds a file mapped for writing, and wrote to it
    /// shortly before the full look, can hide from it, as can who sets the clock. Where the cache of a layer is of no use now, the look at it
    /// is a full one, and says why. Layers that no manifest has are read each time.
    #[arg(long, requires = "cache")]
    pub(crate) quick: bool,
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Which containers are meant.
#[derive(Args)]
pub(crate) struct WhichContainers {
    /// Containers by id, the beginning of one, or name. Without any, all of them; of
    /// `verify`, those that run.
    #[arg(value_name = "ID|NAME")]
    pub(crate) containers: Vec<String>,
    /// Only those of this runtime. May be given several times.
    #[arg(long, value_enum, value_name = "RUNTIME")]
    pub(crate) runtime: Vec<RuntimeArg>,
    /// Look into this data root of a runtime as well: Docker's, containerd's, or a
    /// root of containers/storage, as what lies in it shows. The usual ones, those of users and those of
    /// running containers are found without it. May be given several times.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_root: Vec<PathBuf>,
}

/// Who made a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeArg {
    /// Docker.
    Docker,
    /// Podman and Buildah.
    Podman,
    /// CRI-O.
    Crio,
    /// containerd, also by way of Kubernetes.
    Containerd,
}

impl From<RuntimeArg> for Runtime {
    fn from(runtime: RuntimeArg) -> Self {
        match runtime {
            RuntimeArg::Docker => Self::Docker,
            RuntimeArg::Podman => Self::Podman,
            RuntimeArg::Crio => Self::Crio,
            RuntimeArg::Containerd => Self::Containerd,
        }
    }
}
