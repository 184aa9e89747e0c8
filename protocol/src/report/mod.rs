//! What an agent sends after a look, and what the collector answers.
//!
//! [`Report`] is a report as it is judged, with its whole set of findings. What is
//! sent is `Report<SetChange>`: the same with the difference to a set that the
//! collector has, signed and sealed.

mod change;
mod container;
mod heartbeat;
mod sealed;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use change::{
    ChangeError, Cover, MAX_COVERS, MAX_INLINE_BYTES, MAX_PAGES, PAGE_BYTES, Page, PageId, SetChange,
};
pub use container::{
    ContainerIdentity, ContainerReport, ContainersSeen, LAYER_FINDINGS, LayerMethod, LayerPlace, LayerReport,
    Looked, MAX_CONTAINER_ID, MAX_CONTAINER_LAYERS, MAX_CONTAINERS, is_container_id,
};
pub use heartbeat::{Advice, CLOCK_PATH, HEARTBEAT_PATH, Heartbeat, HeartbeatAnswer, Limits};
pub use sealed::{REPORT_PAYLOAD, Sealed, SealedError, report_digest, seal};

use crate::digest::{Algorithm, Digest};
use crate::drift::Finding;
use crate::verification::{State, Verification};

/// The version of the JSON of reports and answers.
pub const REPORT_SCHEMA: u32 = 1;
/// Where reports are posted.
pub const REPORTS_PATH: &str = "/v1/reports";
/// Where pages are put, each under its digest: see [`SetChange`].
pub const PAGES_PATH: &str = "/v1/reports/pages";
/// Where a node gets its ledger.
pub const LEDGER_PATH: &str = "/v1/ledger";
/// What manifests lie beneath: each by its root, and then `content`.
pub const MANIFESTS_PATH: &str = "/v1/manifests";
/// Beneath it, each container image by its configuration's digest: which manifests a
/// node's group accepts for it, as [`ImageManifests`].
pub const IMAGES_PATH: &str = "/v1/images";
/// The largest report, in bytes of JSON, that an agent makes, and that a collector
/// takes unless it is told otherwise.
pub const MAX_REPORT_BYTES: u64 = 64 << 20;

/// One look at one node, or at a container on it. Reports of a chain are numbered without gaps, also
/// across boots, and each names the digest of the one before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report<F = Vec<Finding>> {
    /// [`REPORT_SCHEMA`].
    pub schema_version: u32,
    /// The node, as the agent's configuration names it. The collector holds it
    /// to the certificate.
    pub node: String,
    /// The kernel's boot id.
    pub boot: String,
    /// Which chain the report belongs to: the id of the node's enrolment.
    /// A node that enrols anew begins a new chain.
    pub chain: String,
    /// Counts up by one from 1 within its chain.
    pub sequence: u64,
    /// The digest of the node's report before this one: see [`report_digest`].
    pub previous: Option<Digest>,
    /// How many reports of the chain the node lost before they were sent, since its
    /// spool was full or damaged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// How many first values the node was held to: the ledger only grows, so that
    /// the number says which values.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub first_values: u64,
    /// The agent's version.
    pub agent_version: String,
    /// When the report was written.
    pub reported_at: Timestamp,
    /// What the look came to; of a container its merged tree.
    pub outcome: Outcome<F>,
    /// The container that the report is about; none where it is the node itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Box<ContainerReport>>,
    /// On a node's own report: the containers on it; none where it does not look for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<ContainersSeen>,
    /// Facts about the host. Never authority.
    pub facts: Facts,
}

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome<F = Vec<Finding>> {
    /// The sweep was completed.
    Verified(Box<Verification<F>>),
    /// The agent has no usable manifest; the text says why.
    NoManifest(String),
    /// The sweep was completed, but what it found cannot be reported; the text
    /// says why. Whatever it was, it was not seen to be congruent.
    Withheld(String),
}

impl<F> Outcome<F> {
    /// The state that the look came to, with what it saw beside a container's merged tree.
    pub fn state(&self, container: Option<&ContainerReport>) -> State {
        match self {
            Self::Verified(verification) => verification.state,
            Self::NoManifest(_) | Self::Withheld(_)
                if container.is_some_and(ContainerReport::has_findings) =>
            {
                State::Divergent
            }
            Self::NoManifest(_) | Self::Withheld(_) => State::Unknown,
        }
    }
}

impl<F> Report<F> {
    /// The state that the agent saw: of a container all of its parts together.
    pub fn state(&self) -> State {
        self.outcome.state(self.container.as_deref())
    }

    /// The same report with another outcome, and the one that it had.
    pub fn with_outcome<G>(self, outcome: Outcome<G>) -> (Report<G>, Outcome<F>) {
        let Self {
            schema_version,
            node,
            boot,
            chain,
            sequence,
            previous,
            lost,
            first_values,
            agent_version,
            reported_at,
            outcome: had,
            container,
            containers,
            facts,
        } = self;
        let report = Report {
            schema_version,
            node,
            boot,
            chain,
            sequence,
            previous,
            lost,
            first_values,
            agent_version,
            reported_at,
            outcome,
            container,
            containers,
            facts,
        };
        (report, had)
    }

