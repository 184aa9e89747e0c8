//! What a report says of a container: which one it is, its layers, and what is mounted
//! in it. What the merged tree came to is the report's outcome, as a node's is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::drift::Finding;
use crate::verification::{State, SweepMode};

use super::findings_digest;

/// The most findings of a layer that a report carries; it says how many there are.
pub const LAYER_FINDINGS: usize = 100;
/// The most containers of a node that are reported.
pub const MAX_CONTAINERS: usize = 1_000;
/// The most layers of a container that are reported: overlay takes 500.
pub const MAX_CONTAINER_LAYERS: usize = 500;
/// The most findings that a layer counts: far beyond what any has.
const MAX_LAYER_FINDINGS: u64 = 1 << 32;
/// The longest id of a container, in bytes.
pub const MAX_CONTAINER_ID: usize = 128;

/// The container that a report is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerReport {
    /// Which container it is.
    #[serde(flatten)]
    pub identity: ContainerIdentity,
    /// How and when its layers were looked at; none where they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<Looked>,
    /// The image's layers, lowest first.
    pub layers: Vec<LayerReport>,
    /// What lies in the runtime's own layer between image and container and is not what
    /// the runtime puts there, in tree order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runtime_layer: Vec<Finding>,
    /// Mounts that the contract does not expect, in tree order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Finding>,
}

impl ContainerReport {
    /// A report that only says which container it is about.
    pub fn naming(identity: ContainerIdentity) -> Self {
        Self { identity, looked: None, layers: Vec::new(), runtime_layer: Vec::new(), mounts: Vec::new() }
    }

    /// Whether anything differs beside the merged tree.
    pub fn has_findings(&self) -> bool {
        self.findings_beside() > 0
    }

    /// How many findings there are beside those of the merged tree.
    pub fn findings_beside(&self) -> u64 {
        let in_layers = self.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.findings_total));
        in_layers.saturating_add((self.runtime_layer.len() + self.mounts.len()) as u64)
    }

    /// Those of them that it carries.
    pub fn findings_told(&self) -> impl Iterator<Item = &Finding> {
        let in_layers = self.layers.iter().flat_map(|layer| &layer.findings);
        self.runtime_layer.iter().chain(&self.mounts).chain(in_layers)
    }

    /// The layers that are damaged where they lie, lowest first.
    pub fn damaged(&self) -> impl Iterator<Item = &LayerReport> {
        self.layers.iter().filter(|layer| layer.findings_total > 0)
    }
}

/// How and when a container's layers were looked at, also where no manifest is its image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// How contents were verified.
    pub mode: SweepMode,
    /// When the look began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Which container it is, as the node sees it. A fact, never authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ContainerIdentity {
    /// The runtime's id: letters, digits, `_`, `.` and `-`, at most [`MAX_CONTAINER_ID`].
    pub id: String,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Who made it: `docker`, `podman`, `crio` or `containerd`.
    pub runtime: String,
    /// What it was made of, as the runtime calls it.
    pub image: Option<String>,
    /// The digest of the image's configuration, which binds its layers.
    pub config_digest: Option<Digest>,
}

/// One of the image's layers, as it lies on the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LayerReport {
    /// Which layer it is, and where.
    #[serde(flatten)]
    pub place: LayerPlace,
    /// `congruent`, `divergent`, `incomplete`, or `unknown` where nothing says what it
    /// has to hold.
    pub state: State,
    /// By what it was verified; none where it was not.
    pub method: Option<LayerMethod>,
    /// The layer's root as it was baked; none without a manifest.
    pub baked_root: Option<Digest>,
    /// The layer's root as observed; none without a manifest, or where it was not seen.
    pub observed_root: Option<Digest>,
    /// How many findings there are.
    pub findings_total: u64,
    /// The digest of all of them: see [`findings_digest`].
    pub findings_digest: Digest,
    /// The gravest of them, at most [`LAYER_FINDINGS`], in tree order. Paths are the
    /// layer's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

