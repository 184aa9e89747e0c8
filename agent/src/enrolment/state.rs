//! What an enrolled node keeps in its state directory.
//!
//! Each file is there whole or not at all. `enrolment.json` is written last, so
//! that a node is enrolled exactly where it is there; the key stays from the first
//! try on, since the collector knows a node that asks again by its key.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use congruent_protocol::enrolment::{Enrolled, Issued, SealKey as FirstSeal};
use congruent_protocol::key::{KeyError, SecretKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::spool::Signer;
use crate::{atomic, regular};

/// The node's key: PKCS#8 PEM.
const KEY_FILE: &str = "node.key";
/// Its certificate, PEM.
const CERTIFICATE_FILE: &str = "node.crt";
/// The authority's certificate, PEM.
const AUTHORITY_FILE: &str = "ca.pem";
/// The first key of the chain that seals reports: 32 bytes in base64.
const SEAL_KEY_FILE: &str = "seal.key";
/// All that is not secret.
const ENROLMENT_FILE: &str = "enrolment.json";
/// The largest of these files.
const MAX_FILE_BYTES: u64 = 256 << 10;
/// The version of `enrolment.json`.
const STATE_SCHEMA: u32 = 1;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("cannot use {}", .path.display())]
    Use {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is damaged; remove it and enrol again", .path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{} is of version {found}, and this agent knows version {STATE_SCHEMA}; upgrade the agent", .path.display())]
    Newer { path: PathBuf, found: u32 },
    #[error("{} is damaged; remove it, and enrol with a new token", .path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: KeyError,
    },
    #[error("{} is no certificate in PEM; remove the node's enrolment.json and enrol again", .0.display())]
    Certificate(PathBuf),
    #[error("{} is no key; remove the node's enrolment.json and enrol again", .0.display())]
    SealKey(PathBuf),
    #[error("the kernel gives no random numbers")]
    Random(#[source] getrandom::Error),
}

/// A node's enrolment. Times are those of this node's clock, whatever the
/// collector's says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enrolment {
    schema_version: u32,
    /// Where it enrolled.
    pub(crate) server: String,
    /// Where it reports.
    pub(crate) agents_url: String,
    pub(crate) node: String,
    pub(crate) group: String,
    /// The enrolment's id.
    pub(crate) enrolment: String,
    pub(crate) enrolled_at: Timestamp,
    /// When the certificate was issued.
    pub(crate) issued_at: Timestamp,
    /// When it is to be renewed.
    pub(crate) renew_at: Timestamp,
    /// When it is over.
    pub(crate) expires_at: Timestamp,
}

/// The files in a state directory.
#[derive(Debug, Clone)]
pub(crate) struct EnrolmentFiles(PathBuf);

impl EnrolmentFiles {
    /// Those in `state_directory`.
    pub(crate) fn new(state_directory: &Path) -> Self {
        Self(state_directory.to_owned())
    }

    /// The enrolment, where the node is enrolled.
    pub(crate) fn read(&self) -> Result<Option<Enrolment>, StateError> {
        let path = self.0.join(ENROLMENT_FILE);
        let bytes = match regular::read(&path, MAX_FILE_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Use { path, source }),
        };
        let enrolment: Enrolment = match serde_json::from_slice(&bytes) {
            Ok(enrolment) => enrolment,
            Err(source) => return Err(StateError::Damaged { path, source }),
        };
        match enrolment.schema_version {
            STATE_SCHEMA => Ok(Some(enrolment)),
            found => Err(StateError::Newer { path, found }),
        }
    }

    /// The node's key, made where it is not there yet.
    pub(crate) fn key(&self) -> Result<SecretKey, StateError> {
        let used = |path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Use { path, source }
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.0).map_err(used(&self.0))?;
        let path = self.0.join(KEY_FILE);
        if !path.exists() {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(StateError::Random)?;
            let pem = SecretKey::from_seed(seed).to_pem();
            atomic::create_private(&path, pem.as_bytes()).map_err(used(&path))?;
        }
        let pem = regular::read_text(&path).map_err(used(&path))?;
        SecretKey::from_pem(&pem).map_err(|source| StateError::Key { path, source })
    }

    /// Who the node is in its reports. What seals the first one is there until the
    /// chain of reports has begun.
    pub(crate) fn signer(&self, enrolment: &Enrolment) -> Result<Signer, StateError> {
        let path = self.0.join(SEAL_KEY_FILE);
        let first_seal = match regular::read_text(&path) {
            Ok(text) => {
                Some(*FirstSeal::from_base64(text.trim()).ok_or(StateError::SealKey(path))?.as_bytes())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(StateError::Use { path, source }),
        };
        Ok(Signer { enrolment: enrolment.enrolment.clone(), key: self.key()?, first_seal })
    }

    /// Forgets what seals the first report: whoever has it can make any past.
    pub(crate) fn forget_first_seal(&self) -> Result<(), StateError> {
        let path = self.0.join(SEAL_KEY_FILE);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StateError::Use { path, source }),
            _ => Ok(()),
        }
    }

    /// The certificate and the authority's, in PEM.
    pub(crate) fn certificates(&self) -> Result<(Vec<u8>, Vec<u8>), StateError> {
        let read = |name| {
            let path = self.0.join(name);
            regular::read(&path, MAX_FILE_BYTES).map_err(|source| StateError::Use { path, source })
        };
        Ok((read(CERTIFICATE_FILE)?, read(AUTHORITY_FILE)?))
    }

    /// Keeps what the collector gave to a node that has joined.
    pub(crate) fn keep_joined(
        &self,
        joined: &Enrolled,
        server: &str,
        now: Timestamp,
    ) -> Result<Enrolment, StateError> {
        let issued = &joined.issued;
        if let Some(first_seal) = &joined.seal_key {
            self.write(SEAL_KEY_FILE, format!("{}\n", first_seal.to_base64()).as_bytes())?;
        }
        self.write(AUTHORITY_FILE, issued.ca.as_bytes())?;
        self.write(CERTIFICATE_FILE, issued.certificate.as_bytes())?;
        let enrolment = Enrolment {
            schema_version: STATE_SCHEMA,
            server: server.to_owned(),
            agents_url: String::new(),
            node: joined.node.clone(),
            group: joined.group.clone(),
            enrolment: joined.enrolment.clone(),
            enrolled_at: now,
            issued_at: now,
            renew_at: now,
            expires_at: now,
        };
        self.keep(enrolment.with(issued, now))
    }

    /// Keeps a renewed certificate.
    pub(crate) fn keep_renewed(
        &self,
        enrolment: &Enrolment,
        issued: &Issued,
        now: Timestamp,
    ) -> Result<Enrolment, StateError> {
        self.write(AUTHORITY_FILE, issued.ca.as_bytes())?;
        self.write(CERTIFICATE_FILE, issued.certificate.as_bytes())?;
        self.keep(enrolment.clone().with(issued, now))
    }

    fn keep(&self, enrolment: Enrolment) -> Result<Enrolment, StateError> {
        let bytes = serde_json::to_vec_pretty(&enrolment).expect("an enrolment always serialises");
        self.write(ENROLMENT_FILE, &bytes)?;
        Ok(enrolment)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.0.join(name);
        // What is the same already need not wear the disk.
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        atomic::write_private(&path, bytes).map_err(|source| StateError::Use { path, source })
    }

    /// Where the certificate is.
    pub(super) fn certificate_path(&self) -> PathBuf {
        self.0.join(CERTIFICATE_FILE)
    }

    /// Where the authority's certificate is.
    pub(super) fn authority_path(&self) -> PathBuf {
        self.0.join(AUTHORITY_FILE)
    }
}