    /// The same report with other findings.
    ///
    /// # Errors
    /// What `other` fails with.
    pub fn try_map<G, E>(self, other: impl FnOnce(F) -> Result<G, E>) -> Result<Report<G>, E> {
        let (report, outcome) = self.with_outcome(Outcome::<G>::NoManifest(String::new()));
        let outcome = match outcome {
            Outcome::Verified(verification) => {
                let (rest, findings) = verification.replace_findings(());
                Outcome::Verified(Box::new(rest.replace_findings(other(findings)?).0))
            }
            Outcome::NoManifest(why) => Outcome::NoManifest(why),
            Outcome::Withheld(why) => Outcome::Withheld(why),
        };
        Ok(report.with_outcome(outcome).0)
    }
}

impl Report {
    /// The findings, and what a container has beside them: of each layer the gravest.
    pub fn all_findings(&self) -> Vec<Finding> {
        let beside = self.container.iter().flat_map(|container| container.findings_told());
        self.findings().iter().chain(beside).cloned().collect()
    }

    /// The findings, none where there was nothing to compare with.
    pub fn findings(&self) -> &[Finding] {
        match &self.outcome {
            Outcome::Verified(verification) => &verification.findings,
            Outcome::NoManifest(_) | Outcome::Withheld(_) => &[],
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The digest of a whole set of findings in tree order: of their JSON, without
/// white space, as an array.
pub fn findings_digest(findings: &[Finding]) -> Digest {
    Algorithm::Blake3.digest(&serde_json::to_vec(findings).expect("findings always serialise"))
}

/// The collector's answer to a report that is now durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Acknowledgement {
    /// [`REPORT_SCHEMA`].
    pub schema_version: u32,
    /// The report's number.
    pub sequence: u64,
    /// The digest of the report as received: see [`report_digest`].
    pub digest: Digest,
    /// Whether it had been received before; then nothing changed.
    pub duplicate: bool,
    /// The state that the collector gives the node.
    pub state: State,
    /// Why the state is not what the agent saw, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What the node is to do from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
}

/// Which manifests a node may hold the containers of an image to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImageManifests {
    /// [`REPORT_SCHEMA`].
    pub schema_version: u32,
    /// Their roots, that of the newest first; none where no accepted manifest is of this
    /// image.
    pub roots: Vec<Digest>,
}

/// The collector's answer to what it refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refusal {
    /// A word for programs, such as `root-mismatch`.
    pub code: String,
    /// What is wrong, and the mend.
    pub message: String,
    /// The collector's time, where clocks are what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_time: Option<Timestamp>,
}

/// Inventory facts, as far as the host has them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Facts {
    /// The host's name.
    pub host_name: Option<String>,
    /// The operating system, such as `Debian GNU/Linux 12`.
    pub os: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The processor architecture, such as `x86_64`.
    pub architecture: String,
    /// The number of logical processors.
    pub cpus: u32,
    /// The processors' model.
    pub cpu_model: Option<String>,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Mounted disks.
    pub disks: Vec<Disk>,
    /// Network interfaces but loopback.
    pub networks: Vec<Network>,
    /// Seconds since boot.
    pub uptime_seconds: u64,
    /// `/etc/machine-id`.
    pub machine_id: Option<String>,
    /// The firmware's product UUID.
    pub product_uuid: Option<String>,
    /// The cloud, as far as the firmware names it.
    pub cloud_provider: Option<String>,
    /// The cloud's id of this instance.
    pub cloud_instance_id: Option<String>,
}

/// A mounted disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Disk {
    /// The device.
    pub name: String,
    /// Where it is mounted.
    pub mounted_at: String,
    /// Its file system.
    pub filesystem: String,
    /// Its size in bytes.
    pub total_bytes: u64,
    /// What is free of it, in bytes.
    pub available_bytes: u64,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Its addresses, with prefix lengths.
    pub addresses: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Agents and collectors are upgraded one after the other, in either order.
    #[test]
    fn what_the_other_version_adds_or_lacks_is_no_error() {
        let digest = Algorithm::Blake3.digest(b"report");
        let older = format!(
            r#"{{"schema_version":1,"sequence":1,"digest":"{digest}","duplicate":false,"state":"congruent"}}"#
        );
        let newer = older.replace("}", r#","advice":{"later":1,"interval_seconds":60},"later":{}}"#);
        let older: Acknowledgement = serde_json::from_str(&older).unwrap();
        let newer: Acknowledgement = serde_json::from_str(&newer).unwrap();
        assert_eq!((older.advice, newer.advice.unwrap().interval_seconds), (None, Some(60)));
        let facts =
            r#"{"architecture":"x","cpus":1,"memory_bytes":1,"disks":[],"networks":[],"uptime_seconds":1}"#;
        let older = format!(
            r#"{{"schema_version":1,"node":"n","boot":"b","chain":"c","sequence":1,"previous":null,
            "agent_version":"0","reported_at":"2026-03-01T00:00:00Z","outcome":{{"no-manifest":"x"}},"facts":{facts}}}"#
        );
        let newer = older.replace(r#""node""#, r#""later":[],"node""#);
        for text in [older, newer] {
            let report: Report<SetChange> = serde_json::from_str(&text).unwrap();
            assert_eq!((report.lost, report.first_values), (0, 0));
        }
        let heartbeat = r#"{"boot":"b","chain":"c","sequence":1,"spooled":0,"later":true}"#;
        assert_eq!(serde_json::from_str::<Heartbeat>(heartbeat).unwrap().sequence, 1);
    }
}
