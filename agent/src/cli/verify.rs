//! Holding a root to a manifest, and what manifests say.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Format, Pace, Signatures, Trust};

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