impl LayerReport {
    /// Whether what it says of its findings can be so.
    pub fn is_consistent(&self) -> bool {
        let shown = self.findings.len() as u64;
        let is_whole = shown == self.findings_total;
        let is_cut = shown == LAYER_FINDINGS as u64 && shown < self.findings_total;
        (self.state == State::Divergent) == (self.findings_total > 0)
            && self.findings_total <= MAX_LAYER_FINDINGS
            && self.findings.len() <= LAYER_FINDINGS
            && (is_cut || (is_whole && self.findings_digest == findings_digest(&self.findings)))
            && self.findings.is_sorted_by(|one, other| one.path < other.path)
    }
}

/// Which layer it is, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LayerPlace {
    /// The digest of its archive, uncompressed; none where the runtime does not say.
    pub diff_id: Option<Digest>,
    /// Its directory on the node, escaped.
    pub directory: String,
    /// The ids of all containers of the node that lie on it, sorted, at most
    /// [`MAX_CONTAINERS`].
    pub shared_by: Vec<String>,
}

/// By what a layer is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LayerMethod {
    /// By what a manifest says that it lists.
    Manifest,
    /// By its digest, since the runtime recorded its archive.
    DiffId,
}

/// What a node's own report says of the containers on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainersSeen {
    /// The ids of those that run, sorted, at most [`MAX_CONTAINERS`]. Each has reports of
    /// its own; one that is not among them runs no more.
    pub running: Vec<String>,
    /// Why there may be more, for people. Then none is taken for gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
}

/// Whether `id` is one that a runtime gives.
pub fn is_container_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    id.len() <= MAX_CONTAINER_ID
        && id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && id.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Class;
    use crate::drift::Attributes;
    use crate::entry::Kind;
    use crate::path::TreePath;

    fn layer(count: usize) -> LayerReport {
        layer_of(count, LAYER_FINDINGS)
    }

    fn layer_of(count: usize, told: usize) -> LayerReport {
        let finding = |at: usize| {
            let path = TreePath::new(format!("/f{at:04}").as_bytes()).unwrap();
            Finding::added(&path, Class::Immutable, Attributes::of_kind(Kind::File))
        };
        let findings: Vec<_> = (0..count).map(finding).collect();
        LayerReport {
            place: LayerPlace { diff_id: None, directory: "/layer".to_owned(), shared_by: Vec::new() },
            state: if count == 0 { State::Congruent } else { State::Divergent },
            method: None,
            baked_root: None,
            observed_root: None,
            findings_total: count as u64,
            findings_digest: findings_digest(&findings),
            findings: findings.into_iter().take(told).collect(),
        }
    }

    #[test]
    fn a_layer_leaves_no_finding_out() {
        for count in [0, 1, LAYER_FINDINGS, LAYER_FINDINGS + 1] {
            assert!(layer(count).is_consistent(), "{count}");
        }
        let other = |change: fn(&mut LayerReport)| {
            let mut layer = layer(3);
            change(&mut layer);
            layer.is_consistent()
        };
        assert!(!other(|layer| layer.state = State::Congruent));
        assert!(!other(|layer| layer.findings_total = 2));
        assert!(!layer_of(LAYER_FINDINGS + 1, LAYER_FINDINGS + 1).is_consistent(), "more than are told");
        assert!(!other(|layer| layer.findings_total = 4), "it could be told whole");
        assert!(!other(|layer| layer.findings.swap(0, 1)));
        assert!(!other(|layer| layer.findings_digest = findings_digest(&[])));
    }

    #[test]
    fn ids_are_plain_words() {
        for id in ["a", "0f", "web.1_x-2", &"a".repeat(MAX_CONTAINER_ID)] {
            assert!(is_container_id(id), "{id}");
        }
        for id in ["", "-a", "a/b", "a b", "ä", &"a".repeat(MAX_CONTAINER_ID + 1)] {
            assert!(!is_container_id(id), "{id}");
        }
    }
}
