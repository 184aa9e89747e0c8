//! What is baked, and how.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use congruent_protocol::digest::{Algorithm, Digest};

use super::{ImageArgs, Pace};
use crate::lint::{Allowance, Lints};

/// Record a root file system as it was built, in a manifest.
///
/// Walks DIR as the root of an image and writes every entry with its attributes
/// and content digest, the tree root over all of them, and the contract that
/// says what may change. Paths are taken from the image's root.
#[derive(Args)]
pub(crate) struct Bake {
    /// The directory that holds the image's root file system; or a container image:
    /// oci:DIR:TAG, oci-archive:FILE:TAG, docker-archive:FILE:TAG, or in a registry
    /// docker://HOST/REPOSITORY:TAG or docker://HOST/REPOSITORY@DIGEST. Where there is
    /// one image only, :TAG may be left out. Its layers are read once and not extracted,
    /// and the manifest holds each of them as well as the tree that they come to.
    #[arg(value_name = "DIR|IMAGE", required_unless_present = "live")]
    pub(crate) source: Option<PathBuf>,
    /// Bake the machine that this runs on, as inside a build VM: the root as PID
    /// 1 sees it, and what lies beneath the mounts that the contract hides.
    #[arg(long, conflicts_with = "source")]
    pub(crate) live: bool,
    /// The image's name.
    #[arg(long)]
    pub(crate) name: String,
    /// The image's version.
    #[arg(long = "version", value_name = "VERSION")]
    pub(crate) image_version: String,
    /// The contract, in TOML: what may change, and which mounts are expected.
    /// Without it, the default contract for Linux hosts is used; with it, the
    /// default is what it adds to. Given several times, the rules of later files
    /// come after those of earlier ones, and the last rule that matches wins.
    #[arg(long, value_name = "FILE", conflicts_with = "add_on")]
    pub(crate) contract: Vec<PathBuf>,
    /// Bake an add-on: what lies where the contract of a base says `add-on`, and
    /// the directories on the way there.
    #[arg(long, conflicts_with = "live")]
    pub(crate) add_on: bool,
    /// Sign with this Ed25519 key in PKCS#8 PEM. May be given several times.
    /// Without it the manifest is unsigned, and verify accepts it only with
    /// --insecure-unsigned; `congruent sign` adds signatures later.
    #[arg(long, value_name = "KEY.pem")]
    pub(crate) key: Vec<PathBuf>,
    /// What computes every digest of the manifest.
    #[arg(long, value_enum, default_value_t = DigestArg::Blake3)]
    pub(crate) digest: DigestArg,
    /// When the manifest is accepted no longer: a time such as
    /// 2027-01-31T00:00:00Z, or a period from now such as 90d.
    #[arg(long, value_name = "WHEN")]
    pub(crate) expires: Option<String>,
    /// Record no packages. Otherwise the manifest names the packages in dpkg's or
    /// rpm's database beneath DIR, and which entries belong to each, so that
    /// `congruent diff` can tell changes by package. Reading rpm's takes the
    /// program rpm.
    #[arg(long)]
    pub(crate) no_packages: bool,
    #[command(flatten)]
    pub(crate) origin: OriginArgs,
    /// Where to write the manifest. Inside DIR it must be the reserved place,
    /// /etc/congruent/NAME.manifest. Of an image for several platforms one manifest
    /// is written for each, with the platform before the extension: web.manifest
    /// becomes web.linux-arm64.manifest.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) image: ImageArgs,
    #[command(flatten)]
    pub(crate) pace: Pace,
    #[command(flatten)]
    pub(crate) lint: LintChoice,
}

/// What is baked is multiplied, so bake looks for what had better not be.
///
/// Findings are told on stderr and recorded in the manifest.
#[derive(Args)]
#[command(next_help_heading = "Lint")]
pub(crate) struct LintChoice {
    /// Fail with exit code 1, and write nothing, where this lint finds anything:
    /// private-key, credential, world-writable, setuid, empty-password, device,
    /// writable-path, host-key, machine-id, leftover, or all. May be given
    /// several times.
    #[arg(long, value_name = "LINT")]
    pub(crate) deny: Vec<Lints>,
    /// Expect what this lint finds at these paths, such as
    /// setuid:/usr/bin/sudo: it is neither told nor denied. LINT may be all;
    /// globs are those of contracts. What was allowed is recorded in the
    /// manifest. May be given several times.
    #[arg(long, value_name = "LINT:GLOB")]
    pub(crate) lint_allow: Vec<Allowance>,
    /// Expect what this file says: LINT:GLOB, one a line; # begins a comment.
    /// May be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) lint_allow_file: Vec<PathBuf>,
    /// Do not look.
    #[arg(long, conflicts_with_all = ["deny", "lint_allow", "lint_allow_file"])]
    pub(crate) no_lint: bool,
}

/// What computes digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DigestArg {
    /// BLAKE3, the fastest.
    Blake3,
    /// SHA-256, where policy demands an approved function.
    Sha256,
}

impl From<DigestArg> for Algorithm {
    fn from(digest: DigestArg) -> Self {
        match digest {
            DigestArg::Blake3 => Self::Blake3,
            DigestArg::Sha256 => Self::Sha256,
        }
    }
}

/// Where the image comes from. Signed with the manifest, and never interpreted.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Origin, signed with the manifest")]
pub(crate) struct OriginArgs {
    /// The source revision that the image was built from.
    #[arg(long, value_name = "TEXT")]
    pub(crate) source_revision: Option<String>,
    /// The pipeline run that built it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) pipeline_run: Option<String>,
    /// What built it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) builder: Option<String>,
    /// The ticket or change that asked for it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) ticket: Option<String>,
    /// Who approved it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) approver: Option<String>,
    /// Whom findings concern.
    #[arg(long, value_name = "TEXT")]
    pub(crate) owner: Option<String>,
    /// Of a container image: the digest of its configuration.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) image_config_digest: Option<Digest>,
    /// Of a container image: the digest of an uncompressed layer. Given once for
    /// each layer, lowest first.
    #[arg(long, value_name = "DIGEST", requires = "image_config_digest")]
    pub(crate) diff_id: Vec<Digest>,
}
