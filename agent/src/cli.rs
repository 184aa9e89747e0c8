//! The command line, as it is typed.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use congruent_protocol::digest::{Algorithm, Digest};

use crate::container::Runtime;
use crate::image::{Platform, Reference, registry};
use crate::lint::{Allowance, Lints};
use crate::sweep::MAX_THREADS;

/// Proves that what runs is still exactly what was baked.
///
/// Bake a manifest when an image is built, and verify against it wherever the
/// image runs. Nothing is ever written to what is looked at.
#[derive(Parser)]
#[command(name = "congruent", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Bake(Box<Bake>),
    Verify(Verify),
    Show(Show),
    Explain(Explain),
    #[command(subcommand)]
    Contract(ContractCommand),
    Diff(Diff),
    Keygen(Keygen),
    Sign(Sign),
    Attach(Attach),
    Fetch(Fetch),
    #[command(subcommand)]
    Ledger(LedgerCommand),
    Enroll(Enroll),
    Agent(Agent),
    Status(Status),
    Containers(Containers),
}

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

/// How much of the machine a sweep may take.
#[derive(Args)]
#[command(next_help_heading = "Pace")]
pub(crate) struct Pace {
    /// How many files are read at once: 1 to 16. Without it, as many as this
    /// process has processors, also by its cgroup's quota. With more than one, a
    /// container's writable layer is read beside its lower ones.
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    pub(crate) threads: Option<usize>,
    /// Read no more than this in a second, such as 50M or 200KiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_rate)]
    pub(crate) max_bytes_per_second: Option<NonZeroU64>,
    /// Let everything else on the machine go first: idle I/O class and nice 19.
    #[arg(long)]
    pub(crate) idle: bool,
}

fn parse_threads(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|threads| (1..=MAX_THREADS).contains(threads))
        .ok_or_else(|| format!("give a whole number from 1 to {MAX_THREADS}"))
}

/// A number of bytes, as in 1500, 50M or 200KiB; not none.
pub(crate) fn parse_rate(text: &str) -> Result<NonZeroU64, String> {
    let size: Result<bytesize::ByteSize, _> = text.parse();
    size.ok().and_then(|size| NonZeroU64::new(size.as_u64())).ok_or_else(|| {
        "give a number of bytes over none, such as 1500, 50M (of 1000) or 200KiB (of 1024)".to_owned()
    })
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

/// Compare a root file system with its manifest, and print every difference.
///
/// Exit codes: 0 congruent, 1 divergent, 2 usage or operational error, 3 nothing
/// found but not everything could be verified.
#[derive(Args)]
pub(crate) struct Verify {
    /// The manifest that was baked, or an mtree spec. A spec carries no
    /// signature, so it needs --insecure-unsigned.
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: PathBuf,
    /// The manifest of an add-on that may be there as well. May be given several
    /// times.
    #[arg(long, value_name = "FILE")]
    pub(crate) add_on: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// First values that were recorded after the bake, as `congruent ledger
    /// record` writes them: from then on they are held to. Without it, first values
    /// are checked for kind, mode and owner, and counted as first seen.
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: Option<PathBuf>,
    /// 32 bytes under which the digests of sensitive content are told. Without it
    /// they are told under a key that is forgotten at once.
    #[arg(long, value_name = "FILE")]
    pub(crate) content_key: Option<PathBuf>,
    /// The root to look at. Without it, the root as PID 1 sees it.
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Where a full sweep leaves what a quick one needs, for the same stack, root
    /// and boot. One that is interrupted goes on where it ended when it is run again
    /// with the same FILE. It must not lie in the tree, but in its reserved places it may.
    #[arg(long, value_name = "FILE")]
    pub(crate) cache: Option<PathBuf>,
    /// Look only at what may have changed since the last full sweep: what has
    /// another inode, change time or size. Where the cache is of no use now, the
    /// sweep is a full one, and says why.
    #[arg(long, requires = "cache", conflicts_with = "direct")]
    pub(crate) quick: bool,
    /// Read past the page cache, to find what it hides of the disk.
    #[arg(long)]
    pub(crate) direct: bool,
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// How to print the outcome.
    #[arg(long, value_enum, default_value_t = VerifyFormat::Text)]
    pub(crate) format: VerifyFormat,
}

#[derive(Args)]
pub(crate) struct Trust {
    /// Trust manifests signed by this Ed25519 public key in PEM. May be given
    /// several times; one valid signature is enough.
    #[arg(long, value_name = "PUB.pem")]
    pub(crate) trust: Vec<PathBuf>,
    /// Trust as this TOML file says: which keys must sign the manifests of which
    /// name, how many of them, what is revoked, and which places no contract may
    /// loosen.
    #[arg(long, value_name = "FILE", conflicts_with = "trust")]
    pub(crate) trust_config: Option<PathBuf>,
    /// Take the manifest's word without checking who signed it. Whoever can
    /// change the root can then change the manifest as well.
    #[arg(long, conflicts_with_all = ["trust", "trust_config"])]
    pub(crate) insecure_unsigned: bool,
}

/// Whose signatures are asked for, where a manifest is only read.
#[derive(Args)]
pub(crate) struct Signatures {
    /// Check that this Ed25519 public key in PEM signed it. May be given
    /// several times.
    #[arg(long, value_name = "PUB.pem")]
    pub(crate) trust: Vec<PathBuf>,
    /// Check it by this trust configuration instead.
    #[arg(long, value_name = "FILE", conflicts_with = "trust")]
    pub(crate) trust_config: Option<PathBuf>,
}

/// Explain a manifest: what was baked, by whom, and what may change.
///
/// Without --trust the signatures are named but not checked.
#[derive(Args)]
pub(crate) struct Show {
    /// The manifest.
    pub(crate) manifest: PathBuf,
    #[command(flatten)]
    pub(crate) signatures: Signatures,
    /// List every entry as well.
    #[arg(long)]
    pub(crate) entries: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = PageFormat::Text)]
    pub(crate) format: PageFormat,
    /// The tree as it was baked, to compute the SHA-256 digests of an mtree spec
    /// from. A file that is not the baked one is refused. Not needed where the
    /// manifest was baked with `--digest sha256`.
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}

