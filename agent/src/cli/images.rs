//! Images in registries and archives.

use std::path::PathBuf;

use clap::Args;

use super::Trust;
use crate::image::{Platform, Reference, registry};

/// Which container image, and how its registry is spoken to.
#[derive(Args)]
#[command(next_help_heading = "Container images")]
pub(crate) struct ImageArgs {
    /// Only the image for this platform, such as linux/amd64 or linux/arm/v7.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// Attach a manifest to the container image that it is of, in a registry.
///
/// The manifest becomes an OCI artifact that refers to the image, so that whoever
/// has the image's digest finds it. It must say of which image it is: the digest of
/// the image's configuration, as --image-config-digest of `congruent bake` records it. Of
/// an image for several platforms it is attached to the one that it is of. What is
/// attached already is not attached again.
#[derive(Args)]
pub(crate) struct Attach {
    /// The manifest.
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: PathBuf,
    /// The image: docker://HOST/REPOSITORY, then :TAG or @DIGEST.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: Reference,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// Fetch the manifest that is attached to a container image, from a registry.
///
/// Of several, the latest is taken that is trusted and is of this image. Nothing is
/// written where there is none.
#[derive(Args)]
pub(crate) struct Fetch {
    /// The image: docker://HOST/REPOSITORY, then @DIGEST or :TAG.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: Reference,
    /// Which of an image for several platforms, such as linux/arm64.
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// Where to write the manifest.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// How a registry is spoken to.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Registry")]
pub(crate) struct RegistryArgs {
    /// Where credentials are, as `docker login` writes them. Without it, config.json
    /// in $DOCKER_CONFIG or ~/.docker, where that is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_file: Option<PathBuf>,
    /// Trust the authorities in this PEM file as well as the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Speak HTTP without TLS. Whoever is on the way then reads credentials, and
    /// may change what a tag names.
    #[arg(long, conflicts_with = "ca")]
    pub(crate) plain_http: bool,
}

impl RegistryArgs {
    /// Whether any of it was said.
    pub(crate) fn is_given(&self) -> bool {
        self.auth_file.is_some() || self.ca.is_some() || self.plain_http
    }
}

impl From<RegistryArgs> for registry::Options {
    fn from(args: RegistryArgs) -> Self {
        let RegistryArgs { auth_file, ca, plain_http } = args;
        Self { auth_file, ca, plain_http }
    }
}
