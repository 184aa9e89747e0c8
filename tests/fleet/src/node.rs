//! A simulated machine: its identity, its boot, and its chain of reports.

use std::sync::Arc;

use congruent_protocol::digest::Digest;
use congruent_protocol::drift::Finding;
use congruent_protocol::key::SecretKey;
use congruent_protocol::report::{
    Facts, Heartbeat, Outcome, REPORT_SCHEMA, Report, SetChange, report_digest, seal,
};
use congruent_protocol::seal::SealKey;
use congruent_protocol::verification::{Coverage, State, SweepMode, VERIFICATION_SCHEMA, Verification};
use jiff::Timestamp;
use rustls::ClientConfig;

use crate::FleetError;
use crate::connection::Body;
use crate::enrolment::{Identity, VERSION};
use crate::release::Release;
use crate::way::{Place, Way};

/// How many bytes a simulated sweep says to have read of each entry.
const BYTES_OF_ENTRY: u64 = 40_000;

/// A simulated machine.
pub(crate) struct Node {
    pub(crate) identity: Arc<Identity>,
    pub(crate) place: Place,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) boot: String,
    key: SecretKey,
    sequence: u64,
    previous: Option<Digest>,
    seal: SealKey,
    /// The set of the newest report that was acknowledged.
    base: Option<Vec<Finding>>,
    /// When the sweep before ended: no machine begins one before.
    swept_until: Timestamp,
    /// The heartbeat as it is sent, and the number that it tells.
    heartbeat: Option<(u64, Body)>,
}

/// Where a chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) sequence: u64,
    pub(crate) previous: Option<Digest>,
    /// What seals the next report.
    pub(crate) seal: [u8; 32],
}

impl Position {
    /// Before the first report.
    pub(crate) fn first(identity: &Identity) -> Self {
        Self { sequence: 0, previous: None, seal: identity.first_seal }
    }
}

/// A report on its way.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) body: Body,
    pub(crate) sequence: u64,
    pub(crate) digest: Digest,
    /// The whole set that it tells of.
    set: Vec<Finding>,
}

impl Node {
    /// A machine with an identity, whose chain stands there.
    ///
    /// # Errors
    /// When its certificate is of no use.
    pub(crate) fn new(identity: Arc<Identity>, position: Position, way: &Way) -> Result<Self, FleetError> {
        let mut boot = [0; 16];
        getrandom::fill(&mut boot).map_err(FleetError::Random)?;
        Ok(Self {
            place: Place::of(&identity.agents_url)?,
            tls: way.tls_of(&identity)?,
            boot: data_encoding::HEXLOWER.encode(&boot),
            key: identity.key(),
            sequence: position.sequence,
            previous: position.previous,
            seal: SealKey::new(position.sequence + 1, position.seal),
            base: None,
            swept_until: Timestamp::UNIX_EPOCH,
            heartbeat: None,
            identity,
        })
    }

    /// Where its chain stands.
    pub(crate) fn position(&self) -> Position {
        Position { sequence: self.sequence, previous: self.previous, seal: *self.seal.as_bytes() }
    }

    /// Its sign of life. It is the same until there is another report.
    pub(crate) fn heartbeat(&mut self) -> Body {
        if let Some((sequence, body)) = &self.heartbeat
            && *sequence == self.sequence
        {
            return body.clone();
        }
        let heartbeat = Heartbeat {
            boot: self.boot.clone(),
            chain: self.identity.enrolment.clone(),
            sequence: self.sequence,
            spooled: 0,
        };
        let body = Body::packed(&serde_json::to_vec(&heartbeat).expect("words and numbers always serialise"));
        self.heartbeat = Some((self.sequence, body.clone()));
        body
    }

    /// The report of a full sweep that found this; the chain moves on with it.
    ///
    /// # Errors
    /// When the findings are not of that release.
    pub(crate) fn sweep(&mut self, release: &Release, set: Vec<Finding>) -> Result<Made, FleetError> {
        // A difference to nothing that the collector must have is told whole.
        let (change, _) = SetChange::between(self.base.as_deref(), &set);
        let report = self.report(release, change, release.observed(&set)?);
        let payload = serde_json::to_vec(&report).expect("reports always serialise");
        let digest = report_digest(&payload);
        let sealed = seal(&payload, &self.key, &self.seal);
        self.seal.advance();
        (self.sequence, self.previous) = (report.sequence, Some(digest));
        Ok(Made { body: Body::packed(&sealed), sequence: report.sequence, digest, set })
    }

    fn report(&mut self, release: &Release, change: SetChange, observed: Digest) -> Report<SetChange> {
        let now = Timestamp::now();
        let coverage = coverage(release, self.swept_until.max(now), now);
        self.swept_until = coverage.finished_at;
        let verification = Verification {
            schema_version: VERIFICATION_SCHEMA,
            manifest: release.id(),
            add_ons: Vec::new(),
            baked_root: release.root(),
            protected: release.protected(),
            state: State::of(change.count > 0, &coverage),
            observed_root: observed,
            conditional: false,
            findings: change,
            coverage,
        };
        Report {
            schema_version: REPORT_SCHEMA,
            node: self.identity.node.clone(),
            boot: self.boot.clone(),
            chain: self.identity.enrolment.clone(),
            sequence: self.sequence + 1,
            previous: self.previous,
            lost: 0,
            first_values: 0,
            agent_version: VERSION.to_owned(),
            reported_at: now,
            outcome: Outcome::Verified(Box::new(verification)),
            container: None,
            containers: None,
            facts: facts(&self.identity.node),
        }
    }

    /// A report is durable at the collector: the next one tells the difference to it.
    pub(crate) fn acknowledged(&mut self, made: Made) {
        self.base = Some(made.set);
    }

    /// The collector has not the set that the next report was to be told by.
    pub(crate) fn forget_base(&mut self) {
        self.base = None;
    }
}

fn coverage(release: &Release, began: Timestamp, now: Timestamp) -> Coverage {
    let entries = release.entries_count();
    Coverage {
        mode: SweepMode::Full,
        entries_expected: entries,
        entries_seen: entries,
        entries_recalled: 0,
        bytes_hashed: entries * BYTES_OF_ENTRY,
        direct: None,
        unreadable: Vec::new(),
        unstable: Vec::new(),
        hidden: Vec::new(),
        reserved: Vec::new(),
        mounts: Vec::new(),
        first_seen: Vec::new(),
        unchecked: Vec::new(),
        started_at: began,
        finished_at: began.max(now),
    }
}

/// What a small cloud instance tells of itself.
fn facts(node: &str) -> Facts {
    Facts {
        host_name: Some(node.to_owned()),
        os: Some("Debian GNU/Linux 12 (bookworm)".to_owned()),
        kernel: Some("6.1.0-18-cloud-amd64".to_owned()),
        architecture: "x86_64".to_owned(),
        cpus: 2,
        cpu_model: Some("a simulated processor".to_owned()),
        memory_bytes: 4 << 30,
        disks: Vec::new(),
        networks: Vec::new(),
        uptime_seconds: 86_400,
        machine_id: None,
        product_uuid: None,
        cloud_provider: None,
        cloud_instance_id: None,
    }
}