/// Explain what one path is held to: class, rule, expected entry.
///
/// Tells which rule of the contract decides and which others match and lost,
/// what was baked there and by which manifest, whether a mount may hide it, and
/// whether it lies under the floor. Without --trust the signatures are not
/// checked.
#[derive(Args)]
pub(crate) struct Explain {
    /// The manifest.
    pub(crate) manifest: PathBuf,
    /// The path, from the image's root: /etc/passwd. Nothing needs to be there.
    #[arg(required_unless_present = "path_bytes")]
    pub(crate) path: Option<OsString>,
    /// The path in base64, as `path_bytes` in JSON has it, where a shell cannot
    /// write it.
    #[arg(long, value_name = "BASE64", conflicts_with = "path")]
    pub(crate) path_bytes: Option<String>,
    /// The manifest of an add-on that may be there as well. May be given several
    /// times.
    #[arg(long, value_name = "FILE")]
    pub(crate) add_on: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) signatures: Signatures,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Check a contract, or have rules suggested for one.
#[derive(Subcommand)]
pub(crate) enum ContractCommand {
    Check(ContractCheck),
    Suggest(ContractSuggest),
}

/// Hold a contract beside what was baked, before it is signed.
///
/// Tells how many entries of each MANIFEST fall into which class, which rules
/// match nothing or never decide, what the floor refuses, how much is protected,
/// and which entries the contract's own words contradict. The contract that
/// stands in a MANIFEST is not looked at, nor are its signatures. Rules are
/// numbered from 1, those of the default contract first.
///
/// Exit codes: 0 fine, 1 the floor is loosened or an entry contradicts the
/// contract, 2 usage or operational error.
#[derive(Args)]
pub(crate) struct ContractCheck {
    /// The contract, in TOML.
    pub(crate) contract: PathBuf,
    /// What was baked, of images that the contract is for.
    #[arg(required = true, value_name = "MANIFEST")]
    pub(crate) manifests: Vec<PathBuf>,
    /// A further file of the contract, as when --contract of `congruent bake` is
    /// given again: its rules come later. May be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) with: Vec<PathBuf>,
    /// Take the floor from this trust configuration. Without it, it is /usr,
    /// /boot, /bin, /sbin and /lib*.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust_config: Option<PathBuf>,
    /// List every entry as well, with its class and rule.
    #[arg(long)]
    pub(crate) entries: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Propose the narrowest rules for what several boots of one image changed.
///
/// Reads what `congruent verify --format json` printed in CI, each after another
/// boot of the image, and prints a contract with the evidence for each rule, to
/// be reviewed, given to `congruent bake` as a last --contract, and signed. What no rule should
/// allow is listed apart: what lies under the floor, what runs, is setuid or a
/// device, metadata of what was baked, mounts. It is for pipelines and never runs on a
/// node: a node that could loosen its own contract would learn its own drift.
#[derive(Args)]
pub(crate) struct ContractSuggest {
    /// The manifest that all boots were held to.
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: PathBuf,
    #[command(flatten)]
    pub(crate) signatures: Signatures,
    /// How to print: text is the contract in TOML.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// What `congruent verify --format json` printed, once for each boot.
    #[arg(required = true, value_name = "VERIFY.json")]
    pub(crate) outcomes: Vec<PathBuf>,
}

/// Tell what changed between two images, from their manifests.
///
/// By package where both manifests name them, else by directory; entries that
/// changed although their package has the same version are named first of all.
/// Times do not count, unless a contract is strict about them. Without --trust
/// the signatures are named but not checked.
///
/// Exit codes: 0 told, whether or not anything changed; 1 with --allow, where
/// something changed that it does not declare; 2 usage or operational error, also
/// where one name and version has two roots.
#[derive(Args)]
pub(crate) struct Diff {
    /// The manifest of the image that was.
    pub(crate) old: PathBuf,
    /// The manifest of the image that is to be.
    pub(crate) new: PathBuf,
    #[command(flatten)]
    pub(crate) signatures: Signatures,
    /// Fail with exit code 1 where anything changed that this TOML file does not
    /// declare: `[[package]]` name, and where wanted from and to, as globs;
    /// `[[path]]` glob, as in contracts; contract = true. A declared package covers
    /// its own entries. Words of the origin need not be declared.
    #[arg(long, value_name = "FILE")]
    pub(crate) allow: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = DiffFormat::Text)]
    pub(crate) format: DiffFormat,
}

