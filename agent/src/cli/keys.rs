//! Keys, signatures, and who is trusted.

use std::path::PathBuf;

use clap::Args;

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
