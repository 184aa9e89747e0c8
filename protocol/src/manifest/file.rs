//! The manifest file: magic line, envelope, entries section.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use jiff::Timestamp;

use crate::contract::{Class, Loosening};
use crate::digest::Digest;
use crate::entry::{Entry, Node};
use crate::key::{KeyId, PublicKey, SecretKey};
use crate::manifest::{
    EntriesError, EntriesReader, Envelope, EnvelopeError, ListedEntry, Predicate, Rules, Statement,
    StatementError,
};
use crate::path::{TreePath, escape};
use crate::tree::{Contribution, OutOfOrder, TreeHasher};
use crate::trust::Trust;

/// The first line of every manifest, without its version.
const MAGIC: &str = "congruent-manifest ";
/// The version that this code reads and writes.
const VERSION: u32 = 2;
/// The longest first line taken.
const MAX_MAGIC_BYTES: usize = 40;
/// The largest envelope taken.
const MAX_ENVELOPE_BYTES: u32 = 16 << 20;

/// A manifest whose signature, entries and root have been checked.
#[derive(Debug, Clone)]
pub struct Manifest {
    predicate: Predicate,
    signed_by: SignedBy,
    section_start: u64,
    section_bytes: u64,
    /// The baked sizes of files that may only be appended to.
    append_only: HashMap<TreePath, u64>,
}

