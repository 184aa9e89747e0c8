//! Lint: what a bake had better not multiply.
//!
//! Each family of lints is a file: what it knows by path stands in a table of
//! `Place`s, what it knows by attributes or content in functions. All
//! are pure: they take an entry and the first bytes of its content, and say what
//! is wrong with it. They find what is there by accident, not what is hidden on
//! purpose, and never repeat a secret.

mod accounts;
mod allow;
mod collect;
mod credentials;
mod identity;
mod keys;
mod leftovers;
mod places;
mod rights;
mod scan;

use std::borrow::Cow;
use std::fmt;

use congruent_protocol::entry::Entry;
use congruent_protocol::path::TreePath;

pub(crate) use allow::{Allowance, Lints};
pub(crate) use collect::Collector;

/// How much of most files is looked at.
const HEAD_BYTES: usize = 4 << 10;
/// How much is looked at where what counts may stand further down.
const LONG_HEAD_BYTES: usize = 64 << 10;
/// Certificates often stand before the key that belongs to them.
const LONG_HEADS: [&[u8]; 6] = [b".pem", b".key", b".crt", b".cer", b".ovpn", b".kubeconfig"];

/// What may be wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lint {
    /// A private key.
    PrivateKey,
    /// A password, its hash, or a token.
    Credential,
    /// Anyone may write to it.
    WorldWritable,
    /// A program that runs with rights which its caller lacks.
    Setuid,
    /// An account that anyone may enter.
    EmptyPassword,
    /// A device node.
    Device,
    /// A place in PATH that others than root may write to.
    WritablePath,
    /// A private ssh host key.
    HostKey,
    /// What tells one machine from another.
    MachineId,
    /// What building the image left behind.
    Leftover,
}

impl Lint {
    /// Every lint.
    pub const ALL: [Self; 10] = [
        Self::PrivateKey,
        Self::Credential,
        Self::WorldWritable,
        Self::Setuid,
        Self::EmptyPassword,
        Self::Device,
        Self::WritablePath,
        Self::HostKey,
        Self::MachineId,
        Self::Leftover,
    ];

    /// The name, as on the command line and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::PrivateKey => "private-key",
            Self::Credential => "credential",
            Self::WorldWritable => "world-writable",
            Self::Setuid => "setuid",
            Self::EmptyPassword => "empty-password",
            Self::Device => "device",
            Self::WritablePath => "writable-path",
            Self::HostKey => "host-key",
            Self::MachineId => "machine-id",
            Self::Leftover => "leftover",
        }
    }

    /// What it finds, in a few words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::PrivateKey => "private keys, which every copy would share",
            Self::Credential => "passwords, their hashes, and tokens",
            Self::WorldWritable => "what anyone may write to; directories only without the sticky bit",
            Self::Setuid => {
                "programs that run with more rights than their caller has: setuid, setgid, capabilities"
            }
            Self::EmptyPassword => "accounts that anyone may enter",
            Self::Device => "device nodes other than those that every system has",
            Self::WritablePath => "programs and directories in PATH that others than root may change",
            Self::HostKey => "private ssh host keys, by which clients know a host",
            Self::MachineId => "identities that each machine should have for itself",
            Self::Leftover => "what building the image left behind",
        }
    }

    /// The lint of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lint| lint.name() == name)
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Which lint found it.
    pub lint: Lint,
    /// What was seen, in words fit for a terminal; never the secret itself.
    pub detail: Cow<'static, str>,
}

/// What of an entry lint looks at.
#[derive(Debug, Clone, Copy)]
struct Look<'a> {
    path: &'a [u8],
    entry: &'a Entry,
    /// The first bytes of a regular file's content; of `head_bytes` at most.
    head: &'a [u8],
}

/// How many of the first bytes of a file are of use to [`of`].
pub(crate) fn head_bytes(path: &TreePath) -> usize {
    let (path, name) = (path.as_bytes(), path.name());
    let is_long = accounts::table(path).is_some() || LONG_HEADS.iter().any(|suffix| name.ends_with(suffix));
    if is_long { LONG_HEAD_BYTES } else { HEAD_BYTES }
}

/// Everything that is wrong with an entry whose content begins with `head`, each
/// lint at most once.
pub fn of(path: &TreePath, entry: &Entry, head: &[u8]) -> Vec<Hit> {
    let head = &head[..head.len().min(head_bytes(path))];
    let look = Look { path: path.as_bytes(), entry, head };
    let mut hits = Vec::new();
    // What says most comes first, since the first of each lint is what is told.
    accounts::look(look, &mut hits);
    identity::look(look, &mut hits);
    if !hits.iter().any(|hit| hit.lint == Lint::HostKey) {
        scan::look(look, &mut hits);
    }
    leftovers::look(look, &mut hits);
    rights::look(look, &mut hits);
    places::look(look, &mut hits);
    hits
}

/// Adds a hit, unless its lint has one.
fn add(hits: &mut Vec<Hit>, lint: Lint, detail: impl Into<Cow<'static, str>>) {
    if hits.iter().all(|hit| hit.lint != lint) {
        hits.push(Hit { lint, detail: detail.into() });
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