/// How a diff is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFormat {
    /// For people at a terminal; of many changes in one directory, the first.
    Text,
    /// For programs: one JSON document with `schema_version`, and everything.
    Json,
    /// For merge requests and change boards: tables.
    Markdown,
}

/// Make an Ed25519 key pair to sign manifests with.
///
/// The files are those of `openssl genpkey -algorithm ed25519` and
/// `openssl pkey -pubout`. Existing files are never overwritten.
#[derive(Args)]
pub(crate) struct Keygen {
    /// Where to write the private key; only its owner may read it.
    #[arg(long, short, value_name = "KEY.pem")]
    pub(crate) output: PathBuf,
    /// Where to write the public key. Without it, beside the private key as
    /// KEY.pub.pem.
    #[arg(long, value_name = "PUB.pem")]
    pub(crate) public: Option<PathBuf>,
}

/// Add a signature to a baked manifest.
///
/// The key may live elsewhere: --export writes what is to be signed, and
/// --signature takes the 64 bytes that `openssl pkeyutl -sign -rawin` or a
/// hardware module makes of it.
#[derive(Args)]
#[command(group(clap::ArgGroup::new("way").required(true).args(["key", "export", "signature"])))]
pub(crate) struct Sign {
    /// The manifest.
    pub(crate) manifest: PathBuf,
    /// Sign with this Ed25519 key in PKCS#8 PEM. May be given several times.
    #[arg(long, value_name = "KEY.pem")]
    pub(crate) key: Vec<PathBuf>,
    /// Write the bytes that are to be signed, and sign nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "public"])]
    pub(crate) export: Option<PathBuf>,
    /// Add this raw Ed25519 signature over the exported bytes.
    #[arg(long, value_name = "FILE", requires = "public")]
    pub(crate) signature: Option<PathBuf>,
    /// The public key in PEM that the signature was made for.
    #[arg(long, value_name = "PUB.pem", requires = "signature")]
    pub(crate) public: Option<PathBuf>,
    /// Where to write the signed manifest. Without it, the manifest is replaced.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
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

/// Keep the first values of one instance of an image.
#[derive(Subcommand)]
pub(crate) enum LedgerCommand {
    Record(Record),
}

/// Record the first values that a verify saw, each once.
///
/// Run it where the outcomes of verify are kept, not on the node that they are
/// of: a node never makes its own baseline. What is recorded already stays.
#[derive(Args)]
pub(crate) struct Record {
    /// The ledger of the instance; made where it is not there yet.
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: PathBuf,
    /// What `congruent verify --format json` printed.
    #[arg(value_name = "VERIFY.json")]
    pub(crate) outcome: PathBuf,
}

/// Make this node known to a collector.
///
/// Makes the node's key, which never leaves it, and gets a certificate for it with
/// a join token. From then on `congruent agent` reports with that certificate and
/// renews it. Run again, it says that the node is enrolled, renews a certificate
/// that is due, and completes what was interrupted.
#[derive(Args)]
pub(crate) struct Enroll {
    /// The collector: `https://`, the name or address that it has, and the port.
    #[arg(long, value_name = "URL")]
    pub(crate) server: String,
    /// The fingerprint of the collector's authority, as `congruent-server init`
    /// prints it: sha256: and 64 hexadecimal digits.
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) ca_fingerprint: String,
    /// The file that holds the join token.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,
    /// The node's name. Without it, the one in the configuration, or the host's.
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// The agent's configuration, in TOML, which says where the agent keeps its
    /// state. Without it, /etc/congruent/agent.toml where that is there.
    #[arg(long, value_name = "FILE", conflicts_with = "state_directory")]
    pub(crate) config: Option<PathBuf>,
    /// Where the agent keeps its state, instead.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_directory: Option<PathBuf>,
}