/// Who signed a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// The trusted keys whose signatures were checked.
    pub verified: Vec<KeyId>,
    /// What all its signatures claim as their keys; nothing was checked.
    pub claimed: Vec<String>,
}

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error("cannot read the manifest")]
    Read(#[source] io::Error),
    /// The file could not be written.
    #[error("cannot write the manifest")]
    Write(#[source] io::Error),
    /// It does not begin like a manifest.
    #[error("this is not a congruent manifest: it does not begin with \"{MAGIC}{VERSION}\"")]
    Foreign,
    /// It is of a later format version.
    #[error(
        "the manifest is of format version {found}; this version of congruent reads version {VERSION}: upgrade it"
    )]
    FutureVersion {
        /// The version it names.
        found: String,
    },
    /// It is of an earlier format version.
    #[error("the manifest is of format version {0}, which no release wrote; bake it again")]
    PastVersion(String),
    /// It ends before it is whole.
    #[error("the manifest is truncated in its {part}; copy or bake it again")]
    Truncated {
        /// Where it ends.
        part: &'static str,
    },
    /// Something follows its end.
    #[error("the manifest has {0} bytes after its end; copy or bake it again")]
    TrailingBytes(u64),
    /// The envelope claims to be larger than any is.
    #[error("the manifest's envelope claims {0} bytes, the limit is {MAX_ENVELOPE_BYTES}")]
    EnvelopeTooLarge(u32),
    /// The envelope is malformed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The statement is malformed.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Nobody signed it.
    #[error("the manifest is not signed; bake it with --key, or accept it with --insecure-unsigned")]
    Unsigned,
    /// No trusted key signed it, as it stands.
    #[error(
        "no trusted key signed this manifest as it stands: its signatures name {}; trusted are {}",
        list(.claimed),
        list(.trusted)
    )]
    Untrusted {
        /// Fingerprints that the signatures name.
        claimed: Vec<String>,
        /// Fingerprints of the keys that are trusted for its name.
        trusted: Vec<String>,
    },
    /// Nobody is trusted for its name.
    #[error("no key is trusted for manifests named {0:?}; add a [[signers]] table that matches the name")]
    NoSigners(String),
    /// Too few of the trusted keys signed it.
    #[error(
        "{} of the keys that are trusted for {name:?} signed the manifest, {threshold} must; add one with \
         `congruent sign`",
        .signed.len()
    )]
    Threshold {
        /// The manifest's name.
        name: String,
        /// How many must have signed.
        threshold: usize,
        /// Those that did.
        signed: Vec<KeyId>,
    },
    /// A signature names a trusted key, and is not that key's.
    #[error(
        "the manifest was altered after it was signed: its signature names the trusted key {0} and does not fit"
    )]
    Altered(String),
    /// It was withdrawn.
    #[error("the manifest with the root {0} is revoked")]
    Revoked(Digest),
    /// Its time is over.
    #[error("the manifest of {name} {version} expired at {at}; bake or sign a newer one")]
    Expired {
        /// The image's name.
        name: String,
        /// The image's version.
        version: String,
        /// When it expired.
        at: Timestamp,
    },
    /// Its contract loosens what operators hold fast.
    #[error(transparent)]
    Floor(#[from] Loosening),
    /// The entries are malformed or not the stated ones.
    #[error(transparent)]
    Entries(#[from] EntriesError),
    /// The entries do not hash to the stated root.
    #[error("the manifest's entries have the tree root {found}, stated is {stated}")]
    Root {
        /// As computed.
        found: Digest,
        /// As stated.
        stated: Digest,
    },
    /// Never for entries read in order.
    #[error(transparent)]
    Order(#[from] OutOfOrder),
}

fn list(keys: &[String]) -> String {
    let shown: Vec<_> = keys.iter().take(10).map(|key| escape(key.as_bytes())).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

/// Writes a manifest: the statement about `predicate`, signed by `keys`, and
/// the compressed entries `section`, which is copied from its reader.
///
/// # Errors
/// When the statement would be refused, or on a failed read or write.
pub fn write_manifest(
    out: &mut impl Write,
    predicate: Predicate,
    keys: &[SecretKey],
    section: &mut impl Read,
    section_bytes: u64,
) -> Result<(), ManifestError> {
    let payload = Statement::new(predicate).to_json();
    Statement::from_json(&payload)?;
    let mut envelope = Envelope::new(&payload);
    for key in keys {
        envelope.sign(key)?;
    }
    write_envelope(out, &envelope, section, section_bytes)
}

/// Writes a manifest around an envelope, as [`write_manifest`] does.
///
/// # Errors
/// When the envelope is too large, or on a failed read or write.
pub fn write_envelope(
    out: &mut impl Write,
    envelope: &Envelope,
    section: &mut impl Read,
    section_bytes: u64,
) -> Result<(), ManifestError> {
    let envelope = envelope.to_json();
    let envelope_bytes = u32::try_from(envelope.len()).unwrap_or(u32::MAX);
    if envelope_bytes > MAX_ENVELOPE_BYTES {
        return Err(ManifestError::EnvelopeTooLarge(envelope_bytes));
    }
    let mut head = format!("{MAGIC}{VERSION}\n").into_bytes();
    head.extend_from_slice(&envelope_bytes.to_le_bytes());
    head.extend_from_slice(&envelope);
    head.extend_from_slice(&section_bytes.to_le_bytes());
    out.write_all(&head).map_err(ManifestError::Write)?;
    let copied = io::copy(section, out).map_err(ManifestError::Write)?;
    if copied == section_bytes { Ok(()) } else { Err(ManifestError::Truncated { part: "entries" }) }
}

impl Manifest {
    /// Reads a whole manifest and checks everything: version, signatures and
    /// their number, revocation, expiry at `now`, the floor, the entries' digest
    /// and order, the tree root.
    ///
    /// # Errors
    /// When anything does not hold.
    pub fn verify<R: Read + Seek>(
        input: &mut R,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<Self, ManifestError> {
        Self::verify_statement(input, trust, now)?.proven_by(input)
    }

    /// Checks what [`Manifest::verify`] checks but for the entries. Nothing may be
    /// concluded from such a manifest before [`Manifest::check_entries`] has held it
    /// to them.
    ///
    /// # Errors
    /// When anything does not hold.
    pub fn verify_statement<R: Read + Seek>(
        input: &mut R,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<Self, ManifestError> {
        let manifest = Self::read_head(input, Some(trust))?;
        let predicate = &manifest.predicate;
        if trust.is_manifest_revoked(&predicate.root) {
            return Err(ManifestError::Revoked(predicate.root));
        }
        manifest.check_expiry(now)?;
        trust.floor().check(&predicate.contract)?;
        Ok(manifest)
    }

    /// The statement alone, as [`Manifest::verify_statement`], of whoever wrote it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_statement<R: Read + Seek>(input: &mut R) -> Result<Self, ManifestError> {
        Self::read_head(input, None)
    }

    /// The same without asking who signed it, whether it expired, or where the
    /// floor is: whoever wrote the file is believed.
    ///
    /// # Errors
    /// When it is not whole, or contradicts itself.
    pub fn read_unchecked<R: Read + Seek>(input: &mut R) -> Result<Self, ManifestError> {
        Self::read_statement(input)?.proven_by(input)
    }

    /// Whether it is still accepted at `now`.
    ///
    /// # Errors
    /// When its time is over.
    pub fn check_expiry(&self, now: Timestamp) -> Result<(), ManifestError> {
        let Predicate { name, version, expires, .. } = &self.predicate;
        match *expires {
            Some(at) if at <= now => {
                Err(ManifestError::Expired { name: name.clone(), version: version.clone(), at })
            }
            _ => Ok(()),
        }
    }

    /// Goes through all entries once, and holds them to the statement.
    ///
    /// # Errors
    /// When they are not the ones that it states.
    pub fn check_entries<R: Read + Seek>(&self, input: &mut R) -> Result<(), ManifestError> {
        self.check(input).map(drop)
    }

    /// The same manifest, once its entries are checked as in
    /// [`Manifest::check_entries`].
    ///
    /// # Errors
    /// When they are not the ones that it states.
    pub fn proven_by<R: Read + Seek>(mut self, input: &mut R) -> Result<Self, ManifestError> {
        self.append_only = self.check(input)?;
        Ok(self)
    }

    /// Checks all entries; gives the sizes of those that may only be appended to.
    fn check<R: Read + Seek>(&self, input: &mut R) -> Result<HashMap<TreePath, u64>, ManifestError> {
        let mut rules = Rules::of(&self.predicate);
        let mut hasher = TreeHasher::new(self.predicate.root.algorithm());
        let mut entries = self.entries(input)?;
        let mut listed = ListedEntry { path: TreePath::root(), entry: Entry::empty() };
        let mut append_only = HashMap::new();
        while entries.read(&mut listed)? {
            let terms = rules.check(&listed)?;
            let ListedEntry { path, entry } = &listed;
            if let (Class::AppendOnly, Node::File { size, .. }) = (terms.class, &entry.node) {
                append_only.insert(path.clone(), *size);
            }
            hasher.push(path, Contribution::of(entry, terms))?;
        }
        let (found, stated) = (hasher.finish(), self.predicate.root);
        if found != stated {
            return Err(ManifestError::Root { found, stated });
        }
        Ok(append_only)
    }

    /// The baked size of a file that may only be appended to.
    pub fn append_only_size(&self, path: &TreePath) -> Option<u64> {
        self.append_only.get(path).copied()
    }

    /// What was baked.
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }

    /// Who signed it.
    pub fn signed_by(&self) -> &SignedBy {
        &self.signed_by
    }

    /// The length of the entries section in the file.
    pub fn section_bytes(&self) -> u64 {
        self.section_bytes
    }

    /// The entries, from the file that was verified. They are held to the
    /// statement once more while they are read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn entries<R: Read + Seek>(&self, mut input: R) -> Result<EntriesReader<io::Take<R>>, EntriesError> {
        input
            .seek(SeekFrom::Start(self.section_start))
            .map_err(|source| EntriesError::Read { after: TreePath::root(), source })?;
        let section = input.take(self.section_bytes);
        EntriesReader::new(section, self.predicate.root.algorithm(), self.predicate.entries.clone())
    }

    /// The envelope as it stands in the file.
    ///
    /// # Errors
    /// When the file cannot be read, or is no manifest.
    pub fn read_envelope<R: Read + Seek>(input: &mut R) -> Result<Envelope, ManifestError> {
        Ok(read_frame(input)?.envelope)
    }

    /// The compressed entries, to be copied into another file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn section<R: Read + Seek>(&self, mut input: R) -> Result<io::Take<R>, ManifestError> {
        input.seek(SeekFrom::Start(self.section_start)).map_err(ManifestError::Read)?;
        Ok(input.take(self.section_bytes))
    }

    /// Checks everything before the entries. Without `trust`, who signed it is
    /// not asked.
    fn read_head<R: Read + Seek>(input: &mut R, trust: Option<&Trust>) -> Result<Self, ManifestError> {
        let Frame { envelope, section_start, section_bytes } = read_frame(input)?;
        let claimed = envelope.claimed_keys();
        // A stranger's statement is not even parsed.
        if let Some(trust) = trust {
            signers_among(&trust.keys(), &envelope)?;
        }
        let predicate = Statement::from_json(&envelope.payload()?)?.into_predicate();
        let verified =
            trust.map_or(Ok(Vec::new()), |trust| check_signers(&envelope, &predicate.name, trust))?;
        let signed_by = SignedBy { verified, claimed };
        Ok(Self { predicate, signed_by, section_start, section_bytes, append_only: HashMap::new() })
    }
}

/// The parts of a file.
struct Frame {
    envelope: Envelope,
    section_start: u64,
    section_bytes: u64,
}

/// Takes a file apart, and sees that it ends where it says.
fn read_frame<R: Read + Seek>(input: &mut R) -> Result<Frame, ManifestError> {
    input.rewind().map_err(ManifestError::Read)?;
    let mut head = BufReader::new(&mut *input);
    read_version(&mut head)?;
    let envelope_bytes = u32::from_le_bytes(read_array(&mut head, "envelope")?);
    if envelope_bytes > MAX_ENVELOPE_BYTES {
        return Err(ManifestError::EnvelopeTooLarge(envelope_bytes));
    }
    let mut envelope = Vec::new();
    let read = (&mut head).take(u64::from(envelope_bytes)).read_to_end(&mut envelope);
    if read.map_err(ManifestError::Read)? < envelope_bytes as usize {
        return Err(ManifestError::Truncated { part: "envelope" });
    }
    let section_bytes = u64::from_le_bytes(read_array(&mut head, "entries")?);
    let section_start = head.stream_position().map_err(ManifestError::Read)?;
    let end = input.seek(SeekFrom::End(0)).map_err(ManifestError::Read)?;
    match end.checked_sub(section_start).map(|left| (left, left.cmp(&section_bytes))) {
        None | Some((_, std::cmp::Ordering::Less)) => {
            return Err(ManifestError::Truncated { part: "entries" });
        }
        Some((left, std::cmp::Ordering::Greater)) => {
            return Err(ManifestError::TrailingBytes(left - section_bytes));
        }
        Some((_, std::cmp::Ordering::Equal)) => {}
    }
    Ok(Frame { envelope: Envelope::from_json(&envelope)?, section_start, section_bytes })
}

/// Those of `keys` that signed; at least one.
fn signers_among(keys: &[PublicKey], envelope: &Envelope) -> Result<Vec<KeyId>, ManifestError> {
    let claimed = envelope.claimed_keys();
    if claimed.is_empty() {
        return Err(ManifestError::Unsigned);
    }
    let verified = envelope.signed_by(keys)?;
    if !verified.is_empty() {
        return Ok(verified);
    }
    let trusted: Vec<String> = keys.iter().map(|key| key.id().to_string()).collect();
    match claimed.iter().find(|key| trusted.contains(key)) {
        Some(key) => Err(ManifestError::Altered(key.clone())),
        None => Err(ManifestError::Untrusted { claimed, trusted }),
    }
}

/// As many of the keys that are trusted for this name as must have signed.
fn check_signers(envelope: &Envelope, name: &str, trust: &Trust) -> Result<Vec<KeyId>, ManifestError> {
    let signers = trust.signers_of(name).ok_or_else(|| ManifestError::NoSigners(name.to_owned()))?;
    let keys: Vec<PublicKey> =
        signers.keys.iter().filter(|key| !trust.is_key_revoked(&key.id())).cloned().collect();
    let signed = signers_among(&keys, envelope)?;
    if signed.len() < signers.threshold {
        let (name, threshold) = (name.to_owned(), signers.threshold);
        return Err(ManifestError::Threshold { name, threshold, signed });
    }
    Ok(signed)
}

/// Reads the magic line; versions are told apart before anything else is parsed.
fn read_version(input: &mut impl Read) -> Result<(), ManifestError> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        match input.read(&mut byte).map_err(ManifestError::Read)? {
            0 if !line.is_empty() && MAGIC.as_bytes().starts_with(&line) => {
                return Err(ManifestError::Truncated { part: "first line" });
            }
            0 => return Err(ManifestError::Foreign),
            _ if byte[0] == b'\n' => break,
            _ if line.len() == MAX_MAGIC_BYTES => return Err(ManifestError::Foreign),
            _ => line.push(byte[0]),
        }
    }
    let version = std::str::from_utf8(&line).ok().and_then(|line| line.strip_prefix(MAGIC));
    match version {
        Some(version) if version == VERSION.to_string() => Ok(()),
        Some("1") => Err(ManifestError::PastVersion("1".to_owned())),
        Some(version) if is_number(version) => {
            Err(ManifestError::FutureVersion { found: version.to_owned() })
        }
        _ => Err(ManifestError::Foreign),
    }
}