impl Enrolment {
    /// With what goes with another certificate. The collector's times count from
    /// its own now, so that a node whose clock is off renews in time all the same.
    fn with(mut self, issued: &Issued, now: Timestamp) -> Self {
        let here = |time: Timestamp| {
            now.checked_add(time.duration_since(issued.server_time)).unwrap_or(Timestamp::MAX)
        };
        self.agents_url.clone_from(&issued.agents_url);
        self.issued_at = now;
        self.renew_at = here(issued.renew_at);
        self.expires_at = here(issued.not_after);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use congruent_protocol::enrolment::ENROLMENT_SCHEMA;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn joined() -> Enrolled {
        Enrolled {
            schema_version: ENROLMENT_SCHEMA,
            enrolment: "enr_1".to_owned(),
            node: "web-1".to_owned(),
            group: "web".to_owned(),
            seal_key: Some(FirstSeal::new([7; 32])),
            issued: Issued {
                certificate: "certificate".to_owned(),
                ca: "ca".to_owned(),
                agents_url: "https://collector:8441".to_owned(),
                server_time: time("2026-03-01T12:00:00Z"),
                renew_at: time("2026-03-02T00:00:00Z"),
                not_after: time("2026-03-02T12:00:00Z"),
            },
        }
    }

    #[test]
    fn a_node_is_enrolled_when_the_last_file_is_there_and_not_before() {
        let state = tempfile::tempdir().unwrap();
        let files = EnrolmentFiles::new(&state.path().join("state"));
        assert_eq!(files.read().unwrap(), None);
        let key = files.key().unwrap().public().id();
        assert_eq!(files.key().unwrap().public().id(), key, "asked again it is the same");
        // This node's clock is half an hour behind.
        let kept =
            files.keep_joined(&joined(), "https://collector:8440", time("2026-03-01T11:30:00Z")).unwrap();
        assert_eq!(files.read().unwrap().unwrap(), kept);
        assert_eq!(
            (kept.renew_at, kept.expires_at),
            (time("2026-03-01T23:30:00Z"), time("2026-03-02T11:30:00Z"))
        );
        for file in fs::read_dir(&files.0).unwrap() {
            let file = file.unwrap();
            assert_eq!(
                file.metadata().unwrap().permissions().mode() & 0o777,
                0o600,
                "{:?}",
                file.file_name()
            );
            assert_ne!(file.path().extension().unwrap(), "partial");
        }
        fs::remove_file(files.0.join(ENROLMENT_FILE)).unwrap();
        assert_eq!(files.read().unwrap(), None);
    }

    #[test]
    fn damage_is_named_with_its_mend() {
        let state = tempfile::tempdir().unwrap();
        let files = EnrolmentFiles::new(state.path());
        files.keep_joined(&joined(), "https://collector:8440", Timestamp::UNIX_EPOCH).unwrap();
        let newer = fs::read_to_string(files.0.join(ENROLMENT_FILE)).unwrap().replace("n\": 1", "n\": 2");
        for (text, says) in [("{", "enrol again"), (newer.as_str(), "upgrade the agent")] {
            fs::write(files.0.join(ENROLMENT_FILE), text).unwrap();
            assert!(files.read().unwrap_err().to_string().contains(says), "{text}");
        }
        fs::write(files.0.join(KEY_FILE), "").unwrap();
        assert!(files.key().err().unwrap().to_string().contains("node.key is damaged"));
    }
}