/// Sweep at an interval, and report to the collector.
///
/// Of a node that is enrolled, reports go where it is: signed, sealed, numbered, and
/// spooled to disk until the collector has acknowledged them. Without a collector, and
/// while none answers, findings are logged. SIGHUP has the configuration read again.
/// With `[containers]` in the configuration, the containers of this host are looked at
/// after each sweep, and each is reported on its own.
/// The environment variable CONGRUENT_LOG says what is logged, such as `debug`.
#[derive(Args)]
pub(crate) struct Agent {
    /// The configuration, in TOML.
    #[arg(long, value_name = "FILE", default_value = "/etc/congruent/agent.toml")]
    pub(crate) config: PathBuf,
    /// Sweep and report once, then exit as verify does; with 2 when a report
    /// was not delivered. It stays spooled, unless the collector refused it for
    /// good. A container that differs counts as the node does; one that is incomplete
    /// or has no manifest as incomplete.
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document with `schema_version`.
    Json,
}

/// How a verification is printed. What could not be verified stands in each of
/// them, so that `incomplete` is never taken for clean.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyFormat {
    /// For people.
    Text,
    /// For programs: one JSON document with `schema_version`.
    Json,
    /// For programs that read as it comes: one JSON document a line, each with
    /// `type` and `schema_version`. First a `verification` with the state and
    /// how many lines follow, then each `finding` and each `gap`; last an `end`,
    /// without which the output was cut off.
    Ndjson,
    /// For code scanning: SARIF 2.1.0. A finding has level error, and a
    /// fingerprint that the next run gives it again; what could not be verified
    /// is a warning, and the execution counts as not successful.
    Sarif,
    /// For CI: JUnit XML. Each finding is a failed test case, and what could not
    /// be verified one with an error; where all is congruent there is one that
    /// passed.
    Junit,
}

/// How a manifest is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PageFormat {
    /// For people.
    Text,
    /// For programs: one JSON document with `schema_version`.
    Json,
    /// The entries as a spec that NetBSD's mtree verifies: mtree -f SPEC -p DIR.
    Mtree,
}

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
    /// Read only what may have changed since the last full look: what has another inode,
    /// change time or size. Where the cache of a layer is of no use now, the look at it
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn rates_are_read() {
        let check = |text, expected: Option<u64>| {
            assert_eq!(super::parse_rate(text).ok().map(std::num::NonZero::get), expected, "{text}");
        };
        check("1500", Some(1500));
        check("50M", Some(50_000_000));
        check("200KiB", Some(204_800));
        for wrong in ["", "0", "-1", "fast", "1 elephant", "0.0001K"] {
            check(wrong, None);
        }
    }

    #[test]
    fn the_command_line_holds_together() {
        super::Cli::command().debug_assert();
    }
}

/// Tell what the agent on this node last did.
///
/// The last sweep and its verdict, the containers by their states where they are looked
/// at, reports that wait for the collector, when it answered last, and how long the
/// node's certificate lasts. It reads the state directory, also while the agent runs.
///
/// Exit codes are those of the last look at the node and its containers: 0 congruent, 1
/// divergent, 3 incomplete, or a container is without a manifest; 2 where nothing is
/// known of the node, or the state cannot be read.
#[derive(Args)]
pub(crate) struct Status {
    /// The agent's configuration, in TOML.
    #[arg(long, value_name = "FILE", default_value = "/etc/congruent/agent.toml")]
    pub(crate) config: PathBuf,
    /// How it is told.
    #[arg(long, value_enum, default_value_t = StatusFormat::Text)]
    pub(crate) format: StatusFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}