/// Whether a version is in its only form: no sign, no leading zero.
fn is_number(version: &str) -> bool {
    version.bytes().all(|b| b.is_ascii_digit()) && version.bytes().next().is_some_and(|first| first != b'0')
}

fn read_array<const N: usize>(input: &mut impl Read, part: &'static str) -> Result<[u8; N], ManifestError> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => ManifestError::Truncated { part },
        _ => ManifestError::Read(source),
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::testing::{manifest_of, sample_tree, secret_key};

    fn verify(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let trust = Trust::any_of(vec![secret_key(1).public()]);
        Manifest::verify(&mut Cursor::new(bytes), &trust, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_manifest_round_trips() {
        let bytes = manifest_of(&sample_tree(), &[secret_key(1), secret_key(2)]);
        let manifest = verify(&bytes).unwrap();
        assert_eq!(manifest.predicate().name, "web");
        assert_eq!(manifest.signed_by().verified, [secret_key(1).public().id()]);
        assert_eq!(manifest.signed_by().claimed.len(), 2);
        let entries: Result<Vec<_>, _> = manifest.entries(Cursor::new(&bytes)).unwrap().collect();
        assert_eq!(entries.unwrap(), sample_tree());
    }

    #[test]
    fn every_cut_and_every_altered_byte_is_refused() {
        let bytes = manifest_of(&sample_tree(), &[secret_key(1)]);
        let intact = verify(&bytes).unwrap();
        let section = bytes.len() - usize::try_from(intact.section_bytes()).unwrap();
        let signature = bytes.windows(5).position(|window| window == b"keyid").unwrap();
        for at in 0..bytes.len() {
            assert!(verify(&bytes[..at]).is_err(), "cut at {at}");
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            // Two things may differ without a difference: the hint beside a
            // signature (and its name), and the form of compression.
            if let Ok(manifest) = verify(&altered) {
                assert_eq!(manifest.predicate.root, intact.predicate.root, "byte {at}");
                assert_eq!(manifest.signed_by.verified, intact.signed_by.verified, "byte {at}");
                assert!(at >= signature || at > section, "byte {at}");
            }
        }
    }

    #[test]
    fn refusals_say_why() {
        let signed = manifest_of(&sample_tree(), &[secret_key(2)]);
        let unsigned = manifest_of(&sample_tree(), &[]);
        let future = [b"congruent-manifest 3\n", &signed[21..]].concat();
        let past = [b"congruent-manifest 1\n", &signed[21..]].concat();
        let longer = [&signed[..], b"more"].concat();
        let empty = manifest_of(&[], &[secret_key(1)]);
        let stranger = secret_key(2).public().id().to_string();
        for (bytes, says) in [
            (&b"#!/bin/sh\n"[..], "not a congruent manifest"),
            (b"", "not a congruent manifest"),
            (b"congruent-man", "truncated in its first line"),
            (&signed[..30], "truncated in its envelope"),
            (&signed[..signed.len() - 1], "truncated in its entries"),
            (&longer, "4 bytes after its end"),
            (&future, "format version 3"),
            (&past, "bake it again"),
            (&empty, "there is no entry, not even /"),
            (&unsigned, "not signed"),
            (&signed, &stranger),
            (b"congruent-manifest +1\n", "not a congruent manifest"),
            (b"congruent-manifest 99999999999\n", "format version 99999999999"),
        ] {
            let error = verify(bytes).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
