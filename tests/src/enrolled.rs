//! Nodes that enrol, and what one that has can do without an agent: sign, seal and
//! send reports as it likes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use congruent_protocol::drift::Finding;
use congruent_protocol::key::SecretKey;
use congruent_protocol::report::{Report, SetChange, seal};
use congruent_protocol::seal::SealKey;
use data_encoding::HEXLOWER;
use rusqlite::{Connection, OpenFlags};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::agent;
use crate::collector::Collector;
use crate::curl::Curl;
use crate::program::run;
use crate::wait::PATIENCE;

const ENROLMENT_FILE: &str = "enrolment.json";

/// A node with the state directory that it enrolled with.
pub struct Enrolled {
    state: PathBuf,
    /// The enrolment's id, which is also its chain's.
    pub enrolment: String,
    /// What it signs with.
    pub key: SecretKey,
    first_seal: [u8; 32],
}

/// The fingerprint of the certificate in a file, as `congruent enroll` takes it.
///
/// # Errors
/// When it is no certificate.
pub fn fingerprint(authority: &Path) -> Result<String> {
    let certificate = CertificateDer::from_pem_file(authority).context("no certificate of an authority")?;
    Ok(format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(&certificate))))
}

/// Whether a node with this state directory is enrolled.
pub fn is_enrolled(state: &Path) -> bool {
    state.join(ENROLMENT_FILE).exists()
}

/// Enrols the node with this configuration into `group`, with a token made for it.
///
/// # Errors
/// When the collector refuses.
pub fn enrol(collector: &Collector, config: &Path, group: &str) -> Result<()> {
    let response = collector.ask("POST", "/v1/tokens", &json!({ "group": group }).to_string())?;
    ensure!(response.status == 201, "no join token: {}", response.text());
    let token: Value = response.json()?;
    let token = token["token"].as_str().context("no token in the answer")?;
    let file = tempfile::NamedTempFile::new().context("cannot make a file")?;
    fs::write(&file, token).context("cannot write the token")?;
    let fingerprint = fingerprint(collector.authority())?;
    let mut command = agent::command(&["enroll", "--server", collector.url()])?;
    command.args(["--ca-fingerprint", &fingerprint, "--token-file"]).arg(file.path());
    let ended = run(command.arg("--config").arg(config))?;
    ensure!(ended.code == Some(0), "congruent enroll failed: {}", ended.stderr);
    Ok(())
}

/// Has the node with this state directory report to `url`; gives where it did before.
///
/// # Errors
/// When it is not enrolled.
pub fn redirect(state: &Path, url: &str) -> Result<String> {
    let path = state.join(ENROLMENT_FILE);
    let mut enrolment = read(&path)?;
    let before = enrolment["agents_url"].as_str().context("no address in the enrolment")?.to_owned();
    enrolment["agents_url"] = url.into();
    fs::write(&path, enrolment.to_string()).context("cannot write the enrolment")?;
    Ok(before)
}

fn read(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).context("the enrolment is not JSON")
}

/// A report as it is sent: with its whole set of findings.
pub fn told(report: Report) -> Report<SetChange> {
    let whole = |set: Vec<Finding>| Ok::<_, std::convert::Infallible>(SetChange::between(None, &set).0);
    let Ok(told) = report.try_map(whole);
    told
}

impl Enrolled {
    /// The node with this state directory. The key that seals its first report is the
    /// collector's: the node has forgotten it.
    ///
    /// # Errors
    /// When it is not enrolled.
    pub fn new(state: &Path, database: &Path) -> Result<Self> {
        let enrolment = read(&state.join(ENROLMENT_FILE))?["enrolment"].as_str().map(str::to_owned);
        let enrolment = enrolment.context("no id in the enrolment")?;
        let key = SecretKey::from_pem(&fs::read_to_string(state.join("node.key"))?)?;
        let database = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        database.busy_timeout(PATIENCE)?;
        let query = "SELECT seal_key FROM enrolments WHERE id = ?1";
        let first_seal = database.query_row(query, [&enrolment], |row| row.get(0));
        let first_seal = first_seal.context("the collector knows no such enrolment")?;
        Ok(Self { state: state.to_owned(), enrolment, key, first_seal })
    }

    /// What seals its report `number`.
    ///
    /// # Errors
    /// When no chain comes as far.
    pub fn seal_key(&self, number: u64) -> Result<SealKey> {
        let mut key = SealKey::new(1, self.first_seal);
        key.advance_to(number)?;
        Ok(key)
    }

    /// A report as the node sends it.
    ///
    /// # Errors
    /// When no chain has its number.
    pub fn sealed(&self, report: &Report) -> Result<Vec<u8>> {
        let payload = serde_json::to_vec(&told(report.clone())).context("reports always serialise")?;
        self.sealed_payload(&payload, report.sequence)
    }

    /// Any payload, signed and sealed as report `number`.
    ///
    /// # Errors
    /// When no chain has that number.
    pub fn sealed_payload(&self, payload: &[u8], number: u64) -> Result<Vec<u8>> {
        Ok(seal(payload, &self.key, &self.seal_key(number)?))
    }

    /// curl with the node's certificate.
    pub fn curl(&self, authority: &Path) -> Curl {
        Curl::new(authority).identity(self.state.join("node.crt"), self.state.join("node.key"))
    }
}
