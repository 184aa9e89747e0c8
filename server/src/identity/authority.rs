//! The certificate authority: its key and certificate, and where they are kept.
//!
//! Both files lie beside the database, or where the configuration says. The key
//! is written first, and the certificate can be made from it again, so that an
//! authority whose making was interrupted is completed and not made twice.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use super::certificates::{BACKDATED, set_validity, time_of};

/// The largest file taken for a key or a certificate.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// How long an authority of our making lasts: far longer than any node.
const LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    #[error("cannot read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the authority's key {shown} can be read or written by every user of this machine; run `chmod 600 {shown}`", shown = .0.display())]
    Open(PathBuf),
    #[error("{} is no certificate in PEM", .0.display())]
    NotACertificate(PathBuf),
    #[error("{} is no private key in PEM that this collector can use; use ECDSA P-256 or P-384, Ed25519 or RSA", .0.display())]
    NotAKey(PathBuf),
    #[error("the certificate {} is no authority's: its basic constraints do not say CA", .0.display())]
    NotAnAuthority(PathBuf),
    #[error("the key {} is not that of the certificate {}; put the two that belong together there", .key.display(), .certificate.display())]
    Unmatched { key: PathBuf, certificate: PathBuf },
    #[error("the certificate {} is valid from {from} to {to}, and it is {now} now; set the clock, or renew it", .path.display())]
    NotNow { path: PathBuf, from: Timestamp, to: Timestamp, now: Timestamp },
    #[error(
        "the authority's key {} is gone, and nodes are enrolled with it; restore it from a backup: with another \
         authority every node must enrol again",
        .0.display()
    )]
    Gone(PathBuf),
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
}

/// Where an authority's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthorityFiles {
    /// Its certificate, in PEM.
    pub(crate) certificate: PathBuf,
    /// Its key, in PKCS#8 PEM.
    pub(crate) key: PathBuf,
    /// Whether it is the user's, and so never made here.
    pub(crate) is_given: bool,
}

/// What issues certificates.
pub(crate) struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) certificate: CertificateDer<'static>,
    pem: String,
    not_after: Timestamp,
}

impl AuthorityFiles {
    /// The files of an authority of our making, in `folder`.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { certificate: folder.join("ca.pem"), key: folder.join("ca.key"), is_given: false }
    }
}

impl Authority {
    /// Loads the authority, and makes it first where there is none and nothing
    /// depends on one. `has_nodes` says whether nodes have enrolled before.
    pub(crate) fn load_or_make(
        files: &AuthorityFiles,
        has_nodes: bool,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        if !files.is_given {
            if !files.key.exists() {
                if has_nodes || files.certificate.exists() {
                    return Err(AuthorityError::Gone(files.key.clone()));
                }
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Make)?;
                write_new(&files.key, 0o600, key.serialize_pem().as_bytes())?;
            }
            if !files.certificate.exists() {
                let certificate = self_signed(&read_key(&files.key)?, now)?;
                write_new(&files.certificate, 0o644, certificate.as_bytes())?;
            }
        }
        Self::load(files, now)
    }

    /// Loads the authority in `files`.
    pub(crate) fn load(files: &AuthorityFiles, now: Timestamp) -> Result<Self, AuthorityError> {
        let AuthorityFiles { certificate: path, key: key_path, .. } = files;
        let key = read_key(key_path)?;
        let pem = read(path)?;
        let refused = || AuthorityError::NotACertificate(path.clone());
        let certificate = CertificateDer::from_pem_slice(&pem).map_err(|_| refused())?;
        let (rest, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|_| refused())?;
        if !rest.is_empty() {
            return Err(refused());
        }
        if !parsed.is_ca() {
            return Err(AuthorityError::NotAnAuthority(path.clone()));
        }
        if parsed.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
            let (key, certificate) = (key_path.clone(), path.clone());
            return Err(AuthorityError::Unmatched { key, certificate });
        }
        let (from, to) = (time_of(parsed.validity().not_before), time_of(parsed.validity().not_after));
        if now < from || now > to {
            return Err(AuthorityError::NotNow { path: path.clone(), from, to, now });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(AuthorityError::Make)?;
        let pem = String::from_utf8(pem).map_err(|_| refused())?;
        Ok(Self { issuer, certificate, pem, not_after: to })
    }

    /// Its certificate, in PEM, as its file has it.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// When it ends.
    pub(crate) fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// `sha256:` and the digest of its certificate in DER, in hexadecimal.
    pub(crate) fn fingerprint(&self) -> String {
        format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(&self.certificate)))
    }
}

/// A certificate of an authority for its own key. The name has a part of the
/// key's digest, so that two authorities are never taken for each other by name.
fn self_signed(key: &KeyPair, now: Timestamp) -> Result<String, AuthorityError> {
    let mut params = CertificateParams::default();
    let digest = HEXLOWER.encode(&Sha256::digest(key.der_bytes())[..4]);
    params.distinguished_name.push(DnType::CommonName, format!("Congruent CA {digest}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    set_validity(&mut params, now - BACKDATED, now + LIFE);
    Ok(params.self_signed(key).map_err(AuthorityError::Make)?.pem())
}

fn read_key(path: &Path) -> Result<KeyPair, AuthorityError> {
    let pem = read(path)?;
    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode());
    let mode = mode.map_err(|source| AuthorityError::Read { path: path.to_owned(), source })?;
    if mode & 0o006 != 0 {
        return Err(AuthorityError::Open(path.to_owned()));
    }
    let refused = || AuthorityError::NotAKey(path.to_owned());
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| refused())?;
    KeyPair::try_from(&key).map_err(|_| refused())
}

fn read(path: &Path) -> Result<Vec<u8>, AuthorityError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
    read.map_err(|source| AuthorityError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// Writes a file that was not there, whole or not at all, and durably.
pub(crate) fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), AuthorityError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut aside = path.as_os_str().to_owned();
    aside.push(".partial");
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(mode).open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // A link never replaces what is there, unlike a rename.
        let linked = fs::hard_link(&aside, path);
        fs::remove_file(&aside)?;
        linked?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| AuthorityError::Write { path: path.to_owned(), source })
}
