//! Classes: how a path may change, and what no class may admit.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Node};

/// The extended attribute that gives a program rights.
pub const CAPABILITY: &[u8] = b"security.capability";

/// How a path may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Not at all.
    Immutable,
    /// A baked file may grow; its metadata and what was baked of it stay.
    AppendOnly,
    /// New entries may appear, and are immutable from then on.
    CreateOnly,
    /// One first value for each instance.
    Pinned,
    /// Any content; kind, mode, owner and xattrs stay.
    Rotating,
    /// What an accepted add-on manifest holds, entry by entry.
    AddOn,
    /// In any way, unless the rule forbids it.
    Ephemeral,
    /// Outside the tree: only findings in reserved places have it, no rule gives it.
    Reserved,
}

impl Class {
    /// The classes that a rule can give.
    pub const RULED: [Self; 7] = [
        Self::Immutable,
        Self::AppendOnly,
        Self::CreateOnly,
        Self::Pinned,
        Self::Rotating,
        Self::AddOn,
        Self::Ephemeral,
    ];

    /// The name, as in contracts and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Immutable => "immutable",
            Self::AppendOnly => "append-only",
            Self::CreateOnly => "create-only",
            Self::Pinned => "pinned",
            Self::Rotating => "rotating",
            Self::AddOn => "add-on",
            Self::Ephemeral => "ephemeral",
            Self::Reserved => "reserved",
        }
    }

    /// Whether what lies there is held to a manifest in every attribute, and
    /// nothing else may be there.
    pub fn protects(self) -> bool {
        matches!(self, Self::Immutable | Self::AddOn)
    }

    /// Whether a first value that was made after the bake may enter the ledger.
    pub fn admits_first_values(self) -> bool {
        matches!(self, Self::CreateOnly | Self::Pinned)
    }

    /// The class that a rule asks for by name.
    pub(super) fn from_rule(name: &str) -> Result<Self, String> {
        Self::RULED.into_iter().find(|class| class.name() == name).ok_or_else(|| {
            let known: Vec<_> = Self::RULED.iter().map(|class| format!("`{class}`")).collect();
            format!("there is no class `{}`; use one of {}", name.escape_debug(), known.join(", "))
        })
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a rule can forbid, whatever its class allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Forbidden {
    /// A regular file with any execute bit or with `security.capability`.
    Exec,
    /// A regular file with setuid or setgid.
    Setuid,
    /// A device node.
    Device,
}

impl Forbidden {
    /// Everything that can be forbidden.
    pub const ALL: [Self; 3] = [Self::Exec, Self::Setuid, Self::Device];

    /// The name, as in contracts and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Setuid => "setuid",
            Self::Device => "device",
        }
    }

    /// Whether `entry` is of this kind.
    pub fn is(self, entry: &Entry) -> bool {
        match (self, &entry.node) {
            (Self::Exec, Node::File { .. }) => {
                entry.mode & 0o111 != 0 || entry.xattrs.iter().any(|(name, _)| name == CAPABILITY)
            }
            (Self::Setuid, Node::File { .. }) => entry.mode & 0o6000 != 0,
            (Self::Device, Node::CharDevice(_) | Node::BlockDevice(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
