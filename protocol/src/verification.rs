//! The outcome of one look at a subject: state, findings, coverage.
//!
//! This is what `congruent verify --format json` prints and what a report carries.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::contract::{Class, Contract};
use crate::digest::Digest;
use crate::drift::Finding;
use crate::ledger::FirstValue;
use crate::path::TreePath;

/// The version of the JSON that carries verifications.
pub const VERIFICATION_SCHEMA: u32 = 1;

/// Of a subject: never only good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Exactly what was baked, and all of it was seen.
    Congruent,
    /// Something differs.
    Divergent,
    /// Nothing was found to differ, but not everything could be seen.
    Incomplete,
    /// It has not reported for too long.
    Silent,
    /// Nothing can be said of it: there is no accepted manifest to hold it to, or
    /// what was found could not be reported.
    Unknown,
}

impl State {
    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Congruent => "congruent",
            Self::Divergent => "divergent",
            Self::Incomplete => "incomplete",
            Self::Silent => "silent",
            Self::Unknown => "unknown",
        }
    }

    /// What findings and coverage make of a subject that was looked at.
    pub fn of(has_findings: bool, coverage: &Coverage) -> Self {
        if has_findings {
            Self::Divergent
        } else if coverage.has_gaps() {
            Self::Incomplete
        } else {
            Self::Congruent
        }
    }
}

/// One look, complete. Its findings are a list in memory, or what else holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verification<F = Vec<Finding>> {
    /// [`VERIFICATION_SCHEMA`].
    pub schema_version: u32,
    /// What the subject was held to: the base of its stack.
    pub manifest: ManifestId,
    /// The add-ons of its stack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_ons: Vec<ManifestId>,
    /// The tree root of the whole stack; the base's where there are no add-ons.
    pub baked_root: Digest,
    /// How much of what was baked is held to in every attribute.
    pub protected: Protected,
    /// The verdict.
    pub state: State,
    /// The tree root of what was observed, normalised by the contract.
    pub observed_root: Digest,
    /// Whether the root stands on baked values where something could not be
    /// verified. Such a root is never congruent.
    pub conditional: bool,
    /// Every difference, in tree order.
    pub findings: F,
    /// What was verified, and what could not be.
    pub coverage: Coverage,
}

impl<F> Verification<F> {
    /// The same look with other findings, and those that it had.
    pub fn replace_findings<G>(self, findings: G) -> (Verification<G>, F) {
        let Self {
            schema_version,
            manifest,
            add_ons,
            baked_root,
            protected,
            state,
            observed_root,
            conditional,
            findings: replaced,
            coverage,
        } = self;
        let verification = Verification {
            schema_version,
            manifest,
            add_ons,
            baked_root,
            protected,
            state,
            observed_root,
            conditional,
            findings,
            coverage,
        };
        (verification, replaced)
    }
}

/// How much of a tree a contract protects: what is held to the stack in every
/// attribute, where no mount hides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Protected {
    /// Entries that are protected.
    pub entries: u64,
    /// Entries in the stack.
    pub of: u64,
}

impl Protected {
    /// Counts one more baked entry.
    pub fn count(&mut self, contract: &Contract, path: &TreePath, class: Class) {
        self.of += 1;
        self.entries += u64::from(class.protects() && !contract.may_hide(path));
    }

    /// The share in per cent; 100 of an empty tree.
    pub fn percent(self) -> f64 {
        if self.of == 0 { 100.0 } else { self.entries as f64 * 100.0 / self.of as f64 }
    }
}

/// Which manifest a subject was held to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ManifestId {
    /// The image's name.
    pub name: String,
    /// The image's version.
    pub version: String,
    /// The baked tree root.
    pub root: Digest,
    /// Fingerprints of the trusted keys that signed it; empty where that was
    /// not asked for.
    pub signed_by: Vec<String>,
}

/// What a sweep verified, and what it could not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Coverage {
    /// How contents were verified.
    pub mode: SweepMode,
    /// Entries in the stack.
    pub entries_expected: u64,
    /// Entries that were there, reserved ones not counted.
    pub entries_seen: u64,
    /// Entries that were not looked at again: in a quick sweep those that cannot
    /// have changed since the last full one, in a full one that was interrupted and
    /// went on those that were read before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub entries_recalled: u64,
    /// Bytes of content that were hashed. Those of holes are counted, but are not
    /// read.
    pub bytes_hashed: u64,
    /// Set where contents were to be read past the page cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<DirectReads>,
    /// What could not be read. A gap.
    pub unreadable: Vec<Gap>,
    /// What changed while it was read, again and again. A gap.
    pub unstable: Vec<Gap>,
    /// Baked places under a mount, and how many entries each hides.
    pub hidden: Vec<Hidden>,
    /// Places outside the tree, and how many entries each holds.
    pub reserved: Vec<Reserved>,
    /// Every mount met beneath the root.
    pub mounts: Vec<Mount>,
    /// First values that the contract admits and the ledger does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_seen: Vec<FirstValue>,
    /// What a foreign spec says, and what was not checked of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchecked: Vec<Unchecked>,
    /// When the walk began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

impl Coverage {
    /// Whether anything could not be verified.
    pub fn has_gaps(&self) -> bool {
        !self.unreadable.is_empty() || !self.unstable.is_empty() || self.unchecked.iter().any(|u| u.gap)
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// How many files were read past the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DirectReads {
    /// Files that were read.
    pub files: u64,
    /// Those of them whose file system has no way past its cache; they were read
    /// through it.
    pub through_cache: u64,
}

/// How a sweep verified contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SweepMode {
    /// Every file was read.
    Full,
    /// Files that cannot have changed since the last full sweep were not read.
    Quick,
}

impl SweepMode {
    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Quick => "quick",
        }
    }
}

/// A path that could not be verified; for a directory, with all beneath it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Gap {
    /// Where.
    #[serde(flatten)]
    pub path: TreePath,
    /// Why.
    pub reason: String,
}

/// A place where a mount hides what was baked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hidden {
    /// The mount point.
    #[serde(flatten)]
    pub path: TreePath,
    /// How many baked entries cannot be seen, the mount point included.
    pub entries: u64,
}

/// A place outside the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reserved {
    /// Where.
    #[serde(flatten)]
    pub path: TreePath,
    /// How many entries are there.
    pub entries: u64,
}

/// Something that a foreign spec says and that was not checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unchecked {
    /// The keyword or place, escaped.
    pub what: String,
    /// Why.
    pub reason: String,
    /// Of how many entries it is said.
    pub entries: u64,
    /// Whether that leaves a gap: it was promised, and nothing else proves it.
    pub gap: bool,
}

/// A mount beneath the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Mount {
    /// The mount point.
    #[serde(flatten)]
    pub path: TreePath,
    /// How the contract takes it.
    pub content: MountTreatment,
    /// The file system's type, where the kernel says.
    pub filesystem: Option<String>,
    /// What is mounted, where the kernel says (escaped).
    pub source: Option<String>,
}

/// How a mount was treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum MountTreatment {
    /// Named, and swept.
    Verify,
    /// Named, and not looked into.
    Hide,
    /// Not named, or not as named: a finding.
    Unnamed,
}
